"""Drills on the command line: what is told, what is refused, and that nothing is touched by looking."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from chaos import drill_command
from chaos.drill import Request, check_window, only_drill, why_not
from chaos.drills.catalogue import CATALOGUE
from chaos.drills.runner import DrillRun, Options
from chaos.drills.window import parse_window
from chaos.errors import RefusedError, SteadyStateError
from chaos.fleet_file import (
    FILE_NAME,
    CoreEntry,
    EdgeEntry,
    FleetFile,
    read_fleet_file,
    write_fleet_file,
)
from chaos.keepers import DemoFleet

HELD = """
import sys
from pathlib import Path
from chaos.drill import only_drill
with only_drill(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def run(*words: str) -> Result:
    """Run `ridethrough drill`."""
    return CliRunner().invoke(drill_command.drill_group, words)


@pytest.fixture
def fleet_file(tmp_path: Path) -> Path:
    """Write the file of a fleet that does not run."""
    path = tmp_path / FILE_NAME
    edges = [
        EdgeEntry(name=name, url="", pid=4242, command=[], data="", proxy="", peer_proxy="")
        for name in ("edge-1", "edge-2")
    ]
    core = CoreEntry(url="", pid=4141, command=[], operator_token="")
    write_fleet_file(path, FleetFile(core=core, edges=edges, customers=[]))
    return path


def test_the_list_names_every_drill_with_its_purpose() -> None:
    """As lines, and as JSON with what each needs and what this machine lacks."""
    lines = run("list").output
    listed = json.loads(run("list", "--json").output)
    assert [one["id"] for one in listed] == list(CATALOGUE)
    for one in listed:
        assert f"{one['id']:<20} {one['summary']}" in lines
        assert one["needs"] == list(CATALOGUE[one["id"]].needs)
        assert all(isinstance(lacking, str) for lacking in one["lacking"])
        assert all(need in lines for need in one["needs"])


def test_a_dry_run_shows_the_targets(fleet_file: Path) -> None:
    """With the processes of the fleet that is named, which is not touched."""
    told = run("run", "core-blackout", "edge-frozen", "--dry-run", "--fleet", str(fleet_file))
    assert told.exit_code == 0, told.output
    assert "touches core (process 4141): kill -9, started again" in told.output
    assert "touches edge-1 (process 4242): SIGSTOP, then SIGCONT" in told.output
    shown = run("show", "core-blackout").output
    assert "touches core: kill -9" in shown
    assert "must hold: Every posted payment has exactly one entry" in shown


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("run", "core-blackout", "--all"),
        ("run", "core-blackout", "--window", "at night"),
        ("run", "core-blackout", "--fleet", "fleet.json", "--accounts", "40"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(words: tuple[str, ...]) -> None:
    """Before anything is started."""
    told = run(*words)
    assert told.exit_code == 2
    assert "Usage:" in told.output


def test_outside_the_window_nothing_is_started(fleet_file: Path) -> None:
    """The drill says which hours are allowed, and that it was not run."""
    now = datetime.now().astimezone()
    begin, end = now + timedelta(hours=2), now + timedelta(hours=3)
    window = f"{begin:%H:%M}-{end:%H:%M}"
    told = run("run", "core-blackout", "--fleet", str(fleet_file), "--window", window)
    assert isinstance(told.exception, RefusedError)
    assert window in str(told.exception)
    check_window(parse_window(window), begin)
    check_window(None, now)
    with pytest.raises(RefusedError):
        check_window(parse_window(window), end)


def test_one_drill_a_fleet(tmp_path: Path) -> None:
    """A second one is refused by the name of the first one's process; when that is killed the fleet is free."""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", HELD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(RefusedError, match=f"process {other.pid}"), only_drill(tmp_path):
                pass
        finally:
            other.kill()
    with only_drill(tmp_path):
        assert (tmp_path / "drill.lock").read_text(encoding="ascii") == str(os.getpid())


async def test_a_fleet_that_is_not_well_is_left_alone(fleet_file: Path) -> None:
    """Nobody answers: the drill says what is wrong, and breaks nothing; `DrillRun` starts its watchdog later."""
    fleet = read_fleet_file(fleet_file)
    nobody = msgspec.structs.replace(
        fleet,
        core=msgspec.structs.replace(fleet.core, url="http://127.0.0.1:9"),
        edges=[msgspec.structs.replace(edge, url="http://127.0.0.1:9") for edge in fleet.edges],
    )
    drill = CATALOGUE["core-blackout"]
    options = Options(steady_seconds_max=0.0)
    run = DrillRun(drill, nobody, DemoFleet(fleet_file), options, lambda _: None)
    with pytest.raises(SteadyStateError, match=r"the core does not answer; edge-1 does not answer"):
        await run.run()
    assert run.history.milestones.broken_from is None


def test_what_a_machine_lacks_is_not_run(fleet_file: Path) -> None:
    """A drill that is for fleets of its own is not run on another, and says so."""
    own = msgspec.structs.replace(CATALOGUE["core-blackout"], own_fleet=True)
    request = Request(drills=[own], options=Options(), fleet_file=fleet_file)
    assert "without --fleet" in why_not(request, own)
    assert why_not(request, CATALOGUE["core-blackout"]) == ""

"""`./ridethrough bench` at tiny sizes: everything runs, and what it tells has the shape that readers rely on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaos.bench.catalogue import BENCHES

SECONDS_MAX = 600
# Programs of the system that a machine may lack; what needs them must then say so.
OPTIONAL = ("wrk", "varnish")


def bench(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run the command as the launcher does."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "chaos", "bench", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


@pytest.mark.parametrize("name", BENCHES)
def test_it_measures_both_sides_in_one_run(name: str, tmp_path: Path) -> None:
    """Every figure with a goal on a ratio has its reference beside it, in the file and in the table."""
    report = tmp_path / "reports" / "bench.json"
    done = bench(name, "--quick", "--json", report)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(report.read_bytes())
    (result,) = document["results"]
    assert result["bench"] == name
    assert result["seconds"] > 0
    assert document["environment"]["processors"]
    assert result["figures"] or result["not_run"]
    for figure in result["figures"]:
        assert figure["name"] in done.stdout
        goal = figure["goal"]
        if goal is None:
            assert figure["met"] is None
        elif goal["of"] == "ratio":
            assert figure["reference"] > 0
            assert figure["ratio"] == pytest.approx(figure["ours"] / figure["reference"])
        if goal is not None:
            assert (f"{name}: {figure['name']}" in document["missed"]) is not figure["met"]
    for reason in result["not_run"]:
        assert any(program in reason for program in OPTIONAL), reason


def test_the_list_names_every_benchmark() -> None:
    """Without measuring anything."""
    done = bench("list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(BENCHES)


def test_an_unknown_name_is_refused_with_what_there_is() -> None:
    """Status 2, as for every wrong argument."""
    done = bench("speed")
    assert done.returncode == 2
    assert "no benchmark 'speed'" in done.stderr
    assert "apply" in done.stderr

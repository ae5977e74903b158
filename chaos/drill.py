"""``ridethrough drill``: run one against a fleet of its own or a running demo, and leave a report behind."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from chaos.core_switch import CoreSwitch, DemoCore, OwnCore
from chaos.drills import core_blackout
from chaos.errors import FleetError
from chaos.fleet import Fleet, FleetOptions
from chaos.fleet_file import FleetFile, read_fleet_file
from chaos.history import History
from chaos.report import Report, make_report
from chaos.report_page import write_report

DRILLS = {core_blackout.ID: core_blackout.SUMMARY}
ACCOUNTS = 40
REPORTS = Path("ridethrough-reports")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a drill was asked to do.

    ``fleet_file`` names a running demo; without it a fleet of ``accounts`` is started in ``data``, or in a folder that
    is thrown away afterwards. ``arguments`` are those of the command line, for the report.
    """

    options: core_blackout.Options
    fleet_file: Path | None = None
    data: Path | None = None
    accounts: int | None = None
    normal_min_seconds: float | None = None
    environment: dict[str, str] = {}
    report_folder: Path | None = None
    arguments: list[str] = []


class Result(msgspec.Struct, frozen=True):
    """A finished drill: its report, and the page."""

    report: Report
    page: Path


def run_core_blackout(request: Request, say: Callable[[str], None]) -> Result:
    """
    Run the drill and write its report. Call it from the main thread.

    Raises:
        ChaosError: It could not be started or carried through; there is no report then.
    """
    with _fleet_of(request, say) as (fleet, switch):
        blackout = core_blackout.CoreBlackout(fleet, switch, request.options, say)
        history = asyncio.run(blackout.run())
        samples = blackout.samples
    return _report(request, history, samples)


def _report(request: Request, history: History, samples: dict[str, str]) -> Result:
    report = make_report(
        history,
        drill=core_blackout.ID,
        arguments=request.arguments,
        seed=request.options.seed,
        hold_seconds=request.options.hold_seconds,
        samples=samples,
    )
    folder = request.report_folder or REPORTS / _folder_name(history.milestones.begun_at)
    return Result(report, write_report(folder, report, history))


def _folder_name(begun_at: datetime) -> str:
    return f"{core_blackout.ID}-{begun_at:%Y%m%d-%H%M%S}"


@contextlib.contextmanager
def _fleet_of(
    request: Request, say: Callable[[str], None]
) -> Iterator[tuple[FleetFile, CoreSwitch]]:
    if request.fleet_file is not None:
        yield read_fleet_file(request.fleet_file), DemoCore(request.fleet_file)
        return
    thrown_away = request.data is None
    data = request.data or Path(tempfile.mkdtemp(prefix="ridethrough-drill-"))
    accounts = request.accounts
    if accounts is None and not (data / "customers.json").exists():
        accounts = ACCOUNTS
    fleet = Fleet(
        data,
        FleetOptions(
            accounts=accounts,
            normal_min_seconds=request.normal_min_seconds,
            environment=request.environment,
        ),
    )
    keep = not thrown_away
    try:
        say(f"Preparing a fleet in {data}")
        fleet.prepare()
        say("Starting it")
        fleet.start()
        yield fleet.describe(), OwnCore(fleet)
    except FleetError:
        keep = True  # its logs say why
        raise
    finally:
        if fleet.prepared:
            fleet.stop()
        if not keep:
            shutil.rmtree(data, ignore_errors=True)

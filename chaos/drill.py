"""
``ridethrough drill run``: run drills against fleets of their own or a running demo, each with its report.

Drills that may share a fleet do. What cannot be run is said before anything is started.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from random import Random

import msgspec

from chaos.drill_results import Result
from chaos.drills.clock_faults import CLOCK_FILE
from chaos.drills.drill import Drill, FleetKind, Target
from chaos.drills.needs import missing
from chaos.drills.runner import DrillRun, Options
from chaos.drills.stage import Keeper
from chaos.drills.window import Window
from chaos.errors import ChaosError, FleetError, RefusedError, SteadyStateError
from chaos.fleet import Fleet, FleetOptions
from chaos.fleet_file import CoreEntry, Customer, EdgeEntry, FleetFile, read_fleet_file
from chaos.folder_locks import holder
from chaos.keepers import DemoFleet, OwnFleet
from chaos.report import Report, make_report
from chaos.report_page import write_report
from chaos.services import POSTGRESQL, REDIS

ACCOUNTS = 40
# Of each drill, where several share a fleet: every one has readers of accounts that nobody has asked for.
ACCOUNTS_EACH = 12
EDGES = 2
REPORTS = Path("ridethrough-reports")
SERVICES = {REDIS, POSTGRESQL}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which drills are to be run, and how.

    ``fleet_file`` names a running demo; without it a fleet is started in ``data``, or in a folder that is thrown away
    afterwards, with ``accounts`` for each drill. ``window`` are the hours of this machine in which drills are allowed.
    ``arguments`` are those of the command line, for the reports.
    """

    drills: list[Drill]
    options: Options
    fleet_file: Path | None = None
    data: Path | None = None
    accounts: int | None = None
    normal_min_seconds: float | None = None
    environment: dict[str, str] = {}
    report_folder: Path | None = None
    window: Window | None = None
    arguments: list[str] = []


def check_window(window: Window | None, at: datetime) -> None:
    """Refuse a drill outside the allowed hours. Raises `RefusedError`."""
    if window is not None and not window.contains(at.time()):
        raise RefusedError(f"drills are allowed from {window} only, and it is {at:%H:%M}")


def list_targets(request: Request, drill: Drill) -> list[Target]:
    """Tell what a drill would touch, without touching it. Raises `FleetError`."""
    if request.fleet_file is not None:
        return drill.targets(read_fleet_file(request.fleet_file))
    core = CoreEntry(url="", pid=0, command=[], operator_token="")
    edges = [
        EdgeEntry(
            name=f"edge-{number}", url="", pid=0, command=[], data="", proxy="", peer_proxy=""
        )
        for number in range(1, EDGES + 1)
    ]
    return drill.targets(FleetFile(core=core, edges=edges, customers=[]))


def why_not(request: Request, drill: Drill) -> str:
    """Tell what keeps a drill from being run on this machine, and on this fleet; empty for nothing."""
    own = request.fleet_file is None
    lacking = missing(drill, own_fleet=own)
    if not own and (drill.own_fleet or drill.fleet != "plain"):
        lacking.append("is run on a fleet of its own only, without --fleet")
    return "; ".join(lacking)


def run_drills(
    request: Request, say: Callable[[str], None], tell: Callable[[Result], None]
) -> list[Result]:
    """
    Run drills one after the other and write their reports; ``tell`` is told each result. Call it from the main thread.

    Raises:
        RefusedError: The only drill may not begin now.
        ChaosError: The only drill could not be started or carried through; there is no report then.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    series = _Series(request, say)
    results: list[Result] = []
    with contextlib.closing(series):
        for place, drill in enumerate(request.drills):
            result = series.run(drill, place)
            results.append(result)
            tell(result)
    return results


def _interrupt(_number: int, _frame: object) -> None:
    # Through `finally`, as a Ctrl-C: what is broken is healed, and no process is left.
    raise KeyboardInterrupt


class _Series:
    """Drills one after the other, on the same fleet as long as none has spoiled it."""

    def __init__(self, request: Request, say: Callable[[str], None]) -> None:
        self._request = request
        self._say = say
        self._open = contextlib.ExitStack()
        self._fleet: FleetFile | None = None
        self._describe: Callable[[], FleetFile]
        self._keeper: Keeper
        self._unused: list[Customer] = []
        self._fleets = 0
        self._kind: FleetKind = "plain"
        self._keep_folder = False

    @property
    def _alone(self) -> bool:
        return len(self._request.drills) == 1

    def close(self) -> None:
        """Stop the fleet, if it is ours."""
        self._fleet = None
        self._open.close()

    def run(self, drill: Drill, place: int) -> Result:
        """Run one drill. Raises `ChaosError` when it is the only one; else that is its result."""
        lacking = why_not(self._request, drill)
        if lacking:
            return Result(drill=drill.name, not_run=lacking, lacking=True)
        try:
            check_window(self._request.window, datetime.now().astimezone())
            return self._run(drill, place)
        except ChaosError as error:
            # The fleet may not be what it was, and its logs say why.
            self._keep_folder |= isinstance(error, FleetError)
            self.close()
            if self._alone:
                raise
            refused = isinstance(error, RefusedError | SteadyStateError)
            why = str(error) if refused else f"could not be carried through: {error}"
            return Result(drill=drill.name, not_run=why)

    def _run(self, drill: Drill, place: int) -> Result:
        options = msgspec.structs.replace(
            self._request.options, seed=self._request.options.seed + place
        )
        fleet = self._fleet_for(drill, place)
        if len(fleet.edges) < drill.edges_min:
            raise RefusedError(f"{drill.name} needs {drill.edges_min} edges")
        if len(drill.places.away) >= len(fleet.edges):
            raise RefusedError(f"{drill.name} would leave customers no edge")
        self._say(f"{drill.name}: {drill.purpose}")
        targets = drill.targets(fleet)
        run = DrillRun(drill, fleet, self._keeper, options, self._say)
        outcome = asyncio.run(run.run())
        arguments = [*self._request.arguments, "--seed", str(options.seed)]
        report = make_report(
            outcome.history,
            drill,
            arguments=arguments,
            seed=options.seed,
            hold_seconds=options.hold_seconds,
            samples=outcome.samples,
            targets=targets,
            aborted=outcome.aborted,
        )
        page = write_report(self._report_folder(drill, report), report, outcome.history)
        if drill.spoils or not report.passed:
            self.close()
        return Result(drill=drill.name, report=report, page=page)

    def _report_folder(self, drill: Drill, report: Report) -> Path:
        named = f"{drill.name}-{report.started_at:%Y%m%d-%H%M%S}"
        if self._request.report_folder is None:
            return REPORTS / named
        return self._request.report_folder / ("" if self._alone else named)

    def _fleet_for(self, drill: Drill, place: int) -> FleetFile:
        """Return the running fleet, or start one, with customers that no drill before has used."""
        each = self._request.accounts or (ACCOUNTS if self._alone else ACCOUNTS_EACH)
        if (
            self._fleet is None
            or drill.fleet != self._kind
            or len(self._unused) < min(each, len(self._fleet.customers))
        ):
            self.close()
            self._open = contextlib.ExitStack()
            self._kind = drill.fleet
            self._open_fleet(each * count_sharing(self._request.drills[place:]))
        fleet = self._describe()
        if self._alone or self._request.fleet_file is not None:
            return fleet
        mine, self._unused = self._unused[:each], self._unused[each:]
        return msgspec.structs.replace(fleet, customers=mine)

    def _open_fleet(self, accounts: int) -> None:
        path = self._request.fleet_file
        if path is not None:
            self._open.enter_context(only_drill(path.parent))
            self._describe = lambda: read_fleet_file(path)
            self._keeper = DemoFleet(path)
        else:
            fleet = self._open.enter_context(self._own_fleet(accounts))
            self._open.enter_context(only_drill(fleet.data))
            self._describe = fleet.describe
            self._keeper = OwnFleet(fleet)
        self._fleet = self._describe()
        self._unused = Random(self._request.options.seed).sample(
            self._fleet.customers, len(self._fleet.customers)
        )

    @contextlib.contextmanager
    def _own_fleet(self, accounts: int) -> Iterator[Fleet]:
        """Run a fleet until the block ends; its folder goes too unless it was named or tells what went wrong."""
        request = self._request
        data = request.data or Path(tempfile.mkdtemp(prefix="ridethrough-drill-"))
        if request.data is not None and not self._alone:
            self._fleets += 1
            data /= f"fleet-{self._fleets}"
        known = (data / "customers.json").exists()
        fleet = Fleet(
            data,
            FleetOptions(
                accounts=request.accounts if known else accounts,
                edges=EDGES,
                normal_min_seconds=request.normal_min_seconds,
                environment=request.environment,
                service=self._kind if self._kind in SERVICES else "",
                small_disk=self._kind == "small disk",
                clock_file=data / CLOCK_FILE if self._kind == "wrong clock" else None,
            ),
        )
        self._keep_folder = request.data is not None
        try:
            self._say(f"Preparing a fleet in {data}")
            fleet.prepare()
            self._say("Starting it")
            fleet.start()
            yield fleet
        finally:
            fleet.stop()
            if not self._keep_folder:
                shutil.rmtree(data, ignore_errors=True)


def count_sharing(drills: Sequence[Drill]) -> int:
    """Tell how many drills from the first on can share its fleet: of the same kind, until one has spoiled it."""
    count = 0
    for drill in drills:
        if drill.fleet != drills[0].fleet:
            break
        count += 1
        if drill.spoils:
            break
    return count


@contextlib.contextmanager
def only_drill(folder: Path) -> Iterator[None]:
    """Hold a fleet for one drill; the lock goes with this process. Raises `RefusedError` while another one runs."""
    path = folder / "drill.lock"
    with path.open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RefusedError(
                f"another drill (process {holder(path)}) runs on the fleet in {folder}"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield

"""``ridethrough drill``: list, show and run drills."""

import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    # Imported where they are used: a command that lists drills starts without the whole of a fleet.
    from chaos.drill import Request
    from chaos.drill_results import Result
    from chaos.drills.drill import Drill

_DATA = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
EXIT_VIOLATED = 1
EXIT_NOT_RUN = 2
NORMAL_MIN_SECONDS = 60.0
_SEED_MAX = 2**31


@click.group("drill")
def drill_group() -> None:
    """Break a local fleet on purpose and report what customers saw."""


@drill_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def list_command(as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """List the drills, what each is for, and what this machine lacks for it."""
    import msgspec  # noqa: PLC0415 - the other commands start faster

    from chaos.drills.catalogue import CATALOGUE  # noqa: PLC0415 - likewise
    from chaos.drills.needs import missing  # noqa: PLC0415 - likewise

    if as_json:
        listed = [
            {
                "id": drill.name,
                "summary": drill.purpose,
                "needs": drill.needs,
                "lacking": missing(drill, own_fleet=True),
            }
            for drill in CATALOGUE.values()
        ]
        click.echo(msgspec.json.encode(listed))
        return
    for drill in CATALOGUE.values():
        needs = f" [needs: {', '.join(drill.needs)}]" if drill.needs else ""
        needs += " [on trial: not part of --all]" if drill.on_trial else ""
        lacking = "; ".join(missing(drill, own_fleet=True))
        click.echo(
            f"{drill.name:<20} {drill.purpose}{needs}{f' [not here: {lacking}]' * bool(lacking)}"
        )


@drill_group.command("show")
@click.argument("name")
@click.option("--fleet", "fleet_file", type=_FILE, help="fleet.json of a running demo.")
def show_command(name: str, fleet_file: Path | None) -> None:
    """Tell what a drill does, what it touches and what must hold; nothing is touched."""
    from chaos.drill import Request  # noqa: PLC0415 - the other commands start faster
    from chaos.drills.catalogue import find  # noqa: PLC0415 - likewise
    from chaos.drills.runner import Options  # noqa: PLC0415 - likewise

    _show(Request(drills=[find(name)], options=Options(), fleet_file=fleet_file), find(name))


def _show(request: "Request", drill: "Drill") -> None:
    from chaos.drill import list_targets, why_not  # noqa: PLC0415 - the other commands start faster

    def first_line(function: Any) -> str:
        return str(function.__doc__ or "").strip().splitlines()[0]

    click.echo(f"{drill.name}: {drill.purpose}")
    lacking = why_not(request, drill)
    if lacking:
        click.echo(f"  cannot be run here: {lacking}")
    click.echo("  steady state: core and edges answer; every edge normal, fresh, nothing waiting")
    for target in list_targets(request, drill):
        click.echo(f"  touches {target.what}: {target.fate}")
    if drill.rounds > 1:
        click.echo(f"  {drill.rounds} times, {drill.pause_seconds:g} s apart")
    click.echo(f"  customers: {drill.customers}")
    click.echo(f"  recovery: {drill.recovery}")
    for abort in drill.aborts:
        click.echo(f"  ends early: {first_line(abort)}")
    for invariant in drill.invariants:
        click.echo(f"  must hold: {first_line(invariant)}")


@drill_group.command("run")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Run every drill that is not on trial.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be touched.")
@click.option("--window", metavar="HH:MM-HH:MM", help="Refuse outside these hours of this machine.")
@click.option("--fleet", "fleet_file", type=_FILE, help="fleet.json of a running demo to break.")
@click.option("--data", type=_DATA, help="Keep the drill's own fleet here. [thrown away]")
@click.option(
    "--accounts",
    type=click.IntRange(4, 100_000),
    help="Of its own fleet, for each drill. [40; 12 where several share one]",
)
@click.option(
    "--hold",
    "hold_seconds",
    type=click.FloatRange(5, 3600),
    default=30.0,
    show_default=True,
    help="Seconds that the fault lasts.",
)
@click.option(
    "--deadline",
    "deadline_seconds",
    type=click.FloatRange(5, 3600),
    default=180.0,
    show_default=True,
    help="Seconds for the fleet to be normal again with nothing waiting.",
)
@click.option("--seed", type=click.IntRange(0), help="Of customers and amounts. [drawn, and told]")
@click.option(
    "--report", "report_folder", type=_DATA, help="Where reports go. [ridethrough-reports/…]"
)
@click.option("--json", "json_file", type=_FILE, help="Also write the figures to this file.")
@click.option(
    "--normal-min-seconds",
    type=click.FloatRange(min=0),
    help="The edges' least time between two returns to normal. [their own: 60]",
)
def run_command(  # noqa: PLR0913, PLR0917 - one parameter an option
    names: tuple[str, ...],
    every: bool,  # noqa: FBT001 - click's flag
    dry_run: bool,  # noqa: FBT001 - click's flag
    window: str | None,
    fleet_file: Path | None,
    data: Path | None,
    accounts: int | None,
    hold_seconds: float,
    deadline_seconds: float,
    seed: int | None,
    normal_min_seconds: float | None,
    report_folder: Path | None,
    json_file: Path | None,
) -> None:
    """
    Run drills, one after the other, and write a report of each.

    Exits with 0 when every invariant of every drill that was run held, with 1 when one was broken, and with 2 when a
    drill could not be run, for instance because the fleet was not well before. With --all, drills that this machine
    lacks something for are told and count as not run.
    """
    from chaos import drill  # noqa: PLC0415 - the other commands start faster
    from chaos.drills.catalogue import CATALOGUE, find, in_fleets  # noqa: PLC0415 - likewise
    from chaos.drills.runner import Options  # noqa: PLC0415 - likewise

    if every == bool(names):
        raise click.UsageError("name drills, or give --all; `drill list` lists them")
    own = {"--data": data, "--accounts": accounts, "--normal-min-seconds": normal_min_seconds}
    if fleet_file is not None and any(value is not None for value in own.values()):
        raise click.UsageError(f"--fleet names a running demo: {', '.join(own)} belong to it")
    given = {"--fleet": fleet_file, "--window": window, **own}
    arguments = [
        word for name, value in given.items() if value is not None for word in (name, str(value))
    ]
    arguments += ["--hold", f"{hold_seconds:g}", "--deadline", f"{deadline_seconds:g}"]
    least = NORMAL_MIN_SECONDS if normal_min_seconds is None else normal_min_seconds
    request = drill.Request(
        drills=in_fleets(drill for drill in CATALOGUE.values() if not drill.on_trial)
        if every
        else [find(name) for name in names],
        options=Options(
            hold_seconds=hold_seconds,
            deadline_seconds=deadline_seconds,
            returns_max=1 + int(hold_seconds / max(1.0, least)),
            seed=Random().randrange(_SEED_MAX) if seed is None else seed,
        ),
        fleet_file=fleet_file,
        data=data,
        accounts=accounts,
        normal_min_seconds=normal_min_seconds,
        report_folder=report_folder,
        window=_window(window),
        arguments=arguments,
    )
    if dry_run:
        for chosen in request.drills:
            _show(request, chosen)
        return
    _tell_lacking(request)
    results = drill.run_drills(request, lambda step: click.echo(step, err=True), _tell)
    if json_file is not None:
        _write_figures(json_file, results)
    if len(results) > 1:
        _tell_sum(results, report_folder or drill.REPORTS)
    sys.exit(_exit_status(results, every=every))


def _window(text: str | None) -> Any:
    from chaos.drills.window import parse_window  # noqa: PLC0415 - the other commands start faster

    try:
        return None if text is None else parse_window(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _tell_lacking(request: "Request") -> None:
    """Say before the start what will not be run."""
    from chaos.drill import why_not  # noqa: PLC0415 - the other commands start faster

    for chosen in request.drills:
        lacking = why_not(request, chosen)
        if lacking:
            click.echo(f"{chosen.name} will not be run: {lacking}", err=True)


def _tell(result: "Result") -> None:
    report = result.report
    if report is None:
        click.echo(f"{result.drill}: not run: {result.not_run}")
        return
    for finding in report.findings:
        click.echo(f"{'held  ' if finding.held else 'BROKEN'}  {finding.name}: {finding.found}")
        for line in finding.evidence:
            click.echo(f"          {line}")
    click.echo(f"{'passed' if report.passed else 'FAILED'}; report: {result.page}")


def _write_figures(json_file: Path, results: "list[Result]") -> None:
    import msgspec  # noqa: PLC0415 - the other commands start faster

    from chaos.report import encode_report  # noqa: PLC0415 - likewise

    json_file.parent.mkdir(parents=True, exist_ok=True)
    if len(results) == 1 and results[0].report is not None:
        json_file.write_bytes(encode_report(results[0].report))
        return
    figures = [
        {
            "drill": result.drill,
            "not_run": result.not_run,
            "page": str(result.page or ""),
            "report": result.report,
        }
        for result in results
    ]
    json_file.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")


def _tell_sum(results: "list[Result]", folder: Path) -> None:
    from chaos.drill_results import sum_up, write_overview  # noqa: PLC0415 - a single drill has none

    click.echo("")
    for result in results:
        if result.report is None:
            click.echo(f"not run  {result.drill}: {result.not_run}")
        else:
            verdict = "passed " if result.report.passed else "FAILED "
            click.echo(f"{verdict}  {result.drill}")
    click.echo(f"{sum_up(results)}; overview: {write_overview(folder, results)}")


def _exit_status(results: "list[Result]", *, every: bool) -> int:
    reports = [result.report for result in results if result.report is not None]
    if any(not report.passed for report in reports):
        return EXIT_VIOLATED
    missed = [result for result in results if result.report is None]
    excused = every and reports and all(result.lacking for result in missed)
    return EXIT_NOT_RUN if missed and not excused else 0


@drill_group.command("watch")
@click.option(
    "--fleet",
    "fleet_file",
    type=_FILE,
    default=Path("ridethrough-demo/fleet.json"),
    show_default=True,
    help="fleet.json of a running fleet.",
)
@click.option("--once", is_flag=True, help="Look once, and end.")
def watch_command(fleet_file: Path, once: bool) -> None:  # noqa: FBT001 - click's flag
    """
    Show a running demo or drill in the terminal: each edge's mode, age, queue and breaker, and the faults in force.

    Into a file or a pipe it writes a line for each change.
    """
    from rich.console import Console  # noqa: PLC0415 - the other commands start faster

    from chaos.fleet_view import watch_fleet  # noqa: PLC0415 - likewise

    watch_fleet(fleet_file, Console(), once=once)

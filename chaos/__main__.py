"""Commands that break things on purpose, and measure them: the demo, drills, benchmarks, simulation."""

import sys
from pathlib import Path

import click

from chaos.drill_command import EXIT_VIOLATED, drill_group
from chaos.errors import ChaosError

_DATA = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
EXIT_NOT_RUN = 2


@click.group()
def commands() -> None:
    """Start a demo fleet, run a drill against one, measure, or simulate."""


@commands.command("demo")
@click.option("--accounts", type=click.IntRange(1, 100_000), help="Customers of a new demo. [200]")
@click.option("--edges", type=click.IntRange(1, 8), help="Edges of a new demo. [2]")
@click.option(
    "--data", type=_DATA, help="Its folder, used again when it is there. [ridethrough-demo]"
)
@click.option("--port", type=click.IntRange(1, 65535), help="The first edge's port. [any free one]")
@click.option(
    "--normal-min-seconds",
    type=click.FloatRange(min=0),
    help="The edges' least time between two returns to normal. [their own: 60]",
)
def demo_command(
    accounts: int | None,
    edges: int | None,
    data: Path | None,
    port: int | None,
    normal_min_seconds: float | None,
) -> None:
    """Run a core and its edges on this machine, with demo data, until Ctrl-C."""
    from chaos.demo import DEFAULT_DATA, run_demo  # noqa: PLC0415 - the other commands start faster
    from chaos.fleet import FleetOptions  # noqa: PLC0415 - likewise

    options = FleetOptions(
        accounts=accounts,
        edges=edges,
        first_port=port,
        normal_min_seconds=normal_min_seconds,
    )
    run_demo(data or DEFAULT_DATA, options, click.echo)


@commands.command("bench")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--json", "json_file", type=_FILE, help="Also write the figures to this file.")
@click.option("--strict", is_flag=True, help="End with 1 when a goal is missed.")
@click.option(
    "--accounts",
    type=click.IntRange(10, 2_000_000),
    help="Of the generated population. [1000000; it takes about 12 kB of disk each, three times]",
)
@click.option(
    "--keep",
    "kept",
    type=_DATA,
    help="Keep the generated population here, for the next run. [thrown away]",
)
@click.option(
    "--quick", is_flag=True, help="Tiny sizes: shows that it runs, the figures say little."
)
def bench_command(
    names: tuple[str, ...],
    json_file: Path | None,
    strict: bool,  # noqa: FBT001 - click's flag
    accounts: int | None,
    kept: Path | None,
    quick: bool,  # noqa: FBT001 - click's flag
) -> None:
    """
    Measure what Ridethrough does a second beside what could be done, both in this run.

    Without a NAME everything is measured; "list" lists what there is. Ends with 0 when all ran, whatever was found,
    unless --strict is given, and with 2 when something could not be started.
    """
    import msgspec  # noqa: PLC0415 - the other commands start faster

    from chaos.bench import command  # noqa: PLC0415 - likewise
    from chaos.bench.catalogue import BENCHES  # noqa: PLC0415 - likewise
    from chaos.bench.figures import missed  # noqa: PLC0415 - likewise
    from chaos.bench.setting import QUICK, Sizes  # noqa: PLC0415 - likewise

    if names == ("list",):
        for name, entry in BENCHES.items():
            click.echo(f"{name:<12} {entry.summary}")
        return
    for name in names:
        if name not in BENCHES:
            raise click.UsageError(f"no benchmark {name!r}; there are: {', '.join(BENCHES)}")
    sizes = QUICK if quick else Sizes()
    if accounts is not None:
        sizes = msgspec.structs.replace(sizes, accounts=accounts)
    environment = command.environment_now()
    found = command.run_benches(
        names or tuple(BENCHES), sizes, kept=kept, tell=lambda step: click.echo(step, err=True)
    )
    results = command.report(found, environment, json_file, click.echo)
    sys.exit(EXIT_VIOLATED if strict and missed(results) else 0)


@commands.command("dictionaries", hidden=True)
@click.argument("folder", type=_DATA)
def dictionaries_command(folder: Path) -> None:
    """Train dictionaries for documents' bodies, and print what belongs into cache_sync/body_dictionaries.py."""
    import hashlib  # noqa: PLC0415 - the other commands start faster

    from cache_sync.body_dictionaries import WRITTEN_WITH  # noqa: PLC0415 - likewise
    from chaos.dictionaries.training import train  # noqa: PLC0415 - likewise

    folder.mkdir(parents=True, exist_ok=True)
    for kind in sorted(WRITTEN_WITH):
        trained = train(kind)
        (folder / f"{kind}.zdict").write_bytes(trained.content)
        ratio = trained.packed_bytes / trained.text_bytes
        click.echo(
            f"{kind:<12} {hashlib.sha256(trained.content).hexdigest()}  {ratio:.3f} of its text"
        )


@commands.command("simulate")
@click.option(
    "--seeds", type=click.IntRange(1), default=100, show_default=True, help="How many worlds."
)
@click.option(
    "--first", type=click.IntRange(0), default=1, show_default=True, help="The first seed."
)
@click.option(
    "--seed", type=click.IntRange(0), help="Live through this world alone and tell its story."
)
@click.option("--plan", "plan_file", type=_FILE, help="Live through the world of this file.")
@click.option(
    "--minimize", is_flag=True, help="Of a world that goes wrong find the smallest that still does."
)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 3600),
    default=10.0,
    show_default=True,
    help="How long things go wrong in each world, in its own time.",
)
@click.option("--jobs", type=click.IntRange(1), help="Processes. [one a processor]")
@click.option("--mutants", is_flag=True, help="Hunt the planted bugs instead; each must be caught.")
@click.option(
    "--json", "json_file", type=_FILE, help="Also write the figures, or the plan, to this file."
)
def simulate_command(  # noqa: PLR0913, PLR0917 - one parameter an option
    seeds: int,
    first: int,
    seed: int | None,
    plan_file: Path | None,
    minimize: bool,  # noqa: FBT001 - click's flag
    seconds: float,
    jobs: int | None,
    mutants: bool,  # noqa: FBT001 - click's flag
    json_file: Path | None,
) -> None:
    """
    Live through broken worlds under virtual time: a core, three edges, customers, and what goes wrong.

    The same seed is the same world, always. Ends with 0 when all went well, and with 1 when one did not, or a planted
    bug got away.
    """
    import msgspec  # noqa: PLC0415 - the other commands start faster

    from chaos.simulation import command  # noqa: PLC0415 - likewise

    jobs = jobs or command.processors()
    if mutants:
        missed = command.run_mutants(first=first, seconds=seconds, jobs=jobs, tell=click.echo)
        sys.exit(EXIT_VIOLATED if missed else 0)
    if seed is not None or plan_file is not None:
        plan = command.read_plan(plan_file) if plan_file else command.plan_of(seed or 0, seconds)
        judged = command.tell_world(plan, minimize=minimize, tell=click.echo)
        if json_file is not None:
            json_file.write_bytes(msgspec.json.format(msgspec.json.encode(judged.plan)))
        sys.exit(EXIT_VIOLATED if judged.wrong else 0)
    figures = command.run_many(first, seeds, seconds=seconds, jobs=jobs, tell=click.echo)
    command.tell_figures(figures, click.echo)
    if json_file is not None:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    sys.exit(EXIT_VIOLATED if figures.failed else 0)


commands.add_command(drill_group)


@commands.command("watchdog", hidden=True)
def watchdog_command() -> None:
    """Hold the faults of a drill; a drill starts this by itself."""
    from chaos import watchdog_process  # noqa: PLC0415 - the other commands start faster

    watchdog_process.main()


@commands.command("proxies", hidden=True)
@click.option("--plan", type=_FILE, required=True)
def proxies_command(plan: Path) -> None:
    """Run a fleet's fault proxies; a fleet starts this by itself."""
    from chaos import proxy_control  # noqa: PLC0415 - the other commands start faster

    proxy_control.main(plan)


@commands.command("processor", hidden=True)
@click.option("--plan", type=_FILE, required=True)
def processor_command(plan: Path) -> None:
    """Run a simulated payment processor; a fleet starts this by itself."""
    from chaos import processor  # noqa: PLC0415 - the other commands start faster

    processor.main(plan)


def _run(arguments: list[str] | None, name: str) -> None:
    try:
        commands.main(arguments, prog_name=name)
    except ChaosError as error:
        click.echo(f"ridethrough: {error}", err=True)
        sys.exit(EXIT_NOT_RUN)


def main() -> None:
    """Run `ridethrough demo` or `ridethrough drill`."""
    _run(None, "ridethrough")


def drill_main() -> None:
    """Run `ridethrough-drill`, the installed name of `ridethrough drill`."""
    _run(["drill", *sys.argv[1:]], "ridethrough-drill")


if __name__ == "__main__":
    main()

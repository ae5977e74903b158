"""Commands that break things on purpose: the demo and the drills."""

import sys
from pathlib import Path

import click

from chaos import proxy_control
from chaos.errors import ChaosError


@click.group(help="Start a demo fleet, or run a drill against one.")
def commands() -> None:
    """Hold the commands."""


@commands.command(hidden=True)
@click.option("--plan", type=click.Path(path_type=Path, exists=True), required=True)
def proxies(plan: Path) -> None:
    """Run a fleet's fault proxies; a fleet starts this by itself."""
    proxy_control.main(plan)


def _run(arguments: list[str] | None = None) -> None:
    try:
        commands.main(arguments, prog_name="ridethrough")
    except ChaosError as error:
        click.echo(f"ridethrough: {error}", err=True)
        sys.exit(2)


def main() -> None:
    """Run `ridethrough demo` or `ridethrough drill`."""
    _run()


def drill_main() -> None:
    """Run `ridethrough-drill`, the installed name of `ridethrough drill`."""
    _run(["drill", *sys.argv[1:]])


if __name__ == "__main__":
    main()

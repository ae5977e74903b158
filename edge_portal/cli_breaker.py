"""``edge breaker``: an operator holds the breaker to the core open or closed, or leaves it to itself again."""

import re
from pathlib import Path
from typing import Final

import click

from cache_sync.clock import SystemClock
from edge_portal.options import data_option
from edge_portal.settings import EdgePaths
from failover.breaker_order import Ordered, give_breaker_order, new_order
from failover.operators import this_operator

REASON_LENGTH_MAX: Final = 200
SECONDS_MAX: Final = 7 * 86_400
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TIME: Final = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[smhd])")


class _Time(click.ParamType[float]):
    """A length of time as people write it: 90s, 30m, 2h, 1d; in seconds."""

    name = "TIME"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read one."""
        found = _TIME.fullmatch(str(value))
        seconds = int(found["count"]) * _UNITS[found["unit"]] if found else 0
        if not 0 < seconds <= SECONDS_MAX:
            self.fail(f"{value!r} is not a time from 1s to 7d, such as 30m or 2h", param, ctx)
        return float(seconds)


_reason_option = click.option(
    "--reason", required=True, help="Why, for /status and the log; nobody's personal data."
)
_by_option = click.option("--by", help="Who orders it; else the user of this command.")
_for_option = click.option("--for", "for_seconds", type=_Time(), help="Then it ends by itself.")


@click.group("breaker")
def breaker_group() -> None:
    """Hold the breaker to the core; a serving edge follows at once, and after every restart."""


@breaker_group.command("open")
@data_option
@_reason_option
@_by_option
@_for_option
def open_command(data: Path, reason: str, by: str | None, for_seconds: float | None) -> None:
    """
    Send the core nothing, not even probes: before work on it, or to take load off it.

    Customers read what the edge holds, under its true date, and their payments are accepted under the limits of an
    outage.
    """
    _order(data, "open", reason, by, for_seconds)


@breaker_group.command("close")
@data_option
@_reason_option
@_by_option
@_for_option
def close_command(data: Path, reason: str, by: str | None, for_seconds: float | None) -> None:
    """
    Go on asking the core whatever calls say: when the breaker is known to be wrong.

    Every deadline holds as ever: no customer waits longer than otherwise.
    """
    _order(data, "closed", reason, by, for_seconds)


@breaker_group.command("automatic")
@data_option
@_reason_option
@_by_option
def automatic_command(data: Path, reason: str, by: str | None) -> None:
    """Let the breaker decide by itself again; one that was held open asks the core first."""
    _order(data, "automatic", reason, by, None)


def _order(
    data: Path, breaker: Ordered, reason: str, by: str | None, for_seconds: float | None
) -> None:
    paths = EdgePaths(data.absolute())
    if not paths.data.is_dir():
        raise click.ClickException(f"{data} is no edge's data folder")
    if not reason.strip() or len(reason) > REASON_LENGTH_MAX:
        raise click.BadParameter(f"1 to {REASON_LENGTH_MAX} characters", param_hint="--reason")
    order = new_order(
        breaker,
        by=by or this_operator(),
        reason=reason.strip(),
        clock=SystemClock(),
        for_seconds=for_seconds,
    )
    try:
        give_breaker_order(paths.breaker_order, order)
    except OSError as error:
        raise click.ClickException(f"{paths.breaker_order}: {error.strerror}") from error
    until = f" until {order.ends_at.isoformat(timespec='seconds')}" if order.ends_at else ""
    click.echo(f"ordered: {breaker}{until}")

"""
An operator's word on the breaker to the core: held open, held closed, or left to itself.

A small file beside the journal that outlives every process, and says who gave the order, when, why and for how long. An
order with an end ends by itself, so that a breaker that was held open for a night's work is not forgotten.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from cache_sync.clock import Clock
from failover.breaker import AsyncBreaker, Forced
from failover.noted_file import NotedFile, put_whole

Ordered = Literal["open", "closed", "automatic"]

_FORCED: dict[Ordered, Forced | None] = {"open": "open", "closed": "closed", "automatic": None}
_log = structlog.get_logger(__name__)


class BreakerOrder(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was ordered.

    ``for_seconds`` is None where it stands until the next order. Its end is counted on the boot clock of ``boot_id``;
    in another boot of the machine the wall clock has to do.
    """

    breaker: Ordered
    by: str
    reason: str
    given_at: datetime
    for_seconds: float | None = None
    boot_id: str = ""
    given_boot_seconds: float = 0.0

    @property
    def ends_at(self) -> datetime | None:
        """Tell the wall-clock time at which it ends, for people."""
        if self.for_seconds is None:
            return None
        return self.given_at + timedelta(seconds=self.for_seconds)

    def seconds_since(self, clock: Clock) -> float:
        """Tell how long ago it was given; a wall clock that was set back makes it no longer than just now."""
        if clock.boot_id() == self.boot_id:
            return clock.boot_seconds() - self.given_boot_seconds
        return max(0.0, (clock.now() - self.given_at).total_seconds())

    def seconds_left(self, clock: Clock) -> float | None:
        """Tell how long it still stands, 0 where it is over; None where it has no end."""
        if self.for_seconds is None:
            return None
        return max(0.0, self.for_seconds - self.seconds_since(clock))


def new_order(
    breaker: Ordered, *, by: str, reason: str, clock: Clock, for_seconds: float | None = None
) -> BreakerOrder:
    """Make an order that is given now."""
    return BreakerOrder(
        breaker=breaker,
        by=by,
        reason=reason,
        given_at=clock.now(),
        for_seconds=for_seconds,
        boot_id=clock.boot_id(),
        given_boot_seconds=clock.boot_seconds(),
    )


def give_breaker_order(path: Path, order: BreakerOrder) -> None:
    """
    Put an order in place; the agent follows it within half a second, and after every restart.

    Raises:
        OSError: It could not be written; the order before stands.
    """
    put_whole(path, msgspec.json.encode(order), flush=True)


class BreakerOrders:
    """
    Has one breaker follow the orders in a file.

    A file that cannot be read says what it said before, at the start nothing: the breaker then decides by itself.
    """

    def __init__(self, path: Path, breaker: AsyncBreaker, clock: Clock) -> None:
        self._file = NotedFile(path, BreakerOrder, "the order to the breaker")
        self._breaker = breaker
        self._clock = clock
        self._in_force: BreakerOrder | None = None

    @property
    def in_force(self) -> BreakerOrder | None:
        """Return the order that holds the breaker; None while it decides by itself."""
        return self._in_force

    def follow(self) -> None:
        """Do what the order says now; to be called again and again."""
        order = self._file.read()
        over = order is not None and order.seconds_left(self._clock) == 0.0
        if order is not None and (over or order.breaker == "automatic"):
            order = None
        if order == self._in_force:
            return
        before, self._in_force = self._in_force, order
        forced = _FORCED[order.breaker] if order is not None else None
        if forced != self._breaker.forced:
            self._breaker.force(forced)
        if order is not None:
            _log.warning(
                "an operator holds the breaker",
                breaker=order.breaker,
                by=order.by,
                reason=order.reason,
                given_at=order.given_at.isoformat(),
                until=order.ends_at.isoformat() if order.ends_at else None,
            )
        elif before is not None:
            _log.warning(
                "the breaker decides by itself again", time_is_over=over, before=before.breaker
            )

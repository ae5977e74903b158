"""
Faults of a link, as ordered and as leases that heal by themselves.

A fault is never switched on for good: it carries the seconds after which it heals, so that a drill that dies leaves a
healthy fleet behind.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

TTL_SECONDS_DEFAULT = 60.0
TTL_SECONDS_MAX = 3600.0

Direction = Literal["both", "forward", "backward"]
Ttl = Annotated[float, msgspec.Meta(gt=0, le=TTL_SECONDS_MAX)]
Delay = Annotated[float, msgspec.Meta(ge=0, le=60)]


class _Order(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    ttl_seconds: Ttl = TTL_SECONDS_DEFAULT


class Cut(_Order, frozen=True, kw_only=True, tag="cut"):
    """
    Swallow what is sent, on connections old and new, and drop it: nothing is delivered later.

    ``direction`` ``forward`` loses what the one who connects sends, ``backward`` what it is answered. A connection
    that lost bytes is reset when the fault heals.
    """

    direction: Direction = "both"


class Latency(_Order, frozen=True, kw_only=True, tag="latency"):
    """Deliver everything later by ``latency_seconds`` and up to ``jitter_seconds`` more, in order, each way."""

    latency_seconds: Delay = 1.0
    jitter_seconds: Delay = 0.0


class Rate(_Order, frozen=True, kw_only=True, tag="rate"):
    """Deliver no more than ``bytes_per_second`` on each connection, each way."""

    bytes_per_second: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 1024


class Reset(_Order, frozen=True, kw_only=True, tag="reset"):
    """Reset every connection, and each new one as soon as it is accepted."""


class Refuse(_Order, frozen=True, kw_only=True, tag="refuse"):
    """Reset every connection and refuse new ones, as a machine without the process does."""


class Flaky(_Order, frozen=True, kw_only=True, tag="flaky"):
    """Reset the connection of a ``share`` of what is sent forward, each time before it arrives: calls that fail."""

    share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5


Fault = Cut | Latency | Rate | Flaky | Reset | Refuse

# When a connection lies on two links that both have a fault, the worse one counts.
_SEVERITY: tuple[type[Fault], ...] = (Latency, Rate, Flaky, Reset, Refuse, Cut)


def worst(faults: list[Fault]) -> Fault | None:
    """Choose which of several faults a connection suffers from; None without any."""
    return max(faults, key=lambda fault: _SEVERITY.index(type(fault)), default=None)


class LinkState(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET {proxy}/fault` tells: the fault (None when healthy), its rest, and what went through or did not."""

    link: str
    fault: Fault | None
    remaining_seconds: float
    connections: int
    swallowed_bytes: int


class Lease:
    """
    One link's fault, healed by a timer when nobody healed it before.

    ``changed`` is called after every change, also the timer's own. A new fault replaces the one before; the same one
    again only renews it, and no connection notices.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._fault: Fault | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def fault(self) -> Fault | None:
        """The fault in force."""
        return self._fault

    @property
    def remaining_seconds(self) -> float:
        """How long until the fault heals by itself; 0 without one."""
        if self._timer is None:
            return 0.0
        return max(0.0, self._timer.when() - asyncio.get_running_loop().time())

    def take(self, fault: Fault) -> None:
        """Put a fault in force from now for its ``ttl_seconds``."""
        self._stop_timer()
        before, self._fault = self._fault, fault
        self._timer = asyncio.get_running_loop().call_later(fault.ttl_seconds, self.heal)
        if (
            before is None
            or msgspec.structs.replace(before, ttl_seconds=fault.ttl_seconds) != fault
        ):
            self._changed()

    def heal(self) -> None:
        """End the fault; does nothing without one."""
        self._stop_timer()
        if self._fault is None:
            return
        self._fault = None
        self._changed()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

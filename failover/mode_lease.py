"""
The mode as the agent leases it to the other processes of its node: one small file, renewed every half second.

A lease that ran out, is missing or was written in another boot of the machine reads as degraded with payments closed:
the agent is down, so nobody can record one.
"""

from datetime import datetime
from pathlib import Path

import msgspec

from cache_sync.clock import Clock
from failover.breaker_order import BreakerOrder
from failover.journal_views import QueueSummary
from failover.modes import BreakerState, Mode, Reason
from failover.noted_file import put_whole
from failover.retry_budget import RetryCounts
from failover.standin import Standing

LEASE_SECONDS = 2.0
RENEW_SECONDS = 0.5


class ModeLease(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the agent knows of its node, true until ``lease_until`` (boot clock of ``boot_id``).

    ``since`` is when the mode was entered, in core time as it was estimated then; None while nothing is known of that.
    ``breaker_order`` is an operator's, where one holds the breaker. ``core_silence_seconds`` is None when the core
    never answered. ``witnesses`` says which siblings are there; ``payments_open`` whether a payment tried now has
    somewhere to go; ``archive_open`` whether archive reads may be tried. ``normal_entered_at`` (boot clock) lets a
    restarted agent keep `normal` from flickering. ``standing`` is where the node stands in its stand-in limits.
    ``retries`` counts what was offered to the core, by its road.
    """

    mode: Mode
    reason: Reason
    since: datetime | None = None
    normal_entered_at: float | None = None
    forced: Mode | None = None
    breaker: BreakerState = "closed"
    breaker_order: BreakerOrder | None = None
    retries: dict[str, RetryCounts] = {}
    core_silence_seconds: float | None = None
    queue: QueueSummary = QueueSummary()
    payments_open: bool = False
    archive_open: bool = False
    journal_fenced: bool = False
    journal_full: bool = False
    standing: Standing = Standing()
    witnesses: dict[str, bool] = {}
    incarnation: str = ""
    boot_id: str = ""
    lease_until: float = 0.0
    agent_pid: int = 0


def write_lease(path: Path, lease: ModeLease) -> None:
    """
    Put a lease in place, whole or not at all. Not synced: after a power loss it has run out anyway.

    Raises:
        OSError: The old lease stays and runs out.
    """
    put_whole(path, msgspec.json.encode(lease))


def last_lease(path: Path) -> ModeLease | None:
    """Read the lease that was written last, whether or not it ran out; None when there is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ModeLease)
    except (OSError, msgspec.DecodeError):
        return None


class LeaseReader:
    """Reads the lease; for every request, so an unchanged file is not read again."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self._lease: ModeLease | None = None

    def read(self) -> ModeLease:
        """Return the lease, or what holds without one; never raises."""
        lease = self._current()
        if lease is None:
            return ModeLease(mode="degraded", reason="starting")
        in_force = (
            lease.boot_id == self._clock.boot_id()
            and self._clock.boot_seconds() < lease.lease_until
        )
        if in_force:
            return lease
        return msgspec.structs.replace(
            lease,
            mode="degraded",
            reason="lease_expired",
            since=lease.since if lease.mode == "degraded" else None,
            payments_open=False,
            archive_open=False,
        )

    def _current(self) -> ModeLease | None:
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen != self._seen:
                self._lease = msgspec.json.decode(self._path.read_bytes(), type=ModeLease)
                self._seen = seen
        except (OSError, msgspec.DecodeError):
            # Unreadable is as good as absent: without a lease nothing is promised.
            self._seen = self._lease = None
        return self._lease

"""Decides the node's mode every half second, and at once when something happened, and renews its lease."""

import asyncio
import contextlib
import math
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import structlog

from cache_sync.clock import Clock
from cache_sync.follower_status import read_status
from cache_sync.frames import Proof
from cache_sync.replica_reader import ReplicaState
from edge_portal.core_clock import CoreClock
from edge_portal.held_snapshots import HeldSnapshots
from edge_portal.mode_order import read_order
from edge_portal.settings import EdgeSettings
from failover.breaker import AsyncBreaker
from failover.breaker_order import BreakerOrders
from failover.drain import Drain
from failover.errors import JournalError
from failover.journal import Journal
from failover.journal_views import QueueSummary
from failover.mode_lease import (
    LEASE_SECONDS,
    RENEW_SECONDS,
    ModeLease,
    last_lease,
    write_lease,
)
from failover.modes import Mode, ModeInputs, ModeSettings, ModeState, decide, initial
from failover.outages import OutageLog
from failover.probe import CoreProbe
from failover.retry_budget import RetryBudget
from failover.standin import Standing
from failover.standin_orders import StandinLimits
from failover.submission import Submission
from failover.witness import PeerWatch

FOLLOWER_SILENT_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class SnapshotAge:
    """What the agent reads in the snapshots: how old they are, and what the core's clock says."""

    def __init__(self, held: HeldSnapshots, directories: Sequence[Path], clock: Clock) -> None:
        self._held = held
        self._directories = directories
        self._clock = clock

    def state(self, account_id: str = "") -> ReplicaState | None:
        """
        Return where the snapshot of an account stands, the oldest where none is named.

        None when there is none that can be read.
        """
        return self._held.state(account_id)

    def proof(self) -> Proof | None:
        """Return a barrier that was reached with the core's seal on it; None when there is none to show."""
        return self._held.proof()

    def following(self) -> bool:
        """
        Tell whether the applier is there and nothing keeps it from applying what comes, of any shard.

        A lost connection is no stall yet: the age of the snapshot tells when it becomes one, the probe why.
        """
        return all(self._follows(directory) for directory in self._directories)

    def _follows(self, directory: Path) -> bool:
        status = read_status(directory)
        if status is None or status.phase == "stopped":
            return False
        written = status.written_age_seconds(self._clock)
        return written is not None and written < FOLLOWER_SILENT_SECONDS


class ModeKeeper:
    """The only writer of the lease."""

    def __init__(  # noqa: PLR0913 - the mode depends on everything
        self,
        settings: EdgeSettings,
        *,
        journal: Journal,
        breaker: AsyncBreaker,
        probe: CoreProbe,
        submission: Submission,
        drain: Drain,
        peers: PeerWatch,
        snapshot: SnapshotAge,
        budgets: Mapping[str, RetryBudget],
        core_clock: CoreClock,
        standin: StandinLimits,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._breaker = breaker
        self._orders = BreakerOrders(settings.paths.breaker_order, breaker, clock)
        self._probe = probe
        self._submission = submission
        self._drain = drain
        self._peers = peers
        self._snapshot = snapshot
        self._budgets = budgets
        self._core_clock = core_clock
        self._standin = standin
        self._clock = clock
        self._rules = ModeSettings(normal_min_seconds=settings.config.normal_min_seconds)
        self._state = _resume(settings.paths.lease, clock)
        self._since: datetime | None = None
        self._changed = asyncio.Event()
        self._full = False
        self._outages = OutageLog(settings.paths.outages)
        # Unknown until the first renewal: too long, as far as limits are concerned.
        self._outage_seconds = math.inf

    def outage_seconds(self) -> float:
        """Tell how long the node has not been in normal operation, also before a restart; 0 while it is."""
        return self._outage_seconds

    def follow_orders(self) -> None:
        """Hold the breaker as an operator ordered, or no longer."""
        self._orders.follow()

    def wake(self) -> None:
        """Decide again now."""
        self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Renew until ``stop`` is set."""
        while not stop.is_set():
            self.renew()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), RENEW_SECONDS)
            self._changed.clear()

    def renew(self) -> ModeLease:
        """Decide the mode and write the lease."""
        snapshot = self._snapshot.state()
        self.follow_orders()
        before = self._state
        order = read_order(self._settings.paths.mode_order).mode
        forced: Mode | None = "degraded" if order == "degraded" else None
        self._state = decide(before, self._inputs(snapshot, forced), self._rules)
        if self._state.since != before.since:
            self._since = None
        if self._since is None and snapshot is not None:
            self._since = self._entered_at(snapshot)
        if self._state.mode != before.mode:
            log.info("mode", mode=self._state.mode, reason=self._state.reason, before=before.mode)
        self._note_outage(snapshot)
        self._look_for_room()
        lease = self._lease(snapshot, forced)
        try:
            write_lease(self._settings.paths.lease, lease)
        except OSError as error:
            # It runs out, which reads as degraded: true enough for a node that cannot write.
            log.warning("the lease could not be renewed", error=type(error).__name__)
        return lease

    def _entered_at(self, snapshot: ReplicaState) -> datetime:
        """Tell when the mode was entered, in core time: this machine's own clock may be set wrong."""
        elapsed = self._clock.boot_seconds() - self._state.since
        return self._core_clock.now(snapshot) - timedelta(seconds=elapsed)

    def _note_outage(self, snapshot: ReplicaState | None) -> None:
        now = self._core_clock.now(snapshot) if snapshot is not None else None
        try:
            self._outages.note(self._state.mode, now or self._clock.now())
        except OSError as error:
            # The next renewal tries again.
            log.warning("an outage could not be written down", error=type(error).__name__)
        began_at = self._outages.began_at
        lasted = (now or self._clock.now()) - began_at if began_at else timedelta()
        self._outage_seconds = max(0.0, lasted.total_seconds())

    def _look_for_room(self) -> None:
        full = self._journal.full
        if full and not self._full:
            log.error("payments are refused: the journal's disk is nearly full")
        elif self._full and not full:
            log.info("payments are taken again: the journal's disk has room")
        self._full = full

    def _inputs(self, snapshot: ReplicaState | None, forced: Mode | None) -> ModeInputs:
        known_age = snapshot is not None and not snapshot.at_least
        return ModeInputs(
            now=self._clock.boot_seconds(),
            breaker=self._breaker.state,
            core_silence_seconds=self._probe.silence_seconds(),
            feed_following=self._snapshot.following(),
            feed_age_seconds=snapshot.age_seconds if snapshot and known_age else None,
            oldest_unsettled_seconds=self._drain.oldest_unparked_seconds(),
            forced=forced,
            breaker_held=self._orders.in_force is not None,
            expelled=self._probe.expelled,
        )

    def _lease(self, snapshot: ReplicaState | None, forced: Mode | None) -> ModeLease:
        silence = self._probe.silence_seconds()
        answering = silence is not None and silence <= self._rules.silence_seconds
        return ModeLease(
            mode=self._state.mode,
            reason=self._state.reason,
            since=self._since,
            normal_entered_at=self._state.normal_entered_at,
            forced=forced,
            breaker=self._breaker.state,
            breaker_order=self._orders.in_force,
            retries={road: budget.counts for road, budget in self._budgets.items()},
            core_silence_seconds=silence,
            queue=self._queue(snapshot),
            payments_open=snapshot is not None and self._submission.payments_open,
            archive_open=self._breaker.admits() and answering,
            journal_fenced=self._journal.fenced,
            journal_full=self._full,
            standing=self._standing(),
            witnesses=self._peers.liveness(),
            incarnation=self._journal.incarnation,
            boot_id=self._clock.boot_id(),
            lease_until=self._clock.boot_seconds() + LEASE_SECONDS,
            agent_pid=os.getpid(),
        )

    def _standing(self) -> Standing:
        outstanding: int | None = None
        if self._submission.share_known:
            with contextlib.suppress(JournalError):
                outstanding = self._journal.reader.outstanding_cents()
        return Standing(
            limits=self._standin.limits,
            version=self._standin.version,
            outage_seconds=self._outage_seconds,
            outstanding_cents=outstanding,
        )

    def _queue(self, snapshot: ReplicaState | None) -> QueueSummary:
        now = self._core_clock.now(snapshot) if snapshot is not None else None
        try:
            queue = self._journal.reader.queue(now)
        except JournalError:
            return QueueSummary()
        return msgspec.structs.replace(queue, parked=self._drain.parked)


def _resume(path: Path, clock: Clock) -> ModeState:
    """Start as a node that knows nothing, but for when `normal` was last entered in this boot of the machine."""
    state = initial(clock.boot_seconds())
    last = last_lease(path)
    if last is None or last.boot_id != clock.boot_id():
        return state
    return msgspec.structs.replace(state, normal_entered_at=last.normal_entered_at)

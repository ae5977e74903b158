"""What the core's clock says now, as close as an edge can tell, for the time at which payments are accepted."""

from datetime import datetime, timedelta

from cache_sync.clock import Clock
from cache_sync.replica_reader import ReplicaState
from failover.probe import CoreProbe, ProbeAnswer


class CoreClock:
    """
    Estimates core time.

    As-of time plus age runs ahead of the core by up to the wait of a feed question, because ages count from the asking.
    A probe's answer bounds it from below, to the milliseconds of its way back; whichever is earlier is taken, so that a
    payment is not stamped later than the core decides it. Until a probe was answered there is the snapshot alone.
    """

    def __init__(self, probe: CoreProbe, clock: Clock) -> None:
        self._probe = probe
        self._clock = clock
        self._answer: ProbeAnswer | None = None
        self._answered_at = 0.0
        probe.on_answer(self._note)

    def now(self, snapshot: ReplicaState) -> datetime:
        """Tell the core's estimated time."""
        latest = snapshot.as_of + timedelta(seconds=snapshot.age_seconds)
        if self._answer is None:
            return latest
        elapsed = self._clock.boot_seconds() - self._answered_at
        earliest = self._answer.as_of + timedelta(seconds=elapsed)
        # Never before T: what is in the snapshot happened before the payment.
        return max(min(earliest, latest), snapshot.as_of)

    def _note(self) -> None:
        """Remember when a new answer of the probe came; other calls' answers bring no time."""
        if self._probe.latest is not self._answer:
            self._answer = self._probe.latest
            self._answered_at = self._clock.boot_seconds()

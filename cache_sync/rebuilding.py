"""Why a snapshot is to be replaced, and when: at once the first time, slower and slower when that does not help."""

from random import Random

from cache_sync.backoff import Backoff
from cache_sync.clock import Clock
from cache_sync.follower_settings import FollowerSettings


class Rebuilding:
    """
    A plan to replace the snapshot, if there is one.

    A node above whose documents do not sum up sends every new snapshot the way of the one before. So a snapshot that
    was built is no success yet: waits go on growing until it was followed for a while without trouble.

    Args:
        settings: How long waits are, and when they are short again.
        clock: Time.
        rng: Where jitter comes from.
    """

    def __init__(self, settings: FollowerSettings, *, clock: Clock, rng: Random) -> None:
        first, cap = settings.rebuild_first_seconds, settings.rebuild_cap_seconds
        self._backoff = Backoff(first, cap, rng)
        self._steady_seconds = settings.rebuild_steady_seconds
        self._clock = clock
        self._troubled_at = clock.boot_seconds()
        self._at: float | None = None
        self.reason = ""

    @property
    def is_planned(self) -> bool:
        """Whether what is held is to be replaced."""
        return self._at is not None

    def remaining_seconds(self) -> float:
        """Return how long to wait still."""
        return max(0.0, (self._at or 0.0) - self._clock.boot_seconds())

    def plan(self, reason: str) -> float:
        """Plan to replace the snapshot after a wait; return it."""
        delay = self.pause()
        self.reason = reason
        self._at = self._clock.boot_seconds() + delay
        return delay

    def plan_at_once(self, reason: str) -> None:
        """Plan to replace the snapshot without a wait: nothing went wrong since the last one."""
        self.reason, self._at = reason, self._clock.boot_seconds()

    def pause(self) -> float:
        """Return how long to wait before what cannot be helped from here is tried again."""
        self._troubled_at = self._clock.boot_seconds()
        return self._backoff.next_seconds()

    def clear(self) -> None:
        """Drop the plan: it was carried out, or there is no need of it."""
        self.reason, self._at = "", None

    def note_following(self) -> None:
        """Note that a barrier was applied."""
        if self._clock.boot_seconds() - self._troubled_at >= self._steady_seconds:
            self._backoff.reset()

"""
How much may be asked twice: a share of what is asked once, and a little more.

Each retry alone is harmless; a node in trouble is finished off by all of them together, since every caller then asks
several times for what it asked once before. With a budget the load of retries is bounded whatever fails: at most a
tenth more than without, and a few calls a second where little is asked at all. The rule is that of "Addressing
Cascading Failures" (Site Reliability Engineering, chapter 22) and of Finagle's and Envoy's retry budgets.
"""

import msgspec

from cache_sync.clock import Clock

_WHOLE = 1 - 1e-9
"""One retry; ten tenths are a little less, counted in binary."""


class RetryBudgetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    Every first try adds ``share`` of a retry, every second ``floor_per_second``; at most ``saved_max`` are saved up.

    The floor lets a node that asks nothing else find out, and is what a node in an outage lives on.
    """

    share: float = 0.1
    floor_per_second: float = 2.0
    saved_max: float = 20.0


class RetryCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted since the process started: first tries, retries that were made, retries that were not."""

    first: int = 0
    retries: int = 0
    refused: int = 0


class RetryBudget:
    """The retries of one node toward one other; used from one event loop."""

    def __init__(self, clock: Clock, settings: RetryBudgetSettings | None = None) -> None:
        self._clock = clock
        self._settings = settings or RetryBudgetSettings()
        self._saved = self._settings.saved_max
        self._filled_at = clock.boot_seconds()
        self._first = self._retries = self._refused = 0

    @property
    def counts(self) -> RetryCounts:
        """Tell what was counted."""
        return RetryCounts(first=self._first, retries=self._retries, refused=self._refused)

    def tried(self) -> None:
        """Note a first try."""
        self._first += 1
        self._save(self._settings.share)

    def take(self) -> bool:
        """Take a retry; False where there is none left: then it must not be made now."""
        now = self._clock.boot_seconds()
        self._save((now - self._filled_at) * self._settings.floor_per_second)
        self._filled_at = now
        if self._saved < _WHOLE:
            self._refused += 1
            return False
        self._saved -= 1.0
        self._retries += 1
        return True

    def _save(self, retries: float) -> None:
        self._saved = min(self._settings.saved_max, self._saved + retries)

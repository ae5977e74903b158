"""Growing waits with jitter, so that many nodes that lost the same core do not come back in step."""

from random import Random


class Backoff:
    """
    Waits that double with every failure up to a cap, each of them anywhere in its upper half.

    Args:
        first_seconds: The first wait.
        cap_seconds: The longest.
        rng: Where the jitter comes from.
    """

    def __init__(self, first_seconds: float, cap_seconds: float, rng: Random) -> None:
        self._first_seconds = first_seconds
        self._cap_seconds = cap_seconds
        self._rng = rng
        self.failures = 0

    def next_seconds(self) -> float:
        """Count a failure and return how long to wait after it."""
        # The exponent is bounded too: 2.0 ** 1100 is an error.
        doubled = self._first_seconds * 2.0 ** min(self.failures, 32)
        self.failures += 1
        return min(self._cap_seconds, doubled) * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Forget the failures: something worked."""
        self.failures = 0

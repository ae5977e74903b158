"""How fast drains may bring queued payments: the core grants the pace, live traffic goes first."""

import msgspec


class PacingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    The bounds of the pace, in intents a second for each edge.

    Above ``wait_seconds_max`` that a batch had to wait for its turn the pace is halved; below it grows by ``step``.
    """

    least: int = 20
    most: int = 5000
    first: int = 500
    step: int = 250
    wait_seconds_max: float = 0.05
    pause_seconds: float = 1.0


class DrainPacing:
    """
    Additive increase, multiplicative decrease on how long batches wait for the writer.

    Pure: the caller says what it saw.
    """

    def __init__(self, settings: PacingSettings | None = None) -> None:
        self._settings = settings or PacingSettings()
        self._credits = self._settings.first

    @property
    def credits(self) -> int:
        """How many queued intents an edge may send within the next second."""
        return self._credits

    @property
    def pause_seconds(self) -> float:
        """How long a refused drain should wait before it tries again."""
        return self._settings.pause_seconds

    def waited(self, seconds: float) -> None:
        """Take note of how long a drain's batch waited for its turn."""
        settings = self._settings
        if seconds > settings.wait_seconds_max:
            self._credits = max(settings.least, self._credits // 2)
        else:
            self._credits = min(settings.most, self._credits + settings.step)

    def refused(self) -> None:
        """Take note that a drain's batch was turned away."""
        self._credits = max(self._settings.least, self._credits // 2)

"""How fast drains may bring queued payments: the core grants the pace, operators bound it, live traffic goes first."""

from typing import NamedTuple

import msgspec

from core_cis.drain_orders import DrainOrders

ASK_AGAIN_SECONDS = 2.0


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


class Passage(NamedTuple):
    """How many intents of a batch are taken now, and how long the drain should pause before the next."""

    taken: int
    pause_seconds: float


class DrainGate:
    """
    Lets through what operators' orders allow: nothing while held, so many a second under a pace.

    Under a pace each edge, and the fleet, has a second's worth at most to spend. Pure: the caller tells the time.
    """

    def __init__(self) -> None:
        self._left: dict[str, float] = {}
        self._looked_at: dict[str, float] = {}

    def take(self, node_id: str, wanted: int, orders: DrainOrders, now: float) -> Passage:
        """
        Take a batch, as much of it as may pass.

        Args:
            node_id: The edge that brings it.
            wanted: How many intents.
            orders: Those in force.
            now: Seconds on the boot clock.
        """
        if orders.held(node_id):
            return Passage(0, ASK_AGAIN_SECONDS)
        paces = orders.paces(node_id)
        if not paces:
            return Passage(wanted, 0.0)
        for name, pace in paces.items():
            since = now - self._looked_at.get(name, now - 1.0)
            self._left[name] = min(float(pace), self._left.get(name, 0.0) + max(0.0, since) * pace)
            self._looked_at[name] = now
        taken = min(wanted, *(int(self._left[name]) for name in paces))
        for name in paces:
            self._left[name] -= taken
        pause = max((1.0 - self._left[name]) / pace for name, pace in paces.items())
        return Passage(taken, min(ASK_AGAIN_SECONDS, max(0.0, pause)))

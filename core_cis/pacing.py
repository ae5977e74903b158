"""
How fast drains may bring queued payments: the core grants the pace, operators bound it, live traffic goes first.

Everything here is pure: the caller says what it saw, and when.
"""

import math
from collections import OrderedDict, deque
from typing import NamedTuple

import msgspec

from core_cis.drain_orders import DrainOrders

ASK_AGAIN_SECONDS = 2.0
_QUIET_KEPT = 200
# Each transaction waits for the disk once, however few are in it.
_PART_MIN = 5
_QUIET_SHARE = 0.95


class PacingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    The bounds of the pace, in intents a second for all edges together.

    It grows by the share ``growth`` with every second's worth that was decided and nobody had to wait for, and is
    halved, at most once in ``ease_seconds``, when a customer's own payment takes ``slower`` times as long as without
    drains, when work has to wait for its turn for more than ``wait_seconds_max``, and when a batch is turned away. A
    slowness under ``live_seconds_min`` is nobody's trouble. At most ``burst_seconds`` of it are let in at once, and
    while customers pay no transaction of a drain is longer than ``hold_seconds``. An edge counts as draining for
    ``active_seconds``, and customers as paying for ``calm_seconds``, after they were seen last. Each turn of an edge
    may be ``least`` at least, and its next one is ``pause_seconds_max`` away at most.
    """

    least: int = 20
    most: int = 5000
    first: int = 500
    growth: float = 0.25
    ease_seconds: float = 0.25
    slower: float = 1.5
    live_seconds_min: float = 0.01
    wait_seconds_max: float = 0.05
    burst_seconds: float = 0.25
    hold_seconds: float = 0.01
    active_seconds: float = 15.0
    calm_seconds: float = 2.0
    pause_seconds: float = 1.0
    pause_seconds_max: float = 10.0


class Passage(NamedTuple):
    """How many intents of a batch are taken now, and how long the drain should pause before the next."""

    taken: int
    pause_seconds: float


class DrainPacing:
    """
    One pace for the fleet, shared by the edges that drain: more by steps, less by halves, as customers feel it.

    All times are seconds on the boot clock.
    """

    def __init__(self, settings: PacingSettings | None = None) -> None:
        self._settings = settings or PacingSettings()
        self._pace = float(self._settings.first)
        self._left = self._pace * self._settings.burst_seconds
        self._looked_at: float | None = None
        self._eased_at = -math.inf
        self._edges: OrderedDict[str, float] = OrderedDict()
        self._quiet: deque[float] = deque(maxlen=_QUIET_KEPT)
        self._drained_at = -math.inf
        self._live_at = -math.inf
        self._each_seconds = 0.0

    @property
    def credits(self) -> int:
        """How many queued intents a second are taken just now, of all edges together."""
        return int(self._pace)

    @property
    def pause_seconds(self) -> float:
        """How long a drain that was refused altogether should wait before it tries again."""
        return self._settings.pause_seconds

    def share(self, now: float) -> int:
        """Tell how many of them a draining edge may send within the next second."""
        return max(1, int(self._pace / max(1, self._draining(now))))

    def take(self, node_id: str, wanted: int, now: float) -> Passage:
        """
        Take a batch, as much of it as the pace allows.

        However many edges come at once, what is taken of all of them is never more than the pace for the time that went
        by, and a burst.

        Args:
            node_id: The edge that brings it.
            wanted: How many intents.
            now: The time.
        """
        self._edges[node_id] = self._drained_at = now
        self._edges.move_to_end(node_id)
        self._refill(now)
        turn = min(wanted, max(self._settings.least, self.share(now)))
        taken = min(turn, int(self._left))
        self._left -= taken
        # Everybody's next turn is when all had theirs: no edge is always late, and a thousand do not ask all the time.
        pause = self._draining(now) * turn / self._pace
        return Passage(taken, min(pause, self._settings.pause_seconds_max))

    def part(self, now: float) -> int:
        """Tell how many intents may be decided in one transaction: all there are while no customer pays."""
        if now - self._live_at > self._settings.calm_seconds or not self._each_seconds:
            return self._settings.most
        return max(_PART_MIN, int(self._settings.hold_seconds / self._each_seconds))

    def decided(self, count: int, seconds: float, now: float) -> None:
        """Take note that a transaction of a drain decided so many intents in so long."""
        self._drained_at = now
        each = seconds / count
        self._each_seconds = (
            each if not self._each_seconds else 0.8 * self._each_seconds + 0.2 * each
        )
        if now - self._eased_at >= self._settings.ease_seconds:
            self._pace = min(self._settings.most, self._pace + self._settings.growth * count)

    def live_took(self, seconds: float, now: float) -> None:
        """Take note of how long a customer's own payment took in the core."""
        self._live_at = now
        if now - self._drained_at > self._settings.calm_seconds:
            self._quiet.append(seconds)
        elif seconds > self._live_seconds_max():
            self._ease(now)

    def waited(self, seconds: float, now: float) -> None:
        """Take note of how long a drain's batch waited for its turn."""
        if seconds > self._settings.wait_seconds_max:
            self._ease(now)

    def refused(self, now: float) -> None:
        """Take note that a drain's batch was turned away, or failed as a whole."""
        self._ease(now)

    def _ease(self, now: float) -> None:
        if now - self._eased_at < self._settings.ease_seconds:
            return
        self._eased_at = now
        self._pace = max(self._settings.least, self._pace / 2)
        self._left = min(self._left, self._burst())

    def _live_seconds_max(self) -> float:
        if not self._quiet:
            return self._settings.wait_seconds_max
        ordered = sorted(self._quiet)
        usual = ordered[int(_QUIET_SHARE * (len(ordered) - 1))]
        return max(self._settings.live_seconds_min, self._settings.slower * usual)

    def _refill(self, now: float) -> None:
        since = 0.0 if self._looked_at is None else max(0.0, now - self._looked_at)
        self._looked_at = now
        self._left = min(self._burst(), self._left + since * self._pace)

    def _burst(self) -> float:
        return max(1.0, self._pace * self._settings.burst_seconds)

    def _draining(self, now: float) -> int:
        since = now - self._settings.active_seconds
        while self._edges and next(iter(self._edges.values())) < since:
            self._edges.popitem(last=False)
        return len(self._edges)


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

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
_QUIET_SHARE = 0.95
# A transaction has a cost of its own, that of some five to ten intents: fewer keep customers waiting for little else.
_PART_MIN = 5
# Up to this many times the least pace, drains are not what makes customers slow.
_LOW = 1.5
# Of customers' payments, the newest so many are looked at, or those of so long where there are more.
_RECENT_MIN = 20
_RECENT_MAX = 2000
_RECENT_SECONDS = 1.0
# A single slow payment is an accident.
_SLOW_MIN = 2
# The pace bounds the drain while it held somebody back so shortly ago.
_BOUND_SECONDS = 1.0


class PacingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    The bounds of the pace, in intents a second for all edges together.

    It grows by the share ``growth`` with every second's worth that was decided, while it is the pace that holds drains
    back. It is halved, at most once in ``ease_seconds``: when more than ``slow_share`` of customers' own payments take
    ``slower`` times as long as usual, when a drain's work waits for its turn for more than ``wait_seconds_max``, and
    when anything is turned away. Usual is what was seen without drains, or under the least pace for a while; as long
    as nothing was seen it is ``usual_seconds``, and a slowness under ``live_seconds_min`` is nobody's trouble.

    At most ``burst_seconds`` of the pace are let in at once. An edge brings ``turn_seconds`` of its share in a turn,
    ``turn_min`` at least; its next turn is ``pause_seconds_max`` away at most. While customers pay no transaction of a
    drain is longer than ``hold_share`` of what their payments usually take, which they may have to wait for it, or
    ``hold_seconds`` where that is more, and never than ``calm_hold_seconds``. An edge counts as draining for
    ``active_seconds``, customers as paying and drains as felt for ``calm_seconds``, after they were seen last.
    """

    least: int = 20
    most: int = 5000
    first: int = 100
    growth: float = 0.5
    ease_seconds: float = 0.25
    slower: float = 1.5
    slow_share: float = 0.05
    usual_seconds: float = 0.03
    live_seconds_min: float = 0.01
    wait_seconds_max: float = 0.5
    burst_seconds: float = 0.5
    turn_seconds: float = 0.25
    turn_min: int = 10
    hold_share: float = 1 / 3
    hold_seconds: float = 0.01
    calm_hold_seconds: float = 0.1
    active_seconds: float = 15.0
    calm_seconds: float = 2.0
    pause_seconds: float = 1.0
    pause_seconds_max: float = 10.0


class Passage(NamedTuple):
    """How many intents of a batch are taken now, and how long the drain should pause before the next."""

    taken: int
    pause_seconds: float


class _Seen(NamedTuple):
    """When an edge brought something last, and when it was told to come again."""

    at: float
    turn_at: float


class DrainPacing:
    """
    One pace for the fleet, shared by the edges that drain: more by steps, less by halves, as customers feel it.

    It never falls below the least, and comes back from there whatever customers' payments take by then. All times are
    seconds on the boot clock.
    """

    def __init__(self, settings: PacingSettings | None = None) -> None:
        self._settings = settings or PacingSettings()
        self._pace = float(self._settings.first)
        self._left = self._burst()
        self._looked_at: float | None = None
        self._edges: OrderedDict[str, _Seen] = OrderedDict()
        self._promised_until = -math.inf
        self._bound_at = -math.inf
        self._eased_at = -math.inf
        self._low_since = math.inf
        self._quiet: deque[float] = deque(maxlen=_QUIET_KEPT)
        self._recent: deque[tuple[float, bool]] = deque()
        self._slow = 0
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

    # -- letting in ----------------------------------------------------------------------------------------------------

    def turn(self, now: float) -> int:
        """Tell how many intents a draining edge may bring at a time."""
        share = self._pace / max(1, self._draining(now))
        most = max(self._settings.turn_min, int(share * self._settings.turn_seconds))
        return min(int(self._burst()), most)

    def take(self, node_id: str, wanted: int, now: float) -> Passage:
        """
        Take a batch, as much of it as the pace allows.

        However many edges come at once, what is taken of all of them is never more than the pace for the time that went
        by, and a burst. Whoever was held back is told when its turn is, one after the other.

        Args:
            node_id: The edge that brings it.
            wanted: How many intents.
            now: The time.
        """
        before = self._edges.get(node_id)
        self._edges[node_id] = _Seen(now, before.turn_at if before else now)
        self._edges.move_to_end(node_id)
        self._drained_at = now
        self._refill(now)
        turn = self.turn(now)
        taken = min(wanted, turn, int(self._left))
        self._left -= taken
        if taken == wanted < turn:
            return Passage(taken, 0.0)
        self._bound_at = now
        due = turn if wanted >= turn else wanted - taken
        return Passage(taken, self._next_turn(node_id, due, now))

    def _next_turn(self, node_id: str, due: int, now: float) -> float:
        told = self._edges[node_id].turn_at
        if told <= now:
            # What dead edges were promised delays the others by no more than the longest pause.
            told = max(self._promised_until, now) + due / self._pace
            told = min(told, now + self._settings.pause_seconds_max)
            self._promised_until = told
            self._edges[node_id] = _Seen(now, told)
        return told - now

    def part(self, now: float) -> int:
        """Tell how many intents may be decided in one transaction, so that nobody waits for it for long."""
        if not self._each_seconds:
            return _PART_MIN
        hold = self._settings.calm_hold_seconds
        if now - self._live_at <= self._settings.calm_seconds:
            share = self._settings.hold_share * self._usual_seconds()
            hold = min(hold, max(self._settings.hold_seconds, share))
        return max(_PART_MIN, min(self._settings.most, int(hold / self._each_seconds)))

    # -- what was seen -------------------------------------------------------------------------------------------------

    def decided(self, count: int, seconds: float, now: float) -> None:
        """Take note that a transaction of a drain decided so many intents in so long."""
        self._drained_at = now
        each = seconds / count
        self._each_seconds = (
            each if not self._each_seconds else 0.8 * self._each_seconds + 0.2 * each
        )
        bound = now - self._bound_at <= _BOUND_SECONDS
        if bound and now - self._eased_at >= self._settings.ease_seconds:
            self._set(self._pace + self._settings.growth * count, now)

    def live_took(self, seconds: float, now: float) -> None:
        """Take note of how long a customer's own payment took in the core."""
        self._live_at = now
        calm = self._settings.calm_seconds
        drains = now - self._drained_at <= calm
        if drains:
            self._watch(slow=seconds > self._live_seconds_max(), now=now)
        if not drains or now - self._low_since > calm:
            self._quiet.append(seconds)

    def waited(self, seconds: float, now: float) -> None:
        """Take note of how long a drain's batch waited for its turn."""
        if seconds > self._settings.wait_seconds_max:
            self._ease(now)

    def refused(self, now: float) -> None:
        """Take note that something was turned away, or failed as a whole."""
        self._ease(now)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _watch(self, *, slow: bool, now: float) -> None:
        """Judge by the share of slow ones: one in many is usual, and at a high rate there is always one."""
        self._recent.append((now, slow))
        self._slow += slow
        while len(self._recent) > _RECENT_MIN and (
            len(self._recent) > _RECENT_MAX or self._recent[0][0] < now - _RECENT_SECONDS
        ):
            self._slow -= self._recent.popleft()[1]
        if self._slow >= max(_SLOW_MIN, self._settings.slow_share * len(self._recent)):
            self._ease(now)

    def _ease(self, now: float) -> None:
        if now - self._eased_at < self._settings.ease_seconds:
            return
        self._eased_at = now
        self._recent.clear()
        self._slow = 0
        self._set(self._pace / 2, now)
        self._left = min(self._left, self._burst())

    def _set(self, pace: float, now: float) -> None:
        self._pace = min(self._settings.most, max(self._settings.least, pace))
        if self._pace > _LOW * self._settings.least:
            self._low_since = math.inf
        else:
            self._low_since = min(self._low_since, now)

    def _usual_seconds(self) -> float:
        """Tell what customers' slower payments take when no drain is felt."""
        if not self._quiet:
            return self._settings.usual_seconds
        return sorted(self._quiet)[int(_QUIET_SHARE * (len(self._quiet) - 1))]

    def _live_seconds_max(self) -> float:
        return max(self._settings.live_seconds_min, self._settings.slower * self._usual_seconds())

    def _refill(self, now: float) -> None:
        since = 0.0 if self._looked_at is None else max(0.0, now - self._looked_at)
        self._looked_at = now
        self._left = min(self._burst(), self._left + since * self._pace)

    def _burst(self) -> float:
        return max(1.0, self._pace * self._settings.burst_seconds)

    def _draining(self, now: float) -> int:
        since = now - self._settings.active_seconds
        while self._edges and next(iter(self._edges.values())).at < since:
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

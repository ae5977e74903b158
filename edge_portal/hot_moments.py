"""What kept answers are measured by at one moment, worked out once for all the requests of a turn."""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from cache_sync.clock import Clock
from cache_sync.frames import Position
from edge_portal import words
from edge_portal.hot_questions import Question
from edge_portal.kept_answers import Conditions, Labels, Standing, labels_of
from edge_portal.pages.band import FRESH_SECONDS, as_of_words
from edge_portal.snapshot_watch import Moment, SnapshotWatch
from edge_portal.views import Freshness, ModeView
from failover.standin import Standing as StandinStanding

_REMEMBERED_MAX: Final = 4096
_NO_FIGURES: Final = StandinStanding()

_Key = tuple[bool, str]


class HotMoment:
    """
    Where snapshot, journal and mode are at one moment, and what follows from it for every answer.

    ``at`` is the boot clock's time, ``core_seconds`` the core's since 1970; ``labels`` are as answers bear them.
    """

    def __init__(
        self, moment: Moment, mode: ModeView, at: float, labels: Labels, known: "_KnownConditions"
    ) -> None:
        self.moment = moment
        self.at = at
        self.core_seconds = moment.core_now.timestamp()
        self.standing = Standing(moment.place, moment.journal)
        self.labels = labels
        self._mode = mode
        self._known = known
        self._conditions: dict[_Key, Conditions] = {}

    def conditions(self, timezone: str, *, page: bool) -> Conditions:
        """Tell what an answer is made under now, for a customer in a zone."""
        key = (page, timezone)
        found = self._conditions.get(key)
        if found is None:
            found = self._conditions[key] = self._known.find(self.moment, self._mode, key)
        return found

    def is_ordinary(self, question: Question) -> bool:
        """Tell whether the age is known, and the asker has not seen more elsewhere."""
        state = self.moment.state
        for seen in question.seen:
            if seen.shard != state.shard or (seen.epoch, seen.seq) > (state.epoch, state.cursor):
                return False
        return not state.at_least


class HotMoments:
    """
    Looks at everything that kept answers depend on.

    Args:
        watch: Looks at snapshot and journal.
        mode: Tells the node's mode.
        write_positions: Signs positions as a cookie's value.
        clock: How long an answer is kept.
    """

    def __init__(
        self,
        watch: SnapshotWatch,
        mode: Callable[[], ModeView],
        write_positions: Callable[[Iterable[Position]], str],
        clock: Clock,
    ) -> None:
        self._watch = watch
        self._mode = mode
        self._write_positions = write_positions
        self._clock = clock
        self._known = _KnownConditions()
        self._written: tuple[Position | None, bytes] = (None, b"")

    def look(self) -> HotMoment:
        """Tell how everything is now. Raises as `SnapshotWatch.look` does."""
        moment = self._watch.look()
        position = moment.state.position
        if self._written[0] != position:
            self._written = (position, self._write_positions((position,)).encode())
        labels = labels_of(moment, self._written[1])
        return HotMoment(moment, self._mode(), self._clock.boot_seconds(), labels, self._known)


class _KnownConditions:
    """What answers were last made under: while it is the same it is the same object, which is quickly compared."""

    def __init__(self) -> None:
        self._last: dict[_Key, Conditions] = {}
        self._told: dict[tuple[object, ...], tuple[object, ...]] = {}

    def find(self, moment: Moment, mode: ModeView, key: _Key) -> Conditions:
        """Tell what answers are made under at a moment: pages or JSON, in a zone."""
        page, timezone = key
        found = Conditions(
            msgspec.structs.replace(
                mode, standing=_NO_FIGURES, news=msgspec.structs.replace(mode.news, nodes=())
            ),
            mode.can_pay(_freshness(moment)),
            self._told_words(moment, mode, timezone) if page else (),
        )
        if len(self._last) >= _REMEMBERED_MAX:
            self._last.clear()
        last = self._last.get(key)
        if last == found:
            return last
        self._last[key] = found
        return found

    def _told_words(self, moment: Moment, mode: ModeView, timezone: str) -> tuple[object, ...]:
        """Tell the day and, where the page names it, the as-of time in words; once a minute for each zone."""
        now = moment.core_now
        stale = moment.age_seconds > FRESH_SECONDS
        named = mode.mode != "normal"
        key = (timezone, now.timestamp() // 60, stale, moment.state.as_of if named else None)
        told = self._told.get(key)
        if told is None:
            if len(self._told) >= _REMEMBERED_MAX:
                self._told.clear()
            told = self._told[key] = _told(moment, timezone, stale=stale, named=named)
        return told


def _told(moment: Moment, timezone: str, *, stale: bool, named: bool) -> tuple[object, ...]:
    today = words.local_date(moment.core_now, timezone)
    if not named:
        return (today,)
    return (today, stale, *as_of_words(_freshness(moment), timezone))


def _freshness(moment: Moment) -> Freshness:
    state = moment.state
    return Freshness(
        position=state.position,
        as_of=state.as_of,
        age_seconds=moment.age_seconds,
        at_least=state.at_least,
    )

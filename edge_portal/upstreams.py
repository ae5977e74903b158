"""
Whom the applier asks for documents: the upstream that it prefers, another one while that brings nothing new.

What an upstream is worth is the age of what it brings, not whether it answers: one whose own upstream is dead or frozen
answers in milliseconds, with yesterday's documents. So the measure is T: while the current upstream's T moves it is
asked on; when T has stood still for `silent_seconds`, all others are asked where they stand, and the one with the newer
T that is not behind is followed. The preferred one is returned to after it has been well for a while, a longer one
every time that it failed again soon. Nobody is followed whose own documents come through this node.

Two upstreams may stand at different barriers, and a page of one need not continue a page of the other. What is passed
on to the follower never goes back: neither below its cursor, nor behind a T that it has had, nor below the head that
the pages of an unfinished catch-up were read under.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Final, NamedTuple, Protocol

import msgspec
import structlog

from cache_sync.clock import Clock
from cache_sync.errors import (
    Behind,
    EpochChanged,
    FeedError,
    FeedUnavailable,
    InvalidFrame,
    NotTakenHere,
)
from cache_sync.frames import Frame
from cache_sync.standing import PATH_NODES_MAX, Standing

NEVER: Final = (0, datetime.min.replace(tzinfo=UTC))
_ANSWERS_OTHERWISE: Final = datetime.max.replace(tzinfo=UTC)

Newness = tuple[int, datetime]
"""Epoch and T: what is newer is greater."""

log = structlog.get_logger(__name__)


class Upstream(Protocol):
    """A node that documents can be asked from; asks as `cache_sync.feed_client.FeedClient`."""

    @property
    def name(self) -> str:
        """Its node id."""
        ...

    @property
    def relays(self) -> bool:
        """Whether it passes on what it was told itself, so that it has to be asked through whom."""
        ...

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Ask for the documents after a cursor."""
        ...

    async def look(self, after: int, epoch: int) -> Standing:
        """
        Ask where it stands, with a short deadline.

        Raises:
            FeedUnavailable: No answer, or nothing to give.
            FeedError: It answers, but not with documents after this cursor.
            InvalidFrame: The answer is no answer.
        """
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    When to look at others, and when to return; in seconds.

    ``fresh_seconds``: T's that differ by less are as good as each other; the order of preference decides, and nobody
    is left for so little, unless for documents that are missing here.
    ``refusals_max`` answers in a row that the follower did not go on from make it ask somebody else for
    ``held_off_seconds``.
    """

    silent_seconds: float = 2.0
    look_every_seconds: float = 1.0
    return_after_seconds: float = 5.0
    return_after_seconds_max: float = 60.0
    steady_seconds: float = 60.0
    fresh_seconds: float = 1.0
    refusals_max: int = 2
    held_off_seconds: float = 20.0


class _Prospect(NamedTuple):
    """Where an upstream stands against the cursor, and how new its T is."""

    number: int
    newness: Newness
    path: list[str]
    behind: bool = False
    further: bool = False


class Upstreams:
    """
    A source for a follower, out of several upstreams.

    Args:
        node_id: This node's own name.
        upstreams: The preferred first; at least one.
        newest: Epoch and T of the snapshot that is held; `NEVER` without one.
        clock: Time.
        rng: Where jitter comes from.
        settings: Bounds.
    """

    def __init__(
        self,
        node_id: str,
        upstreams: Sequence[Upstream],
        *,
        newest: Newness = NEVER,
        clock: Clock,
        rng: Random,
        settings: UpstreamSettings | None = None,
    ) -> None:
        assert upstreams, "a follower needs somebody to follow"
        self._node_id = node_id
        self._upstreams = list(upstreams)
        self._clock = clock
        self._rng = rng
        self._settings = settings or UpstreamSettings()
        self._current = 0
        self._newest = newest
        self._last: Frame | None = None
        self._refusals = 0
        self._paths = {0: [upstreams[0].name]}
        now = clock.boot_seconds()
        self._news_at = now
        self._since: float | None = None
        self._answered = True
        self._held_off: dict[int, float] = {}
        self._look_at = now
        self._looking: asyncio.Task[None] | None = None
        self._better_since: dict[int, float] = {}
        self._return_after = self._settings.return_after_seconds

    @property
    def path(self) -> list[str]:
        """Who the documents come through: the current upstream first."""
        return self._paths.get(self._current, [self._upstreams[self._current].name])

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """
        Ask the current upstream; look at others when it brings nothing new.

        Raises:
            FeedUnavailable: Nobody has anything new for this cursor now.
            FeedError: As the upstream says.
            NotTakenHere: The answer is a frame of another release, or larger than any.
            InvalidFrame: The answer is not a frame; or an unfinished catch-up cannot be finished (`behind`), because
                whom it was begun with is gone and the others have not got as far.
        """
        self._note_question(after)
        self._look_around_when_due(after, epoch)
        asked, number = self._clock.boot_seconds(), self._current
        try:
            return await self._fetch(after, epoch, limit, wait)
        except (FeedUnavailable, InvalidFrame, NotTakenHere):
            await self._finish_looking(after, epoch)
            # Its age counts from when the follower asked: late, it is better asked for anew.
            late = self._clock.boot_seconds() - asked > self._settings.fresh_seconds
            if number == self._current or late:
                raise
        return await self._fetch(after, epoch, limit, wait)

    async def close(self) -> None:
        """Stop looking, and close all connections."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for upstream in self._upstreams:
            await upstream.close()

    # What comes

    async def _fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        number = self._current
        try:
            frame = await self._upstreams[number].fetch(after, epoch, limit, wait)
        except (FeedUnavailable, InvalidFrame, NotTakenHere):
            self._answered = False
            raise
        except FeedError:
            # An answer, of whoever may say so: it is the follower who acts on it.
            self._last = None
            self._news(number)
            raise
        self._check_continues(frame)
        if (frame.epoch, frame.as_of) <= self._newest and not frame.rows:
            self._check_silence()
            return frame
        self._news(number)
        if frame.barrier:
            # The pages before one bind nobody: what they are built into may never be shown.
            self._newest = (frame.epoch, frame.as_of)
        self._last = frame
        return frame

    def _note_question(self, after: int) -> None:
        """See from the question whether the last answer was taken, or refused."""
        last = self._last
        if last is None:
            return
        if after == last.upto:
            if last.barrier and last.rows:
                self._refusals = 0
            return
        self._last = None
        self._refusals += 1
        if self._refusals >= self._settings.refusals_max and len(self._upstreams) > 1:
            self._refusals = 0
            self._held_off[self._current] = (
                self._clock.boot_seconds() + self._settings.held_off_seconds
            )
            log.warning("upstream's answers are not taken", upstream=self.path[0])

    def _check_continues(self, frame: Frame) -> None:
        last = self._last
        newness = (frame.epoch, frame.as_of)
        if frame.epoch < self._newest[0] or newness < self._newest:
            self._answered = False
            raise Behind(frame.epoch, frame.head)
        if last is None or last.barrier or frame.after != last.upto:
            return
        # Rows of the pages before may have moved to above this one's head: it would end without them.
        if (frame.epoch, frame.head) < (last.epoch, last.head):
            raise InvalidFrame("behind", "the catch-up was begun with a node that was further")

    def _news(self, number: int) -> None:
        self._answered = True
        if number == self._current:
            self._news_at = self._clock.boot_seconds()

    def _check_silence(self) -> None:
        self._answered = True
        silence = self._clock.boot_seconds() - self._news_at
        if silence > self._settings.silent_seconds:
            raise FeedUnavailable(f"{self.path[0]} has heard nothing new")

    def note_held(self, newness: Newness) -> None:
        """Note that something is held which did not come through here: nothing older is passed on."""
        self._newest = max(self._newest, newness)

    # Whom to ask

    def _look_around_when_due(self, after: int, epoch: int) -> None:
        now = self._clock.boot_seconds()
        if self._looking is not None or now < self._look_at:
            return
        troubled = self._is_silent(now) or self._is_held_off(0, now) or self._is_looping()
        well = self._current == 0 and not troubled
        if well and not self._upstreams[0].relays:
            return
        self._begin_looking(after, epoch, only_current=well)

    async def _finish_looking(self, after: int, epoch: int) -> None:
        """Nothing came: there is time to hear what others say."""
        silent = self._is_silent(self._clock.boot_seconds())
        if silent and self._looking is None:
            self._begin_looking(after, epoch)
        if self._looking is not None:
            await asyncio.wait({self._looking})

    def _begin_looking(self, after: int, epoch: int, *, only_current: bool = False) -> None:
        every = self._settings.look_every_seconds
        self._look_at = self._clock.boot_seconds() + every * self._rng.uniform(0.8, 1.2)
        numbers = [self._current] if only_current else list(range(len(self._upstreams)))
        self._looking = asyncio.create_task(self._look_around(numbers, after, epoch))

    async def _look_around(self, numbers: list[int], after: int, epoch: int) -> None:
        try:
            found = await asyncio.gather(*(self._look(one, after, epoch) for one in numbers))
            self._choose([prospect for prospect in found if prospect is not None])
        finally:
            self._looking = None

    async def _look(self, number: int, after: int, epoch: int) -> _Prospect | None:
        upstream = self._upstreams[number]
        try:
            standing = await upstream.look(after, epoch)
        except (FeedUnavailable, InvalidFrame, NotTakenHere):
            return None
        except FeedError as error:
            if isinstance(error, EpochChanged) and error.epoch < self._newest[0]:
                return None
            # The core says that this cursor is none of its own: it must be heard, by asking it.
            return _Prospect(number, (self._newest[0], _ANSWERS_OTHERWISE), [upstream.name])
        path = [upstream.name, *standing.path][:PATH_NODES_MAX]
        if number == self._current:
            self._paths[number] = path
        place = (standing.epoch, standing.cursor)
        return _Prospect(
            number,
            (standing.epoch, standing.as_of),
            path,
            behind=epoch != 0 and place < (epoch, after),
            further=place > (epoch, after),
        )

    def _choose(self, found: list[_Prospect]) -> None:
        now = self._clock.boot_seconds()
        usable = [
            one
            for one in found
            if self._node_id not in one.path and not self._is_held_off(one.number, now)
        ]
        if self._is_looping() or self._is_held_off(self._current, now):
            self._leave([one for one in usable if self._can_follow(one)])
        elif self._is_silent(now):
            self._leave([one for one in usable if self._is_worth_leaving_for(one)])
        else:
            self._return(usable, now)

    def _leave(self, better: list[_Prospect]) -> None:
        best = _freshest(better, self._settings.fresh_seconds)
        if best is not None:
            self._follow(best)
        elif self._current != 0 and (self._is_looping() or not self._answered):
            self._follow(_Prospect(0, NEVER, [self._upstreams[0].name]))

    def _can_follow(self, prospect: _Prospect) -> bool:
        return not prospect.behind and prospect.newness >= self._newest

    def _is_worth_leaving_for(self, prospect: _Prospect) -> bool:
        if not self._can_follow(prospect):
            return False
        epoch, as_of = self._newest
        if prospect.newness[0] != epoch or prospect.further:
            return prospect.newness > self._newest
        return (prospect.newness[1] - as_of).total_seconds() > self._settings.fresh_seconds

    def _return(self, usable: list[_Prospect], now: float) -> None:
        """Go back to one that is preferred once it has been well for long enough."""
        well = {
            one.number: one for one in usable if one.number < self._current and self._is_well(one)
        }
        self._better_since = {number: self._better_since.get(number, now) for number in well}
        for number, since in sorted(self._better_since.items()):
            # Its T may be a moment older than ours, and stay so for ever: two that wait for the same commit are told
            # of it in the same order every time. It is asked to wait for its next one.
            if now - since >= self._return_after and not well[number].behind:
                self._follow(well[number])
                return

    def _is_well(self, prospect: _Prospect) -> bool:
        epoch, as_of = self._newest
        if prospect.newness[0] != epoch:
            return prospect.newness[0] > epoch
        return (as_of - prospect.newness[1]).total_seconds() <= self._settings.fresh_seconds

    def _follow(self, prospect: _Prospect) -> None:
        now = self._clock.boot_seconds()
        if prospect.number == self._current:
            self._paths[prospect.number] = prospect.path
            return
        name = self._upstreams[prospect.number].name
        log.info("upstream", now=name, before=self._upstreams[self._current].name)
        settings = self._settings
        if prospect.number > self._current:
            short = self._since is not None and now - self._since < settings.steady_seconds
            longer = min(self._return_after * 2, settings.return_after_seconds_max)
            self._return_after = longer if short else settings.return_after_seconds
        self._current = prospect.number
        self._paths = {prospect.number: prospect.path}
        self._since = self._news_at = now
        self._answered = True
        self._better_since = {}

    def _is_looping(self) -> bool:
        return self._node_id in self.path

    def _is_silent(self, now: float) -> bool:
        # Without a snapshot there is nothing to be patient for.
        if self._newest == NEVER and not self._answered:
            return True
        return now - self._news_at > self._settings.silent_seconds

    def _is_held_off(self, number: int, now: float) -> bool:
        return self._held_off.get(number, 0.0) > now


def _freshest(found: list[_Prospect], fresh_seconds: float) -> _Prospect | None:
    """Return the most preferred of those whose T is, but for a moment, the newest."""
    if not found:
        return None
    epoch, newest = max(one.newness for one in found)
    close = [
        one
        for one in found
        if one.newness[0] == epoch
        and (one.newness[1] == newest or (newest - one.newness[1]).total_seconds() <= fresh_seconds)
    ]
    return min(close, key=lambda one: one.number)

"""How a follower asks its source, with a deadline and a note of when it asked."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from cache_sync.clock import Clock
from cache_sync.errors import FeedUnavailable, InvalidFrame
from cache_sync.frame_guards import check_frame, check_versions
from cache_sync.frames import CheckedFrame, Frame


class FeedClient(Protocol):
    """A follower's way to its source."""

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """
        Ask `FeedSource.page` at the other end, within a deadline of its own.

        Return the answer to this very question, never one that was stored or that came late for another.

        Raises:
            FeedUnavailable: No answer, or none that is one.
            EpochChanged: As the source says.
            Forked: As the source says.
            BelowFloor: As the source says.
            InvalidFrame: The answer is not a frame.
        """
        ...


class _Answer(NamedTuple):
    """An answer's T, and the boot-clock reading before which it was not closed."""

    epoch: int
    as_of: datetime
    closed_boot_seconds: float


class Asker:
    """
    Asks one question at a time, and can be stopped while it waits.

    Args:
        source: Whom to ask.
        clock: What the time of asking is read from.
        answer_seconds_max: How long an answer may take beyond the wait that was asked for.
        known_versions: The newest version of each kind of body that is read.
        heard: Told the head of every undamaged answer, readable or not, and when its question was sent.
    """

    def __init__(
        self,
        source: FeedClient,
        *,
        clock: Clock,
        answer_seconds_max: float,
        known_versions: Mapping[str, int],
        heard: Callable[[int, float], None],
    ) -> None:
        self._source = source
        self._clock = clock
        self._answer_seconds_max = answer_seconds_max
        self._known_versions = known_versions
        self._heard = heard
        self._asking: asyncio.Task[Frame] | None = None
        self._newest: _Answer | None = None
        self.stopped = False

    async def ask(
        self, after: int, epoch: int, limit: int, wait: float
    ) -> tuple[CheckedFrame, float]:
        """
        Return the answer, undamaged, and the boot-clock reading from which its age counts.

        That is the reading from before the question was sent: however late the answer comes, its T is not younger.
        An answer that comes a second time counts from the first.

        Raises:
            FeedUnavailable: No answer in time, or `stop` was called.
            FeedError: As `FeedClient.fetch`.
            InvalidFrame: The answer is damaged, or older than one before.
            UnknownVersion: Only a newer release can read it.
        """
        asked = self._clock.boot_seconds()
        asking = asyncio.ensure_future(self._source.fetch(after, epoch, limit, wait))
        self._asking = asking
        try:
            async with asyncio.timeout(self._answer_seconds_max + wait):
                frame = await asking
        except TimeoutError as error:
            raise FeedUnavailable("no answer in time") from error
        except asyncio.CancelledError:
            if self.stopped and asking.cancelled():
                raise FeedUnavailable("stopping") from None
            raise
        finally:
            self._asking = None
        check_frame(frame)
        counted = self._count_from(frame, asked)
        self._heard(frame.head, counted)
        return check_versions(frame, self._known_versions), counted

    def _count_from(self, frame: Frame, asked: float) -> float:
        answer = _Answer(frame.epoch, frame.as_of, asked - frame.age_seconds)
        newest = self._newest
        if newest is None or answer.epoch > newest.epoch:
            self._newest = answer
        elif answer.epoch == newest.epoch:
            if answer.as_of < newest.as_of:
                raise InvalidFrame("as_of", "core time went back")
            if (
                answer.as_of == newest.as_of
                and answer.closed_boot_seconds > newest.closed_boot_seconds
            ):
                return newest.closed_boot_seconds + frame.age_seconds
            self._newest = answer
        return asked

    def stop(self) -> None:
        """Give up the question that is being asked, if one is."""
        self.stopped = True
        if self._asking is not None:
            self._asking.cancel()

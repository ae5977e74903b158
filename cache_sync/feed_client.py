"""How a follower asks its source, with a deadline and a note of when it asked."""

import asyncio
from typing import Protocol

from cache_sync.clock import Clock
from cache_sync.errors import FeedUnavailable
from cache_sync.frames import Frame


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


class Asker:
    """
    Asks one question at a time, and can be stopped while it waits.

    Args:
        source: Whom to ask.
        clock: What the time of asking is read from.
        answer_seconds_max: How long an answer may take beyond the wait that was asked for.
    """

    def __init__(self, source: FeedClient, *, clock: Clock, answer_seconds_max: float) -> None:
        self._source = source
        self._clock = clock
        self._answer_seconds_max = answer_seconds_max
        self._asking: asyncio.Task[Frame] | None = None
        self._stopped = False

    async def ask(self, after: int, epoch: int, limit: int, wait: float) -> tuple[Frame, float]:
        """
        Return the answer, and the boot-clock reading from before the question was sent.

        Ages count from there: however late the answer comes, its T is not younger than the question.

        Raises:
            FeedUnavailable: No answer in time, or `stop` was called.
            FeedError: As `FeedClient.fetch`.
            InvalidFrame: As `FeedClient.fetch`.
        """
        asked = self._clock.boot_seconds()
        asking = asyncio.ensure_future(self._source.fetch(after, epoch, limit, wait))
        self._asking = asking
        try:
            async with asyncio.timeout(self._answer_seconds_max + wait):
                return await asking, asked
        except TimeoutError as error:
            raise FeedUnavailable("no answer in time") from error
        except asyncio.CancelledError:
            if self._stopped and asking.cancelled():
                raise FeedUnavailable("stopping") from None
            raise
        finally:
            self._asking = None

    def stop(self) -> None:
        """Give up the question that is being asked, if one is."""
        self._stopped = True
        if self._asking is not None:
            self._asking.cancel()

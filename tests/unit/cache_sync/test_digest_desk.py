"""The desk for digests: one at a time, and nothing is read for whoever has gone."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from cache_sync.digest_desk import WAITING_MAX, DigestDesk
from cache_sync.digests import DigestQuestion
from cache_sync.errors import FeedUnavailable
from cache_sync.offload import inline

T = TypeVar("T")
QUESTION = DigestQuestion(epoch=1, at=1, bounds=[])


class Desk:
    """A desk whose reading takes until it is let go."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.go = asyncio.Event()
        self.desk = DigestDesk(self._read, offload=self._slowly)

    def _read(self, shard: str, _: DigestQuestion) -> Any:
        self.read.append(shard)
        return None

    async def _slowly(self, work: Callable[[], T]) -> T:
        done = await inline(work)
        await self.go.wait()
        return done


async def test_nothing_is_read_for_a_caller_who_has_gone() -> None:
    """It hangs up while it waits for its turn; whoever waits behind it is answered."""
    made = Desk()
    first = asyncio.create_task(made.desk.answer("first", QUESTION))
    gone = asyncio.create_task(made.desk.answer("gone", QUESTION))
    last = asyncio.create_task(made.desk.answer("last", QUESTION))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    made.go.set()
    await asyncio.gather(first, last)
    assert made.read == ["first", "last"]


async def test_a_reading_that_has_begun_keeps_its_turn() -> None:
    """A thread cannot be stopped: the next one waits for its end, though nobody listens any more."""
    made = Desk()
    gone = asyncio.create_task(made.desk.answer("gone", QUESTION))
    await asyncio.sleep(0.01)
    assert made.read == ["gone"]
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    last = asyncio.create_task(made.desk.answer("last", QUESTION))
    await asyncio.sleep(0.01)
    assert made.read == ["gone"]
    made.go.set()
    await last
    assert made.read == ["gone", "last"]


async def test_only_a_few_may_wait() -> None:
    """The others are told at once."""
    made = Desk()
    waiting = [asyncio.create_task(made.desk.answer("x", QUESTION)) for _ in range(WAITING_MAX)]
    await asyncio.sleep(0.01)
    with pytest.raises(FeedUnavailable):
        await made.desk.answer("x", QUESTION)
    made.go.set()
    await asyncio.gather(*waiting)

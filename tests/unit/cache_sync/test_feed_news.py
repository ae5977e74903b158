"""Who waits for a commit, and when: a few are told of each at once, many together, in waves."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

import pytest

from cache_sync.document_table import ShardHead
from cache_sync.feed_news import AT_ONCE_MAX, GAP_SECONDS_EACH, LOOK_SECONDS, FeedNews
from chaos.simulation.virtual_time import NodeClock, VirtualLoop, run_virtually

WAIT = 0.5
MANY = 40
GAP = GAP_SECONDS_EACH * (MANY - AT_ONCE_MAX)
SLACK = 0.001


class Shard:
    """A shard whose head is what a test says, and that tells of its commits where it is told to."""

    def __init__(self) -> None:
        self.head = ShardHead(epoch=1, head=0, floor=0)
        self.tell: Callable[[], None] = lambda: None

    def open_pages(self) -> Any:
        """Nobody reads pages here."""
        raise AssertionError

    def open_watch(self, shard: str, moved: Callable[[], None]) -> "Shard":
        """Look at it."""
        del shard, moved
        return self

    def look(self) -> ShardHead:
        """Tell how far it is."""
        return self.head

    def close(self) -> None:
        """Stop looking."""

    def commit(self, *, epoch: int = 1) -> None:
        """Move on by one, or into another epoch."""
        self.head = self.head._replace(head=self.head.head + 1, epoch=epoch)
        self.tell()


class Told(NamedTuple):
    """An answer: when a follower came back, and from where on."""

    at: float
    after: int


class World:
    """One shard, and followers that ask again as soon as they are told."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.shard = Shard()
        self.clock = NodeClock(loop, "core")
        self.news = FeedNews(self.shard, "0", clock=self.clock)
        self.shard.tell = self.news.notify
        self.told: dict[int, list[Told]] = {}
        self.followers: list[asyncio.Task[None]] = []

    async def follow(self, number: int, *, idle: float = 0.0) -> None:
        """Follow to the head again and again; ``idle`` is what an answer takes to arrive and to be applied."""
        mine: list[Told] = self.told.setdefault(number, [])
        cursor = 0
        while True:
            await self.news.wait(cursor, 1, WAIT)
            mine.append(Told(self.clock.boot_seconds(), cursor))
            cursor = self.shard.head.head
            await asyncio.sleep(idle)

    async def begin(self, followers: int, *, idle: float = 0.0) -> None:
        """Start followers, and let them wait at the head."""
        for number in range(followers):
            self.followers.append(asyncio.create_task(self.follow(number, idle=idle)))
        await asyncio.sleep(2 * LOOK_SECONDS)

    async def end(self) -> None:
        """Stop them."""
        for task in self.followers:
            task.cancel()
        await asyncio.gather(*self.followers, return_exceptions=True)
        await self.news.close()


def in_a_world(story: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    """Tell a story in a world of its own, several times in different orders."""

    async def told(loop: VirtualLoop) -> None:
        world = World(loop)
        try:
            await story(world)
        finally:
            await world.end()

    for seed in range(5):
        run_virtually(Random(seed), told)


@pytest.mark.parametrize("followers", [1, AT_ONCE_MAX])
def test_a_few_are_told_of_every_commit_at_once(followers: int) -> None:
    """However fast commits follow each other."""

    async def story(world: World) -> None:
        await world.begin(followers)
        for _ in range(10):
            begun = world.clock.boot_seconds()
            world.shard.commit()
            await asyncio.sleep(0.01)
            for answers in world.told.values():
                assert answers[-1].at - begun < SLACK
                assert answers[-1].after == world.shard.head.head - 1

    in_a_world(story)


def test_many_are_told_together_after_a_gap() -> None:
    """The first commit at once, those that follow it with the next wave, nobody later than that."""

    async def story(world: World) -> None:
        await world.begin(MANY)
        begun = world.clock.boot_seconds()
        for _ in range(5):
            world.shard.commit()
            await asyncio.sleep(GAP / 10)
        await asyncio.sleep(GAP)
        for answers in world.told.values():
            first, second = (told for told in answers if told.at >= begun)
            assert first == Told(first.at, 0)
            assert first.at - begun < SLACK
            assert second.after == 1
            assert abs(second.at - begun - GAP) < SLACK

    in_a_world(story)


def test_what_many_cost_does_not_depend_on_the_commits() -> None:
    """At twenty commits a second or at two hundred: as many waves, and nobody waits longer than he asked for."""

    async def answered(world: World, rate: int) -> int:
        await world.begin(MANY, idle=0.01)
        before = sum(map(len, world.told.values()))
        for _ in range(3 * rate):
            world.shard.commit()
            await asyncio.sleep(1 / rate)
        for answers in world.told.values():
            steps = [later.at - told.at for told, later in pairwise(answers)]
            assert max(steps) <= WAIT + 0.01 + SLACK
        return sum(map(len, world.told.values())) - before

    async def story(world: World) -> None:
        most = MANY * (3 / GAP + 2)
        assert await answered(world, 20) <= most
        await world.end()

    async def faster(world: World) -> None:
        assert await answered(world, 200) <= MANY * (3 / GAP + 2)

    in_a_world(story)
    in_a_world(faster)


def test_late_ones_go_with_the_next_wave() -> None:
    """Who was still reading the last answer when the next wave went asks for no answer of his own."""

    async def story(world: World) -> None:
        await world.begin(MANY, idle=GAP / 3)
        for _ in range(60):
            world.shard.commit()
            await asyncio.sleep(GAP / 6)
        times = sorted({round(told.at, 4) for answers in world.told.values() for told in answers})
        assert len(times) <= 60 / 6 + 4

    in_a_world(story)


def test_who_is_catching_up_is_answered_now() -> None:
    """A cursor from before, another epoch, a build from the beginning: none of them waits for the crowd."""

    async def story(world: World) -> None:
        world.shard.commit()
        await world.begin(MANY)
        world.shard.commit()
        await asyncio.sleep(SLACK)
        world.shard.commit()
        begun = world.clock.boot_seconds()
        await world.news.wait(0, 0, WAIT)
        await world.news.wait(1, 9, WAIT)
        world.shard.commit(epoch=2)
        await world.news.wait(1, 1, WAIT)
        assert world.clock.boot_seconds() - begun < SLACK

    in_a_world(story)


def test_without_news_the_wait_ends_when_it_was_to() -> None:
    """Neither sooner nor later."""

    async def story(world: World) -> None:
        begun = world.clock.boot_seconds()
        await world.news.wait(0, 1, WAIT)
        assert abs(world.clock.boot_seconds() - begun - WAIT) < SLACK

    in_a_world(story)


def test_a_commit_that_nobody_tells_of_is_seen_soon() -> None:
    """Another process has committed."""

    async def story(world: World) -> None:
        world.shard.tell = lambda: None
        await world.begin(1)
        begun = world.clock.boot_seconds()
        world.shard.commit()
        await asyncio.sleep(2 * LOOK_SECONDS)
        assert world.told[0][-1].at - begun <= LOOK_SECONDS + SLACK

    in_a_world(story)

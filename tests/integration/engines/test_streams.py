"""The feed over a Redis Stream, when the Redis, the core or somebody else is not what it should be."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from random import Random

import msgspec
import pytest

from cache_sync.clock import SystemClock
from cache_sync.errors import FeedUnavailable
from cache_sync.frames import Frame, decode_frame, encode_frame, sealed
from cache_sync.redis_link import RedisLink
from cache_sync.redis_stream import (
    FRAME_FIELD,
    SIGNATURE_FIELD,
    StreamPublisher,
    StreamSettings,
    stream_key,
)
from cache_sync.redis_stream_feed import StreamFeed, StreamFeedSettings
from tests.integration.engines.chain_world import (
    ACCOUNTS,
    SHARD,
    Chain,
    Core,
    DiskView,
    transport_of,
)
from tests.integration.engines.redis_servers import RedisServer
from tests.unit.cache_sync.feed_world import Core as SmallCore
from tests.unit.cache_sync.feed_world import DirectClient, FakeClock

KEY = stream_key(SHARD)


@asynccontextmanager
async def streaming(folder: Path, url: str) -> AsyncIterator[tuple[Chain, StreamFeed]]:
    """Run a core that publishes, and a follower that reads the stream, at the core's head."""
    core = Core(folder)
    core.fill(4)
    view = DiskView(folder / "snapshot")
    async with (
        core.serving() as (services, wire),
        transport_of("stream", core, services, wire, url) as source,
    ):
        assert isinstance(source, StreamFeed)
        chain = Chain(core, source, folder / "snapshot", view)
        await chain.catch_up()
        yield chain, source
        chain.follower.close()
        await view.close()
    core.store.close()


async def commit_until_streamed(chain: Chain, feed: StreamFeed) -> None:
    """Commit and follow until documents come through the stream."""
    before = feed.rows
    for number in range(200):
        chain.core.commit([((ACCOUNTS[0], "payment", "s"), b"%d" % number)])
        await chain.catch_up()
        if feed.rows > before:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nothing comes through the stream")


@pytest.mark.parametrize("fault", ["hung", "killed", "flushed", "cut", "full", "another kind"])
async def test_without_a_stream_the_core_is_asked(
    tmp_path: Path, own_redis: RedisServer, fault: str
) -> None:
    """Whatever becomes of the Redis, every commit arrives with a true label, and the stream is used again later."""
    async with streaming(tmp_path, own_redis.url) as (chain, feed):
        await commit_until_streamed(chain, feed)
        match fault:
            case "hung":
                own_redis.freeze()
            case "killed":
                own_redis.kill()
            case "flushed":
                own_redis.ask("FLUSHALL")
            case "cut":
                chain.core.fill(3, b'"cut"')
                await asyncio.sleep(0.1)
                own_redis.ask("XTRIM", KEY, "MAXLEN", 0)
            case "full":
                own_redis.ask("CONFIG", "SET", "maxmemory", "1")
            case _:
                own_redis.ask("DEL", KEY)
                own_redis.ask("SET", KEY, "nonsense")
        for number in range(4):
            chain.core.commit([((ACCOUNTS[1], "payment", "f"), b"%d" % number)])
            await chain.catch_up()
        match fault:
            case "hung":
                own_redis.thaw()
            case "killed":
                own_redis.start()
            case "full":
                own_redis.ask("CONFIG", "SET", "maxmemory", "0")
            case "another kind":
                own_redis.ask("DEL", KEY)
        await commit_until_streamed(chain, feed)


async def test_what_the_core_did_not_sign_is_not_applied(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    """An entry of somebody else, with a true frame's form and a false balance, reaches nobody."""
    async with streaming(tmp_path, own_redis.url) as (chain, feed):
        await commit_until_streamed(chain, feed)
        (newest,) = entries(own_redis)[-1:]
        true = decode_frame(newest[FRAME_FIELD])
        row = msgspec.structs.replace(true.rows[0], body=b'"false"', seq=true.upto + 1)
        false = sealed(
            msgspec.structs.replace(
                true, after=true.upto, upto=true.upto + 1, head=true.upto + 1, rows=[row], count=1
            )
        )
        forged = encode_frame(false)
        name = f"{false.epoch}-{false.upto}"
        fields = (FRAME_FIELD, forged, SIGNATURE_FIELD, newest[SIGNATURE_FIELD])
        own_redis.ask("XADD", KEY, name, *fields)
        before = feed.rows
        for _ in range(10):
            await chain.step()
        assert feed.rows == before
        chain.core.fill(2, b'"true"')
        await chain.catch_up()


def entries(redis: RedisServer) -> list[dict[bytes, bytes]]:
    """Read the whole stream."""
    found = redis.ask("XRANGE", KEY, "-", "+")
    assert isinstance(found, list)
    read = []
    for entry in found:
        assert isinstance(entry, list)
        words = entry[1]
        assert isinstance(words, list)
        read.append(dict(zip(words[::2], words[1::2], strict=True)))
    return read  # type: ignore[return-value]


def frames(redis: RedisServer) -> list[Frame]:
    """Read the frames of the stream."""
    return [decode_frame(entry[FRAME_FIELD]) for entry in entries(redis)]


class Publishing:
    """A small core and publishers of it, step by step."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        self.redis = redis
        self.clock = FakeClock()
        self.core = SmallCore(folder / "core.db", self.clock)
        self._links: list[RedisLink] = []

    def publisher(self, core: SmallCore | None = None, **settings: int) -> StreamPublisher:
        """Make a publisher that knows nothing."""
        link = RedisLink(self.redis.url, clock=SystemClock())
        self._links.append(link)
        return StreamPublisher(
            (core or self.core).feed,
            link,
            SHARD,
            sign=lambda content: b"signed " + content[:20],
            clock=self.clock,
            rng=Random(1),
            settings=StreamSettings(wait_seconds=0.0, **settings),
        )

    def chained(self) -> list[Frame]:
        """Return the stream's frames, which lead on from each other."""
        found = frames(self.redis)
        for one, other in itertools.pairwise(found):
            assert (other.epoch, other.after) in {(one.epoch, one.upto), (one.epoch + 1, one.upto)}
        return found

    async def close(self) -> None:
        """Let everything go."""
        for link in self._links:
            link.close()
        await self.core.close()


@pytest.fixture
async def publishing(tmp_path: Path, redis: RedisServer) -> AsyncIterator[Publishing]:
    """Return a small core with an empty stream."""
    made = Publishing(tmp_path, redis)
    made.core.fill(3)
    yield made
    await made.close()


async def test_publishers_of_one_core_do_not_repeat_each_other(publishing: Publishing) -> None:
    """Each frame stands in the stream once, whoever published it, and after a restart they go on where it ends."""
    first, second = publishing.publisher(), publishing.publisher()
    await first.step()
    await second.step()
    for number in range(6):
        publishing.core.fill(1, b"%d" % number)
        for publisher in (first, second):
            await publisher.step()
            await publisher.step()
    assert [frame.upto for frame in publishing.chained()] == [4, 5, 6, 7, 8, 9]
    third = publishing.publisher()
    publishing.core.fill(2, b"x")
    await third.step()
    await third.step()
    assert [frame.upto for frame in publishing.chained()][-1] == publishing.core.head


async def test_an_older_core_publishes_no_more(tmp_path: Path, publishing: Publishing) -> None:
    """Once a later epoch is in the stream, a core of an earlier one is refused by the Redis and says so."""
    newer = SmallCore(tmp_path / "newer.db", publishing.clock, epoch=2)
    newer.fill(1)
    theirs = publishing.publisher(newer)
    await theirs.step()
    newer.fill(2, b"new")
    await theirs.step()
    ours = publishing.publisher()
    await ours.step()
    publishing.core.fill(3, b"old")
    for _ in range(3):
        await ours.step()
    assert "later epoch" in ours.status.reason
    assert {frame.epoch for frame in frames(publishing.redis)} == {2}
    await newer.close()


async def test_a_core_behind_its_own_stream_waits(publishing: Publishing) -> None:
    """A stream of a history that the core does not know any more is left as it is."""
    publisher = publishing.publisher()
    await publisher.step()
    publishing.core.fill(2, b"forgotten")
    await publisher.step()
    length = len(frames(publishing.redis))
    publishing.core.enter_epoch(1, head=2)
    late = publishing.publisher()
    assert await late.step() > 0
    assert "ahead" in late.status.reason
    assert len(frames(publishing.redis)) == length


async def test_who_is_far_behind_skips_to_the_head(publishing: Publishing) -> None:
    """More than a few pages are not pressed through a stream that would drop them: readers ask the core."""
    publisher = publishing.publisher(page_rows=1, pages_max=3)
    await publisher.step()
    publishing.core.fill(20, b"much")
    for _ in range(10):
        await publisher.step()
    assert publisher.status.skips == 1
    publishing.core.fill(1, b"next")
    await publisher.step()
    assert frames(publishing.redis)[-1].upto == publishing.core.head


SECRET = b'"Ada Example, 12 Mill Road"'
SUMMARY = ("account-1", "account", "")


def holds_secret(redis: RedisServer) -> bool:
    """Tell whether a name is in any entry."""
    return any(row.body == SECRET for frame in frames(redis) for row in frame.rows)


async def test_what_was_before_the_deletion_of_an_account_goes(publishing: Publishing) -> None:
    """Somebody was forgotten: no entry shows them, and readers of what is left are led on."""
    publisher = publishing.publisher()
    await publisher.step()
    publishing.core.commit([(SUMMARY, SECRET)])
    await publisher.step()
    publishing.core.commit([(("account-1", "payment", "p"), None)])
    await publisher.step()
    assert holds_secret(publishing.redis)
    publishing.core.commit([(SUMMARY, None)])
    publishing.core.fill(1, b"next")
    for _ in range(3):
        await publisher.step()
    assert not holds_secret(publishing.redis)
    assert [frame.upto for frame in publishing.chained()][-1] == publishing.core.head
    assert publishing.chained()[0].rows[0].body is None


@pytest.mark.parametrize("forgotten", [True, False])
async def test_who_skips_the_deletion_leaves_nothing_before_it(
    publishing: Publishing, *, forgotten: bool
) -> None:
    """The tombstone may never have been in the stream, or not be known any more at all."""
    publisher = publishing.publisher(page_rows=1, pages_max=3)
    await publisher.step()
    publishing.core.commit([(SUMMARY, SECRET)])
    await publisher.step()
    assert holds_secret(publishing.redis)
    publishing.core.fill(20, b"much")
    publishing.core.commit([(SUMMARY, None)])
    if forgotten:
        publishing.core.forget(publishing.core.head)
        publisher = publishing.publisher()
    for _ in range(10):
        await publisher.step()
    assert publisher.status.skips == 1
    assert not holds_secret(publishing.redis)
    publishing.core.fill(1, b"next")
    await publisher.step()
    assert frames(publishing.redis)[-1].upto == publishing.core.head


async def test_the_stream_keeps_within_its_bounds(publishing: Publishing) -> None:
    """It holds about as many entries as it was told to, however much is published."""
    publisher = publishing.publisher(entries_max=10)
    await publisher.step()
    for number in range(250):
        publishing.core.fill(1, b"%d" % number)
        await publisher.step()
    assert len(frames(publishing.redis)) < 250


async def test_a_late_entry_does_not_look_fresh(publishing: Publishing) -> None:
    """Documents of the stream carry the T of the core's last own answer, and an age that counts from its question."""
    publisher = publishing.publisher()
    await publisher.step()
    link = RedisLink(publishing.redis.url, clock=SystemClock())
    feed = StreamFeed(
        DirectClient(publishing.core),
        link,
        SHARD,
        verify=lambda content, signature: signature == b"signed " + content[:20],
        clock=publishing.clock,
        rng=Random(1),
        settings=StreamFeedSettings(heartbeat_seconds=100.0),
    )
    asked_at = publishing.clock.boot
    heard = await feed.fetch(0, 0, 1000, 0.0)
    assert heard.barrier
    publishing.clock.advance(30)
    publishing.core.fill(1, b"late")
    await publisher.step()
    (entry,) = frames(publishing.redis)
    assert entry.as_of >= heard.as_of + timedelta(seconds=30)
    publishing.clock.advance(20)
    frame = await feed.fetch(heard.upto, heard.epoch, 1000, 0.05)
    assert feed.rows == 1
    assert (frame.rows, frame.upto) == (entry.rows, entry.upto)
    assert frame.as_of == heard.as_of
    assert frame.age_seconds >= publishing.clock.boot - asked_at - 0.1 >= 49
    # A follower that did not take it is answered by the core.
    again = await feed.fetch(heard.upto, heard.epoch, 1000, 0.0)
    assert again.as_of > heard.as_of
    await feed.close()


async def test_the_core_is_asked_when_it_is_time(publishing: Publishing) -> None:
    """Without an answer of the core there is no T: the stream alone keeps nobody following."""
    client = DirectClient(publishing.core)
    feed = StreamFeed(
        client,
        RedisLink(publishing.redis.url, clock=SystemClock()),
        SHARD,
        verify=lambda *_: True,
        clock=publishing.clock,
        rng=Random(1),
    )
    heard = await feed.fetch(0, 0, 1000, 0.0)
    publishing.clock.advance(1)

    def away(_: Frame) -> Frame:
        raise FeedUnavailable("away")

    client.alter = away
    with pytest.raises(FeedUnavailable):
        await feed.fetch(heard.upto, heard.epoch, 1000, 0.0)
    await feed.close()


async def test_a_later_version_in_a_stream_is_left_to_the_core_to_tell_of(
    publishing: Publishing,
) -> None:
    """An older reader takes nothing of the entry and asks the core; a newer one gets the bytes that were written."""
    body = b'{ "later": 1.0,\t"later": null }'
    publisher = publishing.publisher()
    await publisher.step()
    publishing.core.fill(1, b"{}")

    def reader(usage: int) -> StreamFeed:
        return StreamFeed(
            DirectClient(publishing.core),
            RedisLink(publishing.redis.url, clock=SystemClock()),
            SHARD,
            verify=lambda content, signature: signature == b"signed " + content[:20],
            clock=publishing.clock,
            rng=Random(1),
            settings=StreamFeedSettings(
                heartbeat_seconds=100.0, known_versions={"usage": usage, "payment": 1}
            ),
        )

    feeds = {usage: reader(usage) for usage in (1, 2)}
    cursors = {usage: await feed.fetch(0, 0, 1000, 0.0) for usage, feed in feeds.items()}
    publishing.core.commit([(("a", "usage", "k"), body)], version=2)
    await publisher.step()
    found = {
        usage: await feed.fetch(cursors[usage].upto, 1, 1000, 0.0) for usage, feed in feeds.items()
    }
    assert {usage: feed.rows for usage, feed in feeds.items()} == {1: 0, 2: 1}, "who read it there"
    assert not feeds[1].used, "the older one leaves the stream alone for a while"
    for frame in found.values():
        assert [(row.version, row.body) for row in frame.rows] == [(2, body)]
    for feed in feeds.values():
        await feed.close()

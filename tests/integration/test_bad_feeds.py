"""Bad senders on real sockets: each ends in its named error within its deadline, and nothing at the edge changes."""

import asyncio
import gzip
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import ClassVar

import msgspec
import pytest

from cache_sync.clock import SystemClock
from cache_sync.documents import Document
from cache_sync.errors import FeedUnavailable
from cache_sync.follower import Follower
from cache_sync.frames import Frame, encode_frame
from cache_sync.packed_bodies import BODY_BYTES_MAX
from cache_sync.replica_reader import ReplicaReader
from chaos.bench.process_facts import anonymous_megabytes
from edge_portal.core_client import FRAME_BYTES_MAX, CoreFeed
from edge_portal.node_client import NodeClient
from tests.unit.cache_sync.feed_world import make_document, make_frame, read_all

Send = Callable[[asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.ridethrough.frame+msgpack\r\n"
GOOD = make_frame([make_document(1), make_document(2)], epoch=2)
NEXT = make_frame([make_document(3)], onto=GOOD.rows, epoch=2, after=2)
LAST = make_frame([make_document(4)], onto=[*GOOD.rows, *NEXT.rows], epoch=2, after=3)


def whole(frame: bytes, *, more: bytes = b"") -> bytes:
    """Write an answer."""
    return HEAD + more + f"Content-Length: {len(frame)}\r\n\r\n".encode() + frame


async def send_good(writer: asyncio.StreamWriter) -> None:
    """Answer as a core does."""
    writer.write(whole(encode_frame(GOOD)))


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send a byte now and then, for ever."""
    writer.write(HEAD + b"Content-Length: 100000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def half_close(writer: asyncio.StreamWriter) -> None:
    """End its own direction in the middle of a frame, and leave the other open."""
    content = whole(encode_frame(NEXT))
    writer.write(content[:-10])
    writer.write_eof()


async def say_nothing(writer: asyncio.StreamWriter) -> None:
    """Take the question and never answer."""


async def flip_a_bit(writer: asyncio.StreamWriter) -> None:
    """Send a frame with one bit of a row wrong."""
    content = bytearray(encode_frame(NEXT))
    content[content.index(b"payment") + 2] ^= 1
    writer.write(whole(bytes(content)))


async def long_body(writer: asyncio.StreamWriter) -> None:
    """Send a frame with a body of a byte more than any may have."""
    row = make_document(3, body=b" " * (BODY_BYTES_MAX + 1))
    writer.write(whole(encode_frame(make_frame([row], onto=GOOD.rows, epoch=2, after=2))))


async def bomb(writer: asyncio.StreamWriter) -> None:
    """Send few bytes that unpack to more than any frame."""
    packed = gzip.compress(bytes(FRAME_BYTES_MAX + (1 << 20)), 1)
    writer.write(whole(packed, more=b"Content-Encoding: gzip\r\n"))


async def never_end(writer: asyncio.StreamWriter) -> None:
    """Send a body without end as fast as it is taken."""
    writer.write(HEAD + b"Connection: close\r\n\r\n")
    while not writer.is_closing():
        writer.write(bytes(1 << 20))
        await writer.drain()


async def never_end_in_chunks(writer: asyncio.StreamWriter) -> None:
    """Send chunk after chunk, and never the last one."""
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
        await writer.drain()


async def wrong_packing(writer: asyncio.StreamWriter) -> None:
    """Say gzip and send something else."""
    writer.write(whole(encode_frame(NEXT), more=b"Content-Encoding: gzip\r\n"))


@asynccontextmanager
async def sender(send: Send) -> AsyncIterator[str]:
    """Listen, and answer every question in one way."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await send(writer)
            await reader.read()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()


class Feed:
    """Asks whichever sender there is now."""

    def __init__(self) -> None:
        self.url = ""

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Ask over a real socket."""
        client = NodeClient(self.url, node_id="east", secret="s", purpose="feed", calls_max=1)
        try:
            feed = CoreFeed(client, "0", answer_seconds=1.0)
            return await feed.fetch(after, epoch, limit, 0.0)
        finally:
            await client.close()


def answering(**changes: object) -> Send:
    """Send what would follow, but for what is changed; the sender has sealed it, so only its sense is wrong."""

    async def send(writer: asyncio.StreamWriter) -> None:
        frame = make_frame(
            [make_document(3)], onto=GOOD.rows, **{"epoch": 2, "after": 2, **changes}
        )
        writer.write(whole(encode_frame(frame)))

    return send


async def newer_body(writer: asyncio.StreamWriter) -> None:
    """Send a body that only a later release can read."""
    row = Document("a", "payment", "3", 3, b"{}", 2)
    writer.write(whole(encode_frame(make_frame([row], onto=GOOD.rows, epoch=2, after=2))))


async def stranger(writer: asyncio.StreamWriter) -> None:
    """Send a frame as nobody writes it yet."""
    writer.write(whole(msgspec.msgpack.encode({"format": 98, "pages": [], "what": "else"})))


UNHEARD: dict[str, Send] = {
    "dripping": drip,
    "half closed": half_close,
    "silent": say_nothing,
    "not what its encoding says": wrong_packing,
}
REFUSED: dict[str, tuple[Send, str]] = {
    "a flipped bit": (flip_a_bit, "digest"),
    "wrong shard": (answering(shard="1"), "shard"),
    "older epoch": (answering(epoch=1), "older_epoch"),
    "a gap": (answering(after=1), "gap"),
    "a later format": (answering(format=99), "unknown_version:frame:99"),
    "a later format of another shape": (stranger, "unknown_version:frame:98"),
    "a document left out": (answering(live_rows=9), "hash"),
    "endless": (never_end, "frame_too_large"),
    "endless, in chunks": (never_end_in_chunks, "frame_too_large"),
    "larger than any when unpacked": (bomb, "frame_too_large"),
    "a body longer than any": (long_body, "document_too_large:payment"),
    "a later body": (newer_body, "unknown_version:payment:2"),
}


class Edge:
    """An edge that has followed a good core to its head, in epoch 2."""

    def __init__(self, folder: Path) -> None:
        clock = SystemClock()
        self.feed = Feed()
        self.follower = Follower(self.feed, folder, clock=clock, rng=Random(1))
        self.reader = ReplicaReader(folder, clock=clock)

    async def step(self, send: Send) -> tuple[str, str]:
        """Ask a sender once; tell what the follower says."""
        async with sender(send) as self.feed.url:
            await self.follower.step()
        return self.follower.status.phase, self.follower.status.reason

    def held(self) -> tuple[object, ...]:
        """Tell what readers see, and where it stands."""
        state, documents = read_all(self.reader)
        return state.epoch, state.cursor, state.as_of, documents

    def close(self) -> None:
        """Let the files go."""
        self.follower.close()
        self.reader.close()


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """Return an edge that serves two documents."""
    made = Edge(tmp_path)
    assert (await made.step(send_good))[0] == "following"
    assert len(read_all(made.reader)[1]) == 2
    yield made
    made.close()


@pytest.mark.parametrize("send", UNHEARD.values(), ids=list(UNHEARD))
async def test_what_never_becomes_an_answer_is_silence(edge: Edge, send: Send) -> None:
    """Within the question's deadline, whatever the sender does; the snapshot serves on as it was."""
    before = edge.held()
    async with sender(send) as edge.feed.url:
        with pytest.raises(FeedUnavailable):
            await edge.feed.fetch(2, 2, 5000, 0.0)
    assert (await edge.step(send))[0] == "disconnected"
    assert edge.held() == before


@pytest.mark.parametrize(("send", "named"), REFUSED.values(), ids=list(REFUSED))
async def test_what_does_not_fit_is_refused_by_name(edge: Edge, send: Send, named: str) -> None:
    """Applying stops and says why; the snapshot serves on as it was."""
    before = edge.held()
    assert await edge.step(send) == ("stopped", named)
    assert edge.held() == before


@pytest.mark.parametrize("send", [never_end, never_end_in_chunks, bomb])
async def test_an_answer_without_end_costs_what_a_frame_may(edge: Edge, send: Send) -> None:
    """However much is sent: memory grows by what the largest frame needs, and no more is taken off the wire."""
    pid, most_mb, over = os.getpid(), [0.0], Event()

    def look() -> None:
        while not over.wait(0.002):
            most_mb.append(anonymous_megabytes(pid))

    before_mb = anonymous_megabytes(pid)
    looking = Thread(target=look)
    looking.start()
    try:
        assert await edge.step(send) == ("stopped", "frame_too_large")
    finally:
        over.set()
        looking.join()
    # What has come, and once more where it is put together.
    assert max(most_mb) - before_mb < 3 * FRAME_BYTES_MAX / 1e6


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
async def test_an_answer_cut_after_any_byte_is_none(edge: Edge, *, packed: bool) -> None:
    """Whichever byte of head or frame was the last: nothing of it is applied, and the whole one is taken next."""
    content = encode_frame(NEXT)
    answer = whole(content)
    if packed:
        answer = whole(gzip.compress(content, 1), more=b"Content-Encoding: gzip\r\n")
    before = edge.held()
    for length in range(len(answer)):

        async def cut(writer: asyncio.StreamWriter, length: int = length) -> None:
            writer.write(answer[:length])
            writer.close()

        assert (await edge.step(cut))[0] == "disconnected", length
        assert edge.held() == before, length

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    assert (await edge.step(send))[0] == "following"
    assert read_all(edge.reader)[0].cursor == 3
    assert edge.follower.status.snapshots_built == 1


class Conversation:
    """A core of three commits whose answers are cut once, so many bytes after the first one began."""

    answers: ClassVar = {frame.after: whole(encode_frame(frame)) for frame in (GOOD, NEXT, LAST)}

    def __init__(self, bytes_left: int) -> None:
        self._left: int | None = bytes_left
        self.asked: list[int] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one question, as far as the line carries."""
        question = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"[?&]after=(\d+)", question)
        assert found is not None
        self.asked.append(int(found[1]))
        answer = self.answers[int(found[1])]
        if self._left is not None:
            answer, rest = answer[: self._left], self._left - len(answer)
            self._left = rest if rest >= 0 else None
        writer.write(answer)
        writer.close()


async def test_what_was_applied_is_not_asked_again_wherever_the_line_broke(tmp_path: Path) -> None:
    """A follower goes on behind its last whole frame: only the one that was cut is asked for twice."""
    total = sum(len(answer) for answer in Conversation.answers.values())
    for length in range(0, total, 61):
        core = Conversation(length)
        edge = Edge(tmp_path / str(length))
        server = await asyncio.start_server(core.answer, "127.0.0.1", 0)
        edge.feed.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        seen = []
        for _ in range(4):
            await edge.follower.step()
            if edge.reader.ready():
                seen.append(read_all(edge.reader)[0].cursor)
        server.close()
        edge.close()
        again = next(after for after in core.asked if core.asked.count(after) == 2)
        assert sorted(core.asked) == sorted([0, 2, 3, again]), length
        assert seen == sorted(seen), length
        assert seen[-1] == 4, length
        assert set(seen) <= {2, 3, 4}, length

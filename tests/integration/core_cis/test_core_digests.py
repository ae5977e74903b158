"""The core's digests over HTTP: what an edge compares itself with, and what others are told."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cache_sync.digests import DigestAnswer, DigestQuestion
from cache_sync.document_table import read_head
from cache_sync.errors import EpochChanged, FeedUnavailable, NotComparable
from cache_sync.replica_reader import SnapshotView
from cache_sync.sqlite import connect, read
from cache_sync.verification import Verification, VerificationReport, VerificationSettings
from edge_portal.digest_client import NodeDigests
from edge_portal.node_client import NodeClient

QUESTION = DigestQuestion(epoch=1, at=1, bounds=[""])


def ask_as(core: Any, client: Any, edge: str = "east") -> NodeDigests:
    """Make the client that an edge compares itself with."""
    node = NodeClient(
        "http://core",
        node_id=edge,
        secret=core.configs[edge].node_secret,
        purpose="digests",
        calls_max=1,
        transport=client._transport,
    )
    return NodeDigests(node, "core")


async def compare(held: Any, source: NodeDigests, core: Any) -> VerificationReport:
    """Run a pass that need not wait."""
    settings = VerificationSettings(rows_a_second=float("inf"))
    return await Verification(
        "0", held=held, source=source, clock=core.clock, settings=settings
    ).run()


async def test_an_edge_finds_its_flipped_byte_over_http(file_core: Any, tmp_path: Path) -> None:
    """A copy of the core's documents equals them; one changed byte is named."""
    core = file_core
    copy = tmp_path / "edge.db"
    connect(core.data_dir / "core.db", synchronous="FULL").execute(f"VACUUM INTO '{copy}'")
    edge = connect(copy, synchronous="NORMAL")

    class Held(AbstractContextManager[SnapshotView]):
        def __enter__(self) -> SnapshotView:
            self._read = read(edge)
            self._read.__enter__()
            return SnapshotView(edge, copy, core.clock)

        def __exit__(self, *raised: object) -> None:
            self._read.__exit__(None, None, None)

    async with core.serving() as client:
        source = ask_as(core, client)
        equal = await compare(Held, source, core)
        edge.execute("UPDATE documents SET body = x'00' WHERE kind = 'account' AND seq = 1")
        differs = await compare(Held, source, core)
    assert equal.clean, equal.stopped
    assert equal.compared_rows == read_head(edge, "0").live_rows
    assert [one.difference for one in differs.divergences] == ["damaged"]


async def test_what_cannot_be_compared_is_said(core: Any) -> None:
    """Another epoch, a barrier that this core has not reached, a shard that it does not have."""
    async with core.serving() as client:
        source = ask_as(core, client)
        with pytest.raises(EpochChanged):
            await source.digests("0", msgspec.structs.replace(QUESTION, epoch=9))
        with pytest.raises(NotComparable):
            await source.digests("0", msgspec.structs.replace(QUESTION, at=10**6))
        with pytest.raises(FeedUnavailable, match="404"):
            await source.digests("77", QUESTION)
        assert isinstance(await source.digests("0", QUESTION), DigestAnswer)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"\xff\xff", "body"),
        (msgspec.msgpack.encode({"epoch": 1, "at": 1, "bounds": []}), "bounds"),
        (msgspec.msgpack.encode({"epoch": 1, "at": 1, "bounds": ["b", "a"]}), "bounds"),
        (msgspec.msgpack.encode({"epoch": 1, "at": 1, "bounds": [""], "x": 1}), "body"),
    ],
)
async def test_bad_questions_name_the_field(core: Any, body: bytes, field: str) -> None:
    """400, with the field and its rule."""
    async with core.serving() as client:
        answer = await client.post("/digests/0", content=body, headers=core.node())
    assert answer.status_code == 400
    assert answer.json()["type"].endswith("bad_question")
    assert answer.json()["errors"][0]["field"] == field


async def test_only_nodes_may_ask(core: Any) -> None:
    """Neither strangers nor operators read hashes of customers' documents; a huge question is not read."""
    body = msgspec.msgpack.encode(QUESTION)
    async with core.serving() as client:
        stranger = await client.post("/digests/0", content=body)
        operator = await client.post("/digests/0", content=body, headers=core.operator())
        huge = await client.post("/digests/0", content=b"x" * 100_000, headers=core.node())
    assert (stranger.status_code, operator.status_code, huge.status_code) == (401, 401, 413)

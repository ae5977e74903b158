"""What an older release left: bodies that lie as text are read, passed on and replaced beside packed ones."""

from pathlib import Path
from random import Random

import msgspec
import pytest

from cache_sync import publication
from cache_sync.documents import PaymentBody
from cache_sync.follower import Follower
from cache_sync.frames import FRAME_FORMAT, Frame, sealed
from cache_sync.packed_bodies import unpack_body
from cache_sync.replica_reader import ReplicaReader, decode_body
from chaos.dictionaries.samples import sample_bodies
from tests.unit.cache_sync.feed_world import (
    Core,
    DirectClient,
    FakeClock,
    make_follower,
    read_all,
    step_until,
)

OLD, NEW = sample_bodies("payment", 2)
STORED = "SELECT key, body, seq FROM documents ORDER BY key"


def commit_as_before(core: Core, key: str, text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish a payment as releases did that packed nothing."""
    with monkeypatch.context() as before:
        before.setattr(publication, "pack_body", lambda _, text: text)
        core.commit([(("a", "payment", key), text)])


def test_what_has_not_changed_stays_as_it_lies(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same text again publishes nothing, however it lies; a change packs it."""
    commit_as_before(core, "1", OLD, monkeypatch)
    head = core.head
    core.commit([(("a", "payment", "1"), OLD)])
    assert core.head == head
    core.commit([(("a", "payment", "1"), NEW)])
    ((_, stored, seq),) = core.connection.execute(STORED).fetchall()
    assert (unpack_body(stored), seq) == (NEW, head + 1)
    assert len(stored) < len(NEW) / 2
    core.commit([(("a", "payment", "1"), NEW)])
    assert core.head == head + 1


async def test_a_follower_takes_both(
    core: Core,
    client: DirectClient,
    follower: Follower,
    reader: ReplicaReader,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Text and packed bodies lie beside each other, byte for byte as at the core, and both are read."""
    commit_as_before(core, "1", OLD, monkeypatch)
    core.commit([(("a", "payment", "2"), NEW)])
    await step_until(follower, clock, "following")
    state, held = read_all(reader)
    assert held == core.state
    core.check(state, held)
    with reader.read() as view:
        rows = view._connection.execute(STORED).fetchall()
        bodies = [decode_body(PaymentBody, one) for one in view.documents("a", "payment")]
    assert rows == core.connection.execute(STORED).fetchall()
    assert bodies == [msgspec.json.decode(text, type=PaymentBody) for text in (OLD, NEW)]


async def test_an_upgraded_edge_follows_a_core_that_packs_nothing(
    core: Core,
    client: DirectClient,
    tmp_path: Path,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Edges are upgraded first: frames of the format before are read; those of any other stop it by name."""

    def written_before(frame: Frame) -> Frame:
        return sealed(msgspec.structs.replace(frame, format=2))

    commit_as_before(core, "1", OLD, monkeypatch)
    client.alter = written_before
    edge = make_follower(client, tmp_path / "edge", clock)
    await step_until(edge, clock, "following")
    assert read_all(ReplicaReader(tmp_path / "edge", clock=clock))[1] == core.state
    for other in (1, FRAME_FORMAT + 1):
        client.alter = lambda frame, other=other: sealed(
            msgspec.structs.replace(frame, format=other)
        )
        clock.advance(await edge.step())
        assert edge.status.reason == f"unknown_version:frame:{other}"
    client.alter = None
    await step_until(edge, clock, "following")
    edge.close()


def test_a_core_damaged_body_is_published_anew(core: Core) -> None:
    """What cannot be unpacked at the core is not taken for what is to be published."""
    core.commit([(("a", "payment", "1"), OLD)])
    noise = b"\x01\x04" + Random(1).randbytes(50)
    core.connection.execute("UPDATE documents SET body = ?", (noise,))
    core.commit([(("a", "payment", "1"), OLD)])
    ((_, stored, _),) = core.connection.execute(STORED).fetchall()
    assert unpack_body(stored) == OLD

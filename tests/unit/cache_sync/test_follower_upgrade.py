"""A follower of an older release under a newer source: it stops by name, serves on, and goes on after its upgrade."""

from pathlib import Path
from random import Random

import msgspec
import pytest

from cache_sync import publication
from cache_sync.follower import Follower
from cache_sync.offload import inline
from cache_sync.packed_bodies import BODY_BYTES_MAX, pack_body
from cache_sync.replica_reader import ReplicaReader
from tests.unit.cache_sync.feed_world import (
    SETTINGS,
    Core,
    DirectClient,
    FakeClock,
    read_all,
    step_until,
)

OLDER = {"payment": 1}
NEWER = {"payment": 2}


def follower_of(
    release: dict[str, int], client: DirectClient, folder: Path, clock: FakeClock
) -> Follower:
    """Make a follower of a release."""
    settings = msgspec.structs.replace(SETTINGS, known_versions=release)
    return Follower(client, folder, clock=clock, rng=Random(7), settings=settings, offload=inline)


def commit(core: Core, key: str, body: bytes, version: int) -> None:
    """Publish a payment's new state in a version."""
    core.commit([(("a", "payment", key), body)], version=version)


async def test_it_stops_by_name_serves_on_and_goes_on_after_its_upgrade(
    core: Core, client: DirectClient, tmp_path: Path, clock: FakeClock
) -> None:
    """Nothing is lost, nothing is built anew, and meanwhile it says how far behind it is and for how long."""
    folder = tmp_path / "edge"
    older, reader = follower_of(OLDER, client, folder, clock), ReplicaReader(folder, clock=clock)
    commit(core, "1", b"{}", 1)
    await step_until(older, clock, "following")
    before, seen = read_all(reader)
    commit(core, "2", b"{}", 1)
    commit(core, "3", b"[2]", 2)
    commit(core, "1", b"[2]", 2)
    for _ in range(5):
        clock.advance(await older.step())
    assert (older.status.phase, older.status.reason) == ("stopped", "unknown_version:payment:2")
    assert older.status.head == core.head, "it knows how far the source is"
    assert older.status.answer_age_seconds(clock) is not None
    state, held = read_all(reader)
    assert (held, state.cursor, state.as_of) == (seen, before.cursor, before.as_of)
    assert state.age_seconds > before.age_seconds, "and what it serves grows old"
    older.close()
    newer = follower_of(NEWER, client, folder, clock)
    await step_until(newer, clock, "following")
    state, held = read_all(reader)
    core.check(state, held)
    assert state.cursor == core.head
    assert newer.status.snapshots_built == 0
    newer.close()


async def test_it_goes_on_by_itself_when_the_source_takes_the_later_version_back(
    core: Core, client: DirectClient, tmp_path: Path, clock: FakeClock
) -> None:
    """What was written in the later version is written again in the earlier one: no restart is needed."""
    folder = tmp_path / "edge"
    older, reader = follower_of(OLDER, client, folder, clock), ReplicaReader(folder, clock=clock)
    commit(core, "1", b"{}", 1)
    await step_until(older, clock, "following")
    commit(core, "1", b"[2]", 2)
    await step_until(older, clock, "stopped")
    commit(core, "1", b"{}", 1)
    await step_until(older, clock, "following")
    state, held = read_all(reader)
    core.check(state, held)
    assert (state.cursor, older.status.snapshots_built) == (core.head, 1)
    older.close()


async def test_a_node_that_begins_under_a_newer_source_says_so(
    core: Core, client: DirectClient, tmp_path: Path, clock: FakeClock
) -> None:
    """It shows nothing at all, and leaves no half of a snapshot behind."""
    folder = tmp_path / "edge"
    commit(core, "1", b"{}", 1)
    commit(core, "2", b"[2]", 2)
    older = follower_of(OLDER, client, folder, clock)
    await step_until(older, clock, "stopped")
    assert older.status.reason == "unknown_version:payment:2"
    assert not ReplicaReader(folder, clock=clock).ready()
    assert not list(folder.glob("*.db*"))
    older.close()


async def test_a_dictionary_of_a_later_release_stops_it_by_name(
    core: Core,
    client: DirectClient,
    tmp_path: Path,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bodies that it could not unpack are not applied; what it holds serves, and it goes on when they can be read."""
    folder, known = tmp_path / "edge", {"payment": 1}
    edge, reader = follower_of(known, client, folder, clock), ReplicaReader(folder, clock=clock)
    commit(core, "1", b'{"a":1}', 1)
    await step_until(edge, clock, "following")
    _, seen = read_all(reader)
    with monkeypatch.context() as later:
        later.setattr(
            publication, "pack_body", lambda kind, text: b"\x01\x63" + pack_body(kind, text)[2:]
        )
        commit(core, "2", b'{"payment_id":"1","account_id":"a"}', 1)
    for _ in range(5):
        clock.advance(await edge.step())
    assert (edge.status.phase, edge.status.reason) == ("stopped", "unknown_version:dictionary:99")
    assert read_all(reader)[1] == seen
    assert edge.status.snapshots_built == 1, "a new snapshot would hold the same bodies"
    commit(core, "2", b'{"payment_id":"2","account_id":"a"}', 1)
    await step_until(edge, clock, "following")
    assert read_all(reader)[1] == core.state
    edge.close()


async def test_bodies_of_a_kind_that_nobody_reads_here_pass_through(
    core: Core,
    client: DirectClient,
    tmp_path: Path,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are kept as they came for those further down, however they are packed."""
    monkeypatch.setattr(publication, "pack_body", lambda kind, text: b"\x01\x63" + text)
    core.commit([(("a", "kind_of_later", "1"), b"{}")])
    edge = follower_of({"payment": 1}, client, tmp_path / "edge", clock)
    await step_until(edge, clock, "following")
    with ReplicaReader(tmp_path / "edge", clock=clock).read() as view:
        held = view.document("a", "kind_of_later", "1")
    assert held is not None
    assert held.body == b"\x01\x63{}"
    edge.close()


@pytest.mark.parametrize("known", [{"payment": 1}, {}], ids=["read here", "passed on"])
async def test_a_body_longer_than_any_stops_it_by_name(
    known: dict[str, int], core: Core, client: DirectClient, tmp_path: Path, clock: FakeClock
) -> None:
    """A core of an older release, or a hostile one, may send it: nothing is applied or built, and it is waited for."""
    folder = tmp_path / "edge"
    edge, reader = follower_of(known, client, folder, clock), ReplicaReader(folder, clock=clock)
    commit(core, "1", b"{}", 1)
    await step_until(edge, clock, "following")
    _, seen = read_all(reader)
    commit(core, "2", Random(1).randbytes(BODY_BYTES_MAX + 1), 1)
    for _ in range(5):
        clock.advance(await edge.step())
    assert (edge.status.phase, edge.status.reason) == ("stopped", "document_too_large:payment")
    assert (read_all(reader)[1], edge.status.snapshots_built) == (seen, 1)
    commit(core, "2", Random(1).randbytes(BODY_BYTES_MAX), 1)
    await step_until(edge, clock, "following")
    assert read_all(reader)[1] == core.state
    edge.close()


async def test_a_short_body_that_unpacks_to_more_than_any_stops_it_by_name(
    core: Core, client: DirectClient, tmp_path: Path, clock: FakeClock
) -> None:
    """It is known before a byte is unpacked."""
    edge = follower_of({"payment": 1}, client, tmp_path / "edge", clock)
    commit(core, "1", b" " * (64 * BODY_BYTES_MAX), 1)
    await edge.step()
    assert (edge.status.phase, edge.status.reason) == ("stopped", "document_too_large:payment")
    edge.close()

"""Which shards an edge may read, as the core's registry keeps it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cache_sync.clock import SystemClock
from core_cis import grants
from core_cis.errors import EdgeConflict, UnknownEdge
from core_cis.grants import grant_shards, granted_shards, read_word
from core_cis.registry import (
    Serving,
    add_edge,
    find_credential,
    read_credentials,
    read_edges,
    revoke_edge,
    write_edge_config,
)
from core_cis.settings import Utility
from core_cis.store import CoreStore
from failover.node_config import read_config

SERVING = Serving(core_url="http://127.0.0.1:8100", port=8001, peer_port=9001)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CoreStore]:
    """Return a core with four shards; `east` reads all of them, `west` two."""
    utility = Utility(name="Test Light")
    with CoreStore.open(tmp_path / "core", SystemClock(), utility=utility, shards=4) as opened:
        with opened.transaction() as tx:
            add_edge(tx, "east", "http://127.0.0.1:9001")
            add_edge(tx, "west", "http://127.0.0.2:9002", shards=["3", "1"])
        yield opened


def test_a_credential_opens_what_was_granted(store: CoreStore) -> None:
    """At once, with the next look; the fleet is told of those only who may not read all."""
    assert read_word(store.connection) == ([], {"west": "1,3"})
    assert [edge.shards for edge in read_edges(store.connection)] == [[], ["1", "3"]]
    with store.transaction() as tx:
        grant_shards(tx.connection, "east", ["2"])
        grant_shards(tx.connection, "west", [])
    assert read_word(store.connection) == ([], {"east": "2"})
    for name, shards in (("east", ["2"]), ("west", [])):
        known = find_credential(store.connection, name)
        assert known is not None
        assert known.shards == granted_shards(store.connection, name) == shards
        assert read_credentials(store.connection)[name] == known


def test_the_expelled_are_named_however_many(store: CoreStore) -> None:
    """None is forgotten for a newer one; what they could once read is not told any more."""
    with store.transaction() as tx:
        for number in range(1200):
            add_edge(tx, f"edge-{number}", "http://127.0.0.1:9001")
            revoke_edge(tx, f"edge-{number}")
        revoke_edge(tx, "west")
    word = read_word(store.connection)
    assert len(word.revoked) == 1201
    assert {"edge-0", "edge-1199", "west"} < set(word.revoked)
    assert word.grants == {}


def test_more_than_can_be_told_is_refused(
    store: CoreStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When an edge is added or granted more, never when one is expelled; nothing is changed then."""
    monkeypatch.setattr(grants, "WORD_BYTES_MAX", 165)
    with pytest.raises(EdgeConflict, match="told"), store.transaction() as tx:
        add_edge(tx, "north", "http://127.0.0.1:9003")
    with pytest.raises(EdgeConflict, match="told"), store.transaction() as tx:
        grant_shards(tx.connection, "east", ["0", "1", "2", "3"])
    assert [edge.node_id for edge in read_edges(store.connection)] == ["east", "west"]
    assert granted_shards(store.connection, "east") == []
    with store.transaction() as tx:
        revoke_edge(tx, "west")


def test_an_edge_is_configured_with_what_it_may_read(store: CoreStore, tmp_path: Path) -> None:
    """Its file names those shards, or fewer, never others; its siblings' files say so too."""
    with store.transaction() as tx:
        write_edge_config(tx, "west", SERVING, tmp_path / "west.json", keys=store.keys)
        write_edge_config(tx, "east", SERVING, tmp_path / "east.json", keys=store.keys)
    west, east = read_config(tmp_path / "west.json"), read_config(tmp_path / "east.json")
    assert (west.held_shards, east.held_shards) == (["1", "3"], [])
    assert [peer.granted_shards for peer in (*west.peers, *east.peers)] == ["", "1,3"]
    for held, told in ((["3"], ""), (["2"], "may not read"), (["4"], "no shard '4'")):
        serving = Serving(
            core_url="http://127.0.0.1:8100", port=8001, peer_port=9001, held_shards=held
        )
        out = tmp_path / "west.json"
        with store.transaction() as tx:
            if told:
                with pytest.raises(EdgeConflict, match=told):
                    write_edge_config(tx, "west", serving, out, keys=store.keys, force=True)
            else:
                write_edge_config(tx, "west", serving, out, keys=store.keys, force=True)
        assert read_config(out).held_shards == ["3"]


def test_unknown_edges_and_shards(store: CoreStore) -> None:
    """Nobody is granted anything who is not there or was expelled, and nothing that there is not."""
    with store.transaction() as tx:
        revoke_edge(tx, "west")
    for name in ("west", "north"):
        with pytest.raises(UnknownEdge), store.transaction() as tx:
            grant_shards(tx.connection, name, ["1"])
    with pytest.raises(EdgeConflict, match="no shard '4'"), store.transaction() as tx:
        grant_shards(tx.connection, "east", ["4"])
    with pytest.raises(EdgeConflict, match="no shard '4'"), store.transaction() as tx:
        add_edge(tx, "north", "http://127.0.0.1:9003", shards=["4"])
    with pytest.raises(UnknownEdge):
        granted_shards(store.connection, "north")

"""Edges are registered once; their keys leave the core once, into one private file."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from cache_sync.clock import SystemClock
from core_cis.errors import EdgeConflict, UnknownEdge
from core_cis.registry import (
    Serving,
    add_edge,
    edge_keys,
    find_credential,
    move_edge,
    read_edges,
    revoke_edge,
    write_edge_config,
)
from core_cis.settings import Utility
from core_cis.store import CoreStore
from failover.node_config import EdgeConfig, read_config
from failover.signing import public_key, secret_hash

SERVING = Serving(
    core_url="http://127.0.0.1:8100",
    port=8001,
    peer_port=9001,
    peer_urls={"west": "http://127.0.0.1:6000"},
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CoreStore]:
    """Return a core with edges `east` and `west` that have no configuration yet."""
    utility = Utility(name="Test Light", phone="+1 555 0199", edge_retention_months=6)
    with CoreStore.open(tmp_path / "core", SystemClock(), utility=utility) as opened:
        with opened.transaction() as tx:
            add_edge(tx, "east", "http://127.0.0.1:9001")
            add_edge(tx, "west", "http://127.0.0.2:9002")
        yield opened


def configure(store: CoreStore, name: str, out: Path, *, force: bool = False) -> EdgeConfig:
    """Write an edge's configuration."""
    with store.transaction() as tx:
        return write_edge_config(tx, name, SERVING, out, keys=store.keys, force=force)


def test_configuration_holds_what_an_edge_needs(store: CoreStore, tmp_path: Path) -> None:
    """Its own keys, the fleet's, the core's address, its siblings at the addresses given for them."""
    out = tmp_path / "east.json"
    configure(store, "east", out)
    config = read_config(out)
    east, west = read_edges(store.connection)
    assert public_key(config.signing_key) == east.public_key
    assert secret_hash(config.node_secret) == east.secret_sha256
    assert config.core_secret_sha256 == secret_hash(store.keys.node_secret)
    assert (config.utility.name, config.utility.phone) == ("Test Light", "+1 555 0199")
    assert (config.retention_months, config.session_key) == (6, store.keys.session_key)
    (peer,) = config.peers
    assert (peer.node_id, peer.url, peer.public_key) == (
        "west",
        "http://127.0.0.1:6000",
        west.public_key,
    )
    assert out.stat().st_mode & 0o777 == 0o600


def test_private_part_is_forgotten(store: CoreStore, tmp_path: Path) -> None:
    """Once the file is written, nobody reads the keys out of the database again."""
    config = configure(store, "east", tmp_path / "east.json")
    (rows,) = [store.connection.execute("SELECT * FROM edges").fetchall()]
    assert config.node_secret not in str(rows)
    assert config.signing_key not in str(rows)
    with pytest.raises(EdgeConflict):
        configure(store, "east", tmp_path / "second.json")


def test_force_writes_again_with_the_keys_of_the_file(store: CoreStore, tmp_path: Path) -> None:
    """A changed port does not cost the edge its identity."""
    out = tmp_path / "east.json"
    first = configure(store, "east", out)
    with pytest.raises(EdgeConflict):
        configure(store, "east", out)
    assert configure(store, "east", out, force=True) == first


def test_force_makes_new_keys_where_the_old_are_lost(store: CoreStore, tmp_path: Path) -> None:
    """Without the old file, the edge is given a new identity, and the old secret opens nothing."""
    first = configure(store, "east", tmp_path / "east.json")
    second = configure(store, "east", tmp_path / "other.json", force=True)
    assert second.signing_key != first.signing_key
    assert find_credential(store.connection, "east") == (secret_hash(second.node_secret), [])
    forged = tmp_path / "forged.json"
    forged.write_bytes(msgspec.json.encode(first))
    assert configure(store, "east", forged, force=True).node_secret != first.node_secret


def test_existing_file_does_not_cost_the_keys(store: CoreStore, tmp_path: Path) -> None:
    """When the file cannot be written, the private part is still there for the next try."""
    out = tmp_path / "east.json"
    out.write_text("mine")
    with pytest.raises(EdgeConflict):
        configure(store, "east", out)
    assert out.read_text() == "mine"
    configure(store, "east", tmp_path / "elsewhere.json")


def test_revoked_edge_opens_nothing_but_is_remembered(store: CoreStore, tmp_path: Path) -> None:
    """Its secret is refused, its configuration too; its public key stays, with the time of its end."""
    with store.transaction() as tx:
        revoke_edge(tx, "west")
        ended = tx.stamp
    assert find_credential(store.connection, "west") is None
    assert edge_keys(store.connection)["west"].revoked_at == ended
    assert ended < datetime(2100, 1, 1, tzinfo=UTC)
    with pytest.raises(UnknownEdge):
        configure(store, "west", tmp_path / "west.json")
    assert configure(store, "east", tmp_path / "east.json").peers == []


@pytest.mark.parametrize("name", ["core", "", "East", "a b", "a/b", "-a", "x" * 40, "east"])
def test_names_that_are_refused(store: CoreStore, name: str) -> None:
    """No name twice, none of the core's, none that would not fit into a header or a path."""
    with store.transaction() as tx, pytest.raises(EdgeConflict):
        add_edge(tx, name, "http://127.0.0.5")


def test_unknown_edges(store: CoreStore) -> None:
    """Nobody can be expelled who is not there, and nobody unknown has a secret."""
    with store.transaction() as tx, pytest.raises(UnknownEdge):
        revoke_edge(tx, "north")
    assert find_credential(store.connection, "north") is None


def test_where_documents_are_passed_on(store: CoreStore, tmp_path: Path) -> None:
    """An edge's file names its own feed's port, its siblings' feeds and whom it prefers to ask."""
    with store.transaction() as tx:
        add_edge(tx, "north", "http://127.0.0.3:9003", "http://127.0.0.3:7003")
        move_edge(tx, "west", feed_url="http://127.0.0.2:7002")
        through_proxy = msgspec.structs.replace(
            SERVING,
            feed_port=7001,
            feed_urls={"west": "http://127.0.0.1:6001"},
            upstreams=["west", "core"],
        )
        out = tmp_path / "east.json"
        write_edge_config(tx, "east", through_proxy, out, keys=store.keys)
    config = read_config(out)
    assert (config.feed_port, config.upstreams) == (7001, ["west", "core"])
    assert {peer.node_id: (peer.url, peer.feed_url) for peer in config.peers} == {
        "north": ("http://127.0.0.3:9003", "http://127.0.0.3:7003"),
        "west": ("http://127.0.0.1:6000", "http://127.0.0.1:6001"),
    }


@pytest.mark.parametrize("name", ["west", "east", "nobody"])
def test_only_who_passes_documents_on_is_asked(store: CoreStore, tmp_path: Path, name: str) -> None:
    """A sibling without a feed, the edge itself and an unknown name are refused when the file is written."""
    with store.transaction() as tx:
        serving = msgspec.structs.replace(SERVING, upstreams=["core", name])
        with pytest.raises(EdgeConflict, match=name):
            write_edge_config(tx, "east", serving, tmp_path / "east.json", keys=store.keys)


def test_moving_an_unknown_edge(store: CoreStore) -> None:
    """Nobody can be moved who is not there; an address that is not named stays."""
    with store.transaction() as tx, pytest.raises(UnknownEdge):
        move_edge(tx, "north", peer_url="http://127.0.0.5")
    with store.transaction() as tx:
        move_edge(tx, "east", peer_url="http://127.0.0.4:9001")
    east, west = read_edges(store.connection)
    assert (east.peer_url, east.feed_url) == ("http://127.0.0.4:9001", "")
    assert west.peer_url == "http://127.0.0.2:9002"

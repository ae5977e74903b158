"""The edges of the fleet: who may read the feed and deliver intents, and the file each is started with."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from cache_sync.document_table import read_shards
from cache_sync.sql import Connection
from core_cis.errors import EdgeConflict, UnknownEdge
from core_cis.grants import check_room, check_shards, granted_shards
from core_cis.instants import from_text, to_text
from core_cis.intake import EdgeKey, FormerKey
from core_cis.keys import CoreKeys
from core_cis.settings import Utility
from core_cis.standin_limits import first_limits
from core_cis.store import Transaction
from failover.errors import ConfigInvalid
from failover.grants import read_grant, write_grant
from failover.node_addresses import check_addresses, check_node_url, is_https
from failover.node_config import (
    CORE_NODE_ID,
    EdgeConfig,
    PeerConfig,
    ProcessorAccess,
    read_config,
    write_config,
)
from failover.node_config import Utility as EdgeUtility
from failover.signing import generate_signing_key, new_secret, public_key, secret_hash

_CREDENTIALS = "SELECT node_id, secret_sha256, shards FROM edges WHERE status = 'active'"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """
    A registered edge, its public part.

    ``configured`` says that its private part was handed out. ``shards`` are those that it may read, none named: all.
    """

    node_id: str
    public_key: str
    secret_sha256: str
    peer_url: str
    feed_url: str = ""
    status: Literal["active", "revoked"]
    registered_at: datetime
    revoked_at: datetime | None = None
    configured: bool = False
    shards: list[str] = []


class _Private(msgspec.Struct, frozen=True):
    node_secret: str
    signing_key: str


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where an edge serves, and where it finds the others.

    ``peer_urls`` and ``feed_urls`` override registered addresses by node id, such as a proxy's on the way to them.
    ``feed_port`` 0 means that it passes no documents on; ``upstreams`` is whom it asks for them, the preferred first,
    none named: the core, then the siblings that pass them on. ``held_shards`` are the shards that it holds, none named:
    all that it may read. ``processor`` is where it may charge saved methods itself, None where it may not.
    """

    core_url: str
    host: str = "127.0.0.1"
    port: int
    peer_port: int
    feed_port: int = 0
    workers: int = 2
    peer_urls: Mapping[str, str] = {}
    feed_urls: Mapping[str, str] = {}
    upstreams: Sequence[str] = ()
    held_shards: Sequence[str] = ()
    normal_min_seconds: float = 60.0
    insecure_cookies: bool = True
    processor: ProcessorAccess | None = None


def add_edge(
    tx: Transaction, node_id: str, peer_url: str, feed_url: str = "", *, shards: Sequence[str] = ()
) -> None:
    """
    Register an edge: its keys are made here, and their private part is kept only until its configuration is written.

    ``feed_url`` is where it passes documents on to its siblings; empty when it does not. ``shards`` are those that it
    may read, none named: all.

    Raises:
        EdgeConflict: The name is taken or is no name, there is no such shard, or there are too many edges.
        ConfigInvalid: An address is none, or plain HTTP beyond this machine.
    """
    _check_urls(peer_url, feed_url)
    if not _NAME.fullmatch(node_id) or node_id == CORE_NODE_ID:
        raise EdgeConflict(
            f"{node_id!r} is no name for an edge: use lower-case letters, digits and hyphens"
        )
    if tx.connection.execute("SELECT 1 FROM edges WHERE node_id = ?", (node_id,)).fetchone():
        raise EdgeConflict(f"edge {node_id} is registered already")
    private = _Private(node_secret=new_secret(), signing_key=generate_signing_key())
    tx.connection.execute(
        "INSERT INTO edges (node_id, public_key, secret_sha256, peer_url, feed_url, shards, registered_at, unissued)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            node_id,
            public_key(private.signing_key),
            secret_hash(private.node_secret),
            peer_url,
            feed_url,
            check_shards(tx.connection, shards),
            to_text(tx.stamp),
            msgspec.json.encode(private).decode(),
        ),
    )
    check_room(tx.connection)


def _check_urls(peer_url: str | None, feed_url: str | None) -> None:
    if peer_url is not None:
        check_node_url("peer_url", peer_url)
    if feed_url:
        check_node_url("feed_url", feed_url)


def move_edge(
    tx: Transaction, node_id: str, *, peer_url: str | None = None, feed_url: str | None = None
) -> None:
    """
    Change where an edge is reached; None leaves an address as it is. Its siblings' files have to be written again.

    Raises:
        UnknownEdge: There is none of this name.
        ConfigInvalid: An address is none, or plain HTTP beyond this machine.
    """
    _check_urls(peer_url, feed_url)
    changed = tx.connection.execute(
        "UPDATE edges SET peer_url = coalesce(?, peer_url), feed_url = coalesce(?, feed_url)"
        " WHERE node_id = ?",
        (peer_url, feed_url, node_id),
    ).rowcount
    if not changed:
        raise UnknownEdge(node_id)


def revoke_edge(tx: Transaction, node_id: str) -> None:
    """
    Expel an edge: it may no longer read or deliver; what it accepted before is still believed.

    Raises:
        UnknownEdge: There is none of this name.
    """
    changed = tx.connection.execute(
        "UPDATE edges SET status = 'revoked', revoked_at = coalesce(revoked_at, ?), unissued = NULL"
        " WHERE node_id = ?",
        (to_text(tx.stamp), node_id),
    ).rowcount
    if not changed:
        raise UnknownEdge(node_id)


def read_edges(connection: Connection) -> list[Edge]:
    """List the registered edges by name, revoked ones too."""
    return [
        Edge(
            node_id=node_id,
            public_key=key,
            secret_sha256=secret_sha256,
            peer_url=peer_url,
            feed_url=feed_url,
            status=status,
            registered_at=from_text(registered_at),
            revoked_at=from_text(revoked_at) if revoked_at else None,
            configured=bool(configured),
            shards=read_grant(shards),
        )
        for (
            node_id,
            key,
            secret_sha256,
            peer_url,
            feed_url,
            status,
            registered_at,
            revoked_at,
            configured,
            shards,
        ) in connection.execute(
            "SELECT node_id, public_key, secret_sha256, peer_url, feed_url, status, registered_at, revoked_at,"
            " unissued IS NULL, shards FROM edges ORDER BY node_id"
        )
    ]


def edge_keys(connection: Connection) -> dict[str, EdgeKey]:
    """Read what signatures of intents are checked with, by node id."""
    former: dict[str, list[FormerKey]] = defaultdict(list)
    for node_id, key, replaced_at in connection.execute(
        "SELECT node_id, public_key, replaced_at FROM former_edge_keys"
    ):
        former[node_id].append(FormerKey(key, from_text(replaced_at)))
    rows = connection.execute("SELECT node_id, public_key, revoked_at FROM edges")
    return {
        node_id: EdgeKey(key, from_text(revoked_at) if revoked_at else None, tuple(former[node_id]))
        for node_id, key, revoked_at in rows
    }


class Credential(NamedTuple):
    """What an active edge is known by (SHA-256 of its secret), and which shards that opens; none named: all."""

    secret_sha256: str
    shards: list[str]


def find_credential(connection: Connection, node_id: str) -> Credential | None:
    """Tell what an active edge is known by; None for every other node."""
    row = connection.execute(f"{_CREDENTIALS} AND node_id = ?", (node_id,)).fetchone()
    return None if row is None else Credential(row[1], read_grant(row[2]))


def read_credentials(connection: Connection) -> dict[str, Credential]:
    """Read what all active edges are known by, by node id."""
    return {
        node_id: Credential(secret_sha256, read_grant(shards))
        for node_id, secret_sha256, shards in connection.execute(_CREDENTIALS).fetchall()
    }


def write_edge_config(
    tx: Transaction,
    node_id: str,
    serving: Serving,
    out: Path,
    *,
    keys: CoreKeys,
    force: bool = False,
) -> EdgeConfig:
    """
    Write an edge's configuration, and forget its private part once the file is there.

    With ``force`` an existing file at ``out`` is written again, with the keys that it holds. An edge whose keys were
    handed out and are not in that file gets new ones: the file that it had is worthless from then on, and its siblings
    need theirs written again.

    Raises:
        UnknownEdge: It is not registered, or was revoked.
        EdgeConflict: Its file was written before, or ``out`` exists, and ``force`` was not given; or an upstream is
            neither the core nor a sibling that passes documents on; or it may not read a shard.
        ConfigInvalid: An address is none, or plain HTTP beyond this machine, or only some are https.
    """
    row = tx.connection.execute(
        "SELECT unissued FROM edges WHERE node_id = ? AND status = 'active'", (node_id,)
    ).fetchone()
    if row is None:
        raise UnknownEdge(node_id)
    private = _private_part(tx, node_id, row[0], out, force=force)
    config = _config(tx, node_id, serving, keys, private)
    check_addresses(config)
    try:
        write_config(out, config, overwrite=force)
    except FileExistsError as error:
        raise EdgeConflict(f"{out} exists") from error
    tx.connection.execute("UPDATE edges SET unissued = NULL WHERE node_id = ?", (node_id,))
    return config


def _private_part(
    tx: Transaction, node_id: str, unissued: str | None, out: Path, *, force: bool
) -> _Private:
    if unissued is not None:
        return msgspec.json.decode(unissued, type=_Private)
    if not force:
        raise EdgeConflict(f"the keys of edge {node_id} were handed out; --force writes again")
    kept = _private_part_of_file(tx, node_id, out)
    if kept is not None:
        return kept
    private = _Private(node_secret=new_secret(), signing_key=generate_signing_key())
    tx.connection.execute(
        "INSERT INTO former_edge_keys (node_id, public_key, replaced_at)"
        " SELECT node_id, public_key, ? FROM edges WHERE node_id = ?",
        (to_text(tx.stamp), node_id),
    )
    tx.connection.execute(
        "UPDATE edges SET public_key = ?, secret_sha256 = ? WHERE node_id = ?",
        (public_key(private.signing_key), secret_hash(private.node_secret), node_id),
    )
    return private


def _private_part_of_file(tx: Transaction, node_id: str, out: Path) -> _Private | None:
    try:
        config = read_config(out)
        known = (public_key(config.signing_key), secret_hash(config.node_secret))
    except ConfigInvalid:
        return None
    registered = tx.connection.execute(
        "SELECT public_key, secret_sha256 FROM edges WHERE node_id = ?", (node_id,)
    ).fetchone()
    return _Private(config.node_secret, config.signing_key) if known == registered else None


def _config(
    tx: Transaction, node_id: str, serving: Serving, keys: CoreKeys, private: _Private
) -> EdgeConfig:
    utility: Utility = tx.utility
    siblings = [
        edge
        for edge in read_edges(tx.connection)
        if edge.status == "active" and edge.node_id != node_id
    ]
    feeds = {edge.node_id: serving.feed_urls.get(edge.node_id, edge.feed_url) for edge in siblings}
    for name in serving.upstreams:
        if name != CORE_NODE_ID and not feeds.get(name):
            raise EdgeConflict(f"{name!r} is no sibling of {node_id} that passes documents on")
    return EdgeConfig(
        node_id=node_id,
        node_secret=private.node_secret,
        signing_key=private.signing_key,
        core_url=serving.core_url,
        core_secret_sha256=secret_hash(keys.node_secret),
        operator_token_sha256=secret_hash(keys.operator_token),
        session_key=keys.session_key,
        form_key=keys.form_key,
        lookup_key=keys.lookup_key,
        core_public_key=keys.public_key,
        host=serving.host,
        port=serving.port,
        peer_port=serving.peer_port,
        feed_port=serving.feed_port,
        workers=serving.workers,
        retention_months=utility.edge_retention_months,
        utility=EdgeUtility(
            name=utility.name,
            phone=utility.phone,
            timezone=utility.timezone,
            currency=utility.currency,
        ),
        peers=[
            PeerConfig(
                node_id=edge.node_id,
                url=serving.peer_urls.get(edge.node_id, edge.peer_url),
                public_key=edge.public_key,
                secret_sha256=edge.secret_sha256,
                feed_url=feeds[edge.node_id],
                granted_shards=write_grant(edge.shards),
            )
            for edge in siblings
        ],
        upstreams=list(serving.upstreams),
        shards=len(read_shards(tx.connection)),
        held_shards=_held_shards(tx, node_id, serving.held_shards),
        standin=first_limits(tx.connection),
        normal_min_seconds=serving.normal_min_seconds,
        insecure_cookies=serving.insecure_cookies,
        processor=serving.processor,
        tls=keys.certify(node_id, tx.stamp) if is_https(serving.core_url) else None,
    )


def _held_shards(tx: Transaction, node_id: str, asked: Sequence[str]) -> list[str]:
    """Return the shards that an edge is to hold: those asked for, otherwise all that it may read."""
    check_shards(tx.connection, asked)
    granted = granted_shards(tx.connection, node_id)
    for shard in asked:
        if granted and shard not in granted:
            raise EdgeConflict(f"edge {node_id} may not read shard {shard}: grant it first")
    return sorted(set(asked) or granted, key=int)

"""
Which shards an edge may read: all of them, or those that it was granted.

The core refuses an edge the others, and tells every edge of its siblings' grants, so that they refuse them too.
"""

from collections.abc import Iterable
from typing import NamedTuple

from cache_sync.document_table import read_shards
from cache_sync.sql import Connection
from core_cis.errors import EdgeConflict, UnknownEdge
from failover.grants import read_grant, write_grant

# What a probe tells of all edges must fit into its answer. Each name is counted as one that may be expelled some day:
# expelling is never refused for want of room.
WORD_BYTES_MAX = 256 * 1024
_BYTES_A_NAME = 80


class FleetWord(NamedTuple):
    """What the core tells edges of each other: who was expelled, and who may read only some shards, and which."""

    revoked: list[str]
    grants: dict[str, str]


def check_shards(connection: Connection, shards: Iterable[str]) -> str:
    """
    Return a grant as it is written down; of no shards: of all.

    Raises:
        EdgeConflict: There is no such shard.
    """
    known = read_shards(connection)
    for shard in shards:
        if shard not in known:
            raise EdgeConflict(f"this core has no shard {shard!r}, only {len(known)} from 0 on")
    return write_grant(shards)


def grant_shards(connection: Connection, node_id: str, shards: Iterable[str]) -> None:
    """
    Let an edge read some shards and no others; none named: all.

    Raises:
        UnknownEdge: It is not registered, or was revoked.
        EdgeConflict: There is no such shard, or so much cannot be told to the fleet.
    """
    changed = connection.execute(
        "UPDATE edges SET shards = ? WHERE node_id = ? AND status = 'active'",
        (check_shards(connection, shards), node_id),
    ).rowcount
    if not changed:
        raise UnknownEdge(node_id)
    check_room(connection)


def check_room(connection: Connection) -> None:
    """
    Make sure that what is told of all edges fits into an answer, whoever is expelled.

    Raises:
        EdgeConflict: It does not.
    """
    edges, granted = connection.execute(
        "SELECT count(*), coalesce(sum(length(shards)), 0) FROM edges"
    ).fetchone()
    if edges * _BYTES_A_NAME + granted > WORD_BYTES_MAX:
        raise EdgeConflict(
            f"{edges} edges with their shards are more than the fleet can be told of: expelled ones count too"
        )


def granted_shards(connection: Connection, node_id: str) -> list[str]:
    """
    List the shards that an edge was granted; empty: all.

    Raises:
        UnknownEdge: It is not registered.
    """
    row = connection.execute("SELECT shards FROM edges WHERE node_id = ?", (node_id,)).fetchone()
    if row is None:
        raise UnknownEdge(node_id)
    return read_grant(row[0])


def read_word(connection: Connection) -> FleetWord:
    """Read what edges are told of each other."""
    rows = connection.execute(
        "SELECT node_id, status, shards FROM edges WHERE status = 'revoked' OR shards <> '' ORDER BY node_id"
    ).fetchall()
    return FleetWord(
        [node_id for node_id, status, _ in rows if status == "revoked"],
        {node_id: shards for node_id, status, shards in rows if status == "active"},
    )

"""How far each edge holds each shard for good, as it last said: kept, so that a core which starts again knows it."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import msgspec

from cache_sync.sql import Connection
from core_cis.floor import Reported
from core_cis.instants import from_text, to_text

_KEEP = """
INSERT INTO edge_places (node_id, shard, epoch, seq, reported_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (node_id, shard) DO UPDATE
SET epoch = excluded.epoch, seq = excluded.seq, reported_at = excluded.reported_at
"""
_ACTIVE = """
SELECT e.node_id, e.registered_at, p.epoch, p.seq, p.reported_at
FROM edges e LEFT JOIN edge_places p ON p.node_id = e.node_id AND p.shard = ?
WHERE e.status = 'active'
    AND (p.node_id IS NOT NULL OR NOT EXISTS (SELECT 1 FROM edge_places o WHERE o.node_id = e.node_id))
"""
_ALL = "SELECT node_id, shard, epoch, seq, reported_at FROM edge_places ORDER BY node_id, shard"


class Place(NamedTuple):
    """What an edge says that it holds of a shard, and when it said so."""

    node_id: str
    shard: str
    epoch: int
    seq: int
    reported_at: datetime


class EdgePlace(msgspec.Struct, frozen=True, kw_only=True):
    """How far an edge holds a shard for good, as operators are told."""

    shard: str
    epoch: int
    seq: int
    reported_at: datetime


def keep_places(connection: Connection, places: Iterable[Place]) -> None:
    """Keep what edges said, within the caller's write transaction; the newest word of each counts."""
    connection.executemany(_KEEP, [(*each[:4], to_text(each.reported_at)) for each in places])


def read_reports(connection: Connection, shard: str) -> list[Reported]:
    """
    Read what every active edge has said of a shard.

    One that has only spoken of other shards does not hold this one, and is left out.
    """
    return [
        Reported(node_id, epoch or 0, seq or 0, from_text(reported_at or registered_at))
        for node_id, registered_at, epoch, seq, reported_at in connection.execute(_ACTIVE, (shard,))
    ]


def read_places(connection: Connection) -> dict[str, list[EdgePlace]]:
    """Read what all edges have said, by their names."""
    found: dict[str, list[EdgePlace]] = {}
    for node_id, shard, epoch, seq, reported_at in connection.execute(_ALL):
        place = EdgePlace(shard=shard, epoch=epoch, seq=seq, reported_at=from_text(reported_at))
        found.setdefault(node_id, []).append(place)
    return found

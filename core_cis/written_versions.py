"""
In which version the core writes each kind of body, and which edges can read it.

A core that is upgraded goes on writing what it wrote: the oldest version, until operators order a newer one, when all
edges read it. A new core begins with the newest. Edges say with every probe what they read.
"""

from collections.abc import Iterable, Mapping

import msgspec

from cache_sync.body_versions import FIRST_VERSION
from cache_sync.documents import KNOWN_VERSIONS
from cache_sync.sql import Connection
from core_cis.errors import CannotRead, CannotWrite

_KEEP = """
INSERT INTO written_versions (kind, version) VALUES (?, ?)
ON CONFLICT (kind) DO UPDATE SET version = excluded.version
"""
_READS = """
SELECT e.node_id, r.kind, r.version FROM edges e LEFT JOIN edge_reads r ON r.node_id = e.node_id
WHERE e.status = 'active' ORDER BY e.node_id, r.kind
"""


class Unready(msgspec.Struct, frozen=True, kw_only=True):
    """An active edge that cannot read a version: the newest that it reads, None where it has not said any."""

    node_id: str
    reads: int | None


def read_written(connection: Connection) -> dict[str, int]:
    """Tell in which version every kind of body is written."""
    ordered = dict(connection.execute("SELECT kind, version FROM written_versions").fetchall())
    return {
        # A release before the one that gave the order writes what it can.
        kind: min(newest, ordered.get(kind, FIRST_VERSION))
        for kind, newest in KNOWN_VERSIONS.items()
    }


def begin_with_newest(connection: Connection) -> None:
    """Have a new core write the newest versions."""
    connection.executemany(_KEEP, list(KNOWN_VERSIONS.items()))


def read_reads(connection: Connection) -> dict[str, dict[str, int]]:
    """Tell which versions every active edge reads, by its name; nothing where it has not said any."""
    found: dict[str, dict[str, int]] = {}
    for node_id, kind, version in connection.execute(_READS):
        reads = found.setdefault(node_id, {})
        if kind is not None:
            reads[kind] = version
    return found


def who_cannot_read(
    reads: Mapping[str, Mapping[str, int]], kind: str, version: int
) -> list[Unready]:
    """List the edges that do not read a version; the first one is read by all, also by those that say nothing."""
    if version <= FIRST_VERSION:
        return []
    return [
        Unready(node_id=node_id, reads=said.get(kind))
        for node_id, said in reads.items()
        if said.get(kind, FIRST_VERSION) < version
    ]


def order_versions(
    connection: Connection, wanted: Mapping[str, int], *, force: bool = False
) -> dict[str, list[Unready]]:
    """
    Write other versions from here on, within the caller's write transaction, which must be alone.

    Returns, by kind, the edges that cannot read what is written now: they stop applying, and serve what they hold.

    Raises:
        CannotWrite: There is no such kind, or no such version of it in this release.
        CannotRead: An active edge has not said that it reads one of them, and ``force`` was not given.
    """
    reads, unready = read_reads(connection), {}
    for kind, version in wanted.items():
        newest = KNOWN_VERSIONS.get(kind)
        if newest is None or not FIRST_VERSION <= version <= newest:
            raise CannotWrite(kind, version, newest)
        found = who_cannot_read(reads, kind, version)
        if found and not force:
            raise CannotRead(kind, version, [each.node_id for each in found])
        if found:
            unready[kind] = found
    connection.executemany(_KEEP, list(wanted.items()))
    return unready


def keep_reads(
    connection: Connection, said: Iterable[tuple[str, Mapping[str, int]]], at: str
) -> None:
    """Keep what edges said that they read, within the caller's write transaction, in place of what they said before."""
    for node_id, reads in said:
        connection.execute("DELETE FROM edge_reads WHERE node_id = ?", (node_id,))
        connection.executemany(
            "INSERT INTO edge_reads (node_id, kind, version, reported_at) VALUES (?, ?, ?, ?)",
            [(node_id, kind, version, at) for kind, version in reads.items()],
        )

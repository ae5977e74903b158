"""
Documents with versions and hashes, the chain of commits, and edges that feed each other.

What was published keeps its seq and its epoch, so edges go on from where they are. There are no releases of this
version for PostgreSQL before this step, so it speaks SQLite's SQL.
"""

from itertools import islice
from typing import Any

from alembic import op
from sqlalchemy import Connection, text

from cache_sync.row_hash import FIRST_CHAIN, add_hashes, row_hash

revision = "core_3"
down_revision = "core_2"

_FIRST_VERSION = 1
_BATCH = 5000

_TABLES = (
    """
    CREATE TABLE new_documents (
        seq INTEGER PRIMARY KEY,
        account_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        version INTEGER NOT NULL,
        row_hash INTEGER,
        body BLOB
    ) STRICT
    """,
    """
    CREATE TABLE new_shard_head (
        shard TEXT NOT NULL PRIMARY KEY,
        epoch INTEGER NOT NULL,
        head INTEGER NOT NULL,
        floor INTEGER NOT NULL,
        live_hash INTEGER NOT NULL,
        live_rows INTEGER NOT NULL,
        chain BLOB NOT NULL,
        seal BLOB NOT NULL
    ) STRICT
    """,
    "CREATE TABLE commits (seq INTEGER PRIMARY KEY, chain BLOB NOT NULL) STRICT",
)
_IN_PLACE = (
    "DROP TABLE documents",
    "DROP TABLE shard_head",
    "ALTER TABLE new_documents RENAME TO documents",
    "ALTER TABLE new_shard_head RENAME TO shard_head",
    "CREATE UNIQUE INDEX documents_by_name ON documents (account_id, kind, key)",
    "CREATE INDEX credentials_by_key ON documents (kind, key) WHERE kind = 'credential'",
    "CREATE INDEX tombstones ON documents (seq) WHERE body IS NULL",
    "ALTER TABLE edges ADD COLUMN feed_url TEXT NOT NULL DEFAULT ''",
)


def upgrade() -> None:
    """Hash what is published, and begin its chain where it stands."""
    bind = op.get_bind()
    for statement in _TABLES:
        op.execute(statement)
    live_hash, live_rows = _copy_documents(bind)
    bind.execute(
        text(
            "INSERT INTO new_shard_head SELECT shard, epoch, head, floor, :live_hash, :live_rows, :chain, :seal"
            " FROM shard_head"
        ),
        {"live_hash": live_hash, "live_rows": live_rows, "chain": FIRST_CHAIN, "seal": b""},
    )
    bind.execute(
        text("INSERT INTO commits (seq, chain) SELECT head, :chain FROM shard_head"),
        {"chain": FIRST_CHAIN},
    )
    for statement in _IN_PLACE:
        op.execute(statement)


def _copy_documents(bind: Connection) -> tuple[int, int]:
    live_hash = live_rows = 0
    insert = text(
        "INSERT INTO new_documents (seq, account_id, kind, key, version, row_hash, body)"
        " VALUES (:seq, :account_id, :kind, :key, :version, :row_hash, :body)"
    )
    found = bind.execute(
        text("SELECT seq, account_id, kind, key, body FROM documents ORDER BY seq")
    )
    rows = (_hashed(*row) for row in found)
    while batch := list(islice(rows, _BATCH)):
        hashes = [row["row_hash"] for row in batch if row["row_hash"] is not None]
        live_hash, live_rows = add_hashes(live_hash, hashes), live_rows + len(hashes)
        bind.execute(insert, batch)
    return live_hash, live_rows


def _hashed(seq: int, account_id: str, kind: str, key: str, body: bytes | None) -> dict[str, Any]:
    hashed = None
    if body is not None:
        hashed = row_hash(account_id, kind, key, seq, _FIRST_VERSION, body)
    return {
        "seq": seq,
        "account_id": account_id,
        "kind": kind,
        "key": key,
        "version": _FIRST_VERSION,
        "row_hash": hashed,
        "body": body,
    }

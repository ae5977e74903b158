"""In which versions bodies are written, and which ones edges read."""

from alembic import op

revision = "core_10"
down_revision = "core_9"

_SQLITE = (
    "CREATE TABLE written_versions (kind TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL) STRICT",
    """
    CREATE TABLE edge_reads (
        node_id TEXT NOT NULL REFERENCES edges (node_id),
        kind TEXT NOT NULL,
        version INTEGER NOT NULL,
        reported_at TEXT NOT NULL,
        PRIMARY KEY (node_id, kind)
    ) STRICT
    """,
)
_POSTGRESQL = (
    'CREATE TABLE written_versions (kind TEXT COLLATE "C" NOT NULL PRIMARY KEY, version BIGINT NOT NULL)',
    """
    CREATE TABLE edge_reads (
        node_id TEXT COLLATE "C" NOT NULL REFERENCES edges (node_id),
        kind TEXT COLLATE "C" NOT NULL,
        version BIGINT NOT NULL,
        reported_at TEXT COLLATE "C" NOT NULL,
        PRIMARY KEY (node_id, kind)
    )
    """,
)


def upgrade() -> None:
    """Make the tables; without a row a kind is written as it was."""
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)

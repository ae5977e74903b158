"""What edges say that they hold for good, by which tombstones are forgotten."""

from alembic import op

revision = "core_5"
down_revision = "core_4"

_SQLITE = """
CREATE TABLE edge_places (
    node_id TEXT NOT NULL REFERENCES edges (node_id),
    shard TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    reported_at TEXT NOT NULL,
    PRIMARY KEY (node_id, shard)
) STRICT
"""
_POSTGRESQL = """
CREATE TABLE edge_places (
    node_id TEXT COLLATE "C" NOT NULL REFERENCES edges (node_id),
    shard TEXT COLLATE "C" NOT NULL,
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    reported_at TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (node_id, shard)
)
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(_SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL)

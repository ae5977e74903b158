"""Whom a restored core waits for."""

from alembic import op

revision = "core_7"
down_revision = "core_6"

_SQLITE = """
CREATE TABLE awaited_edges (
    node_id TEXT NOT NULL PRIMARY KEY REFERENCES edges (node_id),
    epoch INTEGER NOT NULL
) STRICT
"""
_POSTGRESQL = """
CREATE TABLE awaited_edges (
    node_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES edges (node_id),
    epoch BIGINT NOT NULL
)
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(_SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL)

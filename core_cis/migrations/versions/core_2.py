"""Edges whose keys were lost and made anew: what they signed before is still a promise to a customer."""

from alembic import op

revision = "core_2"
down_revision = "core_1"


def upgrade() -> None:
    """Keep former keys."""
    op.execute(
        """
        CREATE TABLE former_edge_keys (
            node_id TEXT NOT NULL REFERENCES edges,
            public_key TEXT NOT NULL,
            replaced_at TEXT NOT NULL,
            PRIMARY KEY (node_id, public_key)
        ) STRICT, WITHOUT ROWID
        """
    )

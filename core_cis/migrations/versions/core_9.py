"""Which shards an edge may read; the edges that there are read all, as before."""

from alembic import op

revision = "core_9"
down_revision = "core_8"

_TEXT = {"sqlite": "TEXT", "postgresql": 'TEXT COLLATE "C"'}


def upgrade() -> None:
    """Add the column."""
    text = _TEXT[op.get_bind().dialect.name]
    op.execute(f"ALTER TABLE edges ADD COLUMN shards {text} NOT NULL DEFAULT ''")

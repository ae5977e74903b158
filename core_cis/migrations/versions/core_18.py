"""Which backups of the books there are, and which edges have dropped more than these books hold."""

from alembic import op

revision = "core_18"
down_revision = "core_17"

_WORDS = {
    "sqlite": {"text": "TEXT", "integer": "INTEGER", "end": " STRICT"},
    "postgresql": {"text": 'TEXT COLLATE "C"', "integer": "BIGINT", "end": ""},
}
_STATEMENTS = (
    """
    CREATE TABLE backups (
        mark {text} NOT NULL,
        begun_at {text} NOT NULL,
        epoch {integer} NOT NULL,
        heads {text} NOT NULL,
        state {text} DEFAULT 'begun' NOT NULL,
        label {text} DEFAULT '' NOT NULL,
        named_at {text},
        PRIMARY KEY (mark),
        CHECK (state IN ('begun', 'kept', 'released'))
    ){end}
    """,
    """
    CREATE TABLE unheld_marks (
        node_id {text} NOT NULL,
        mark {text} NOT NULL,
        told_at {text} NOT NULL,
        PRIMARY KEY (node_id),
        FOREIGN KEY (node_id) REFERENCES edges (node_id)
    ){end}
    """,
)


def upgrade() -> None:
    """Make the tables; no backup was named before."""
    words = _WORDS[op.get_bind().dialect.name]
    for statement in _STATEMENTS:
        op.execute(statement.format(**words))

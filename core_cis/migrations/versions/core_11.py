"""What customers send besides payments; when a register's read that came from a customer was accepted."""

from alembic import op

revision = "core_11"
down_revision = "core_10"

# By dialect: how text and bytes are written, what ends a table, and what keeps the order of arrival.
_WORDS = {
    "sqlite": {"text": "TEXT", "bytes": "BLOB", "order": "", "end": " STRICT"},
    "postgresql": {
        "text": 'TEXT COLLATE "C"',
        "bytes": "BYTEA",
        "order": "rowid BIGINT GENERATED ALWAYS AS IDENTITY,",
        "end": "",
    },
}
_STATEMENTS = (
    """
    CREATE TABLE messages (
        message_id {text} NOT NULL,
        fingerprint {text} NOT NULL,
        account_id {text} NOT NULL,
        type {text} NOT NULL,
        state {text} NOT NULL,
        reason {text} NOT NULL DEFAULT '',
        case_number {text} NOT NULL DEFAULT '',
        accepted_at {text} NOT NULL,
        decided_at {text} NOT NULL,
        body_hash {text} NOT NULL,
        body {bytes},
        {order}
        UNIQUE (message_id, fingerprint),
        CHECK (state IN ('posted', 'rejected', 'dead_letter', 'cancelled'))
    ){end}
    """,
    "CREATE INDEX messages_of_account ON messages (account_id)",
    "ALTER TABLE register_reads ADD COLUMN told_at {text} NOT NULL DEFAULT ''",
)


def upgrade() -> None:
    """Make the table and the column."""
    words = _WORDS[op.get_bind().dialect.name]
    for statement in _STATEMENTS:
        op.execute(statement.format(**words))

"""What became of every charge at the payment processor, and of every refund."""

from alembic import op

revision = "core_6"
down_revision = "core_5"

# By dialect: how text is written, and what ends a table.
_WORDS = {
    "sqlite": {"text": "TEXT", "integer": "INTEGER", "end": " STRICT"},
    "postgresql": {"text": 'TEXT COLLATE "C"', "integer": "BIGINT", "end": ""},
}
_TABLES = (
    """
    CREATE TABLE charges (
        intent_id {text} NOT NULL,
        fingerprint {text} NOT NULL,
        kind {text} NOT NULL,
        state {text} NOT NULL,
        amount_cents {integer} NOT NULL,
        currency {text} NOT NULL,
        charge_id {text} NOT NULL DEFAULT '',
        code {text} NOT NULL DEFAULT '',
        begun_at {text} NOT NULL,
        answered_at {text},
        PRIMARY KEY (intent_id, fingerprint),
        CHECK (kind IN ('promise', 'captured')),
        CHECK (state IN ('attempting', 'captured', 'declined', 'nothing', 'conflict', 'review'))
    ){end}
    """,
    """
    CREATE TABLE refunds (
        charge_id {text} NOT NULL,
        intent_id {text} NOT NULL,
        fingerprint {text} NOT NULL,
        amount_cents {integer} NOT NULL,
        currency {text} NOT NULL,
        reason {text} NOT NULL,
        state {text} NOT NULL DEFAULT 'due',
        refund_id {text} NOT NULL DEFAULT '',
        due_at {text} NOT NULL,
        begun_at {text},
        done_at {text},
        PRIMARY KEY (charge_id),
        CHECK (state IN ('due', 'attempting', 'done', 'review'))
    ){end}
    """,
    "CREATE INDEX refunds_open ON refunds (due_at) WHERE state IN ('due', 'attempting')",
)


def upgrade() -> None:
    """Make the tables of charges and refunds."""
    words = _WORDS[op.get_bind().dialect.name]
    for statement in _TABLES:
        op.execute(statement.format(**words))

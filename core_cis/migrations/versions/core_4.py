"""What operators order and do: the audit log, orders to the drain, what became of dead letters."""

from alembic import op

revision = "core_4"
down_revision = "core_3"

# By dialect: how text and bytes are written, and what ends a table.
_WORDS = {
    "sqlite": {"text": "TEXT", "integer": "INTEGER", "bytes": "BLOB", "end": " STRICT"},
    "postgresql": {"text": 'TEXT COLLATE "C"', "integer": "BIGINT", "bytes": "BYTEA", "end": ""},
}
_TABLES = (
    """
    CREATE TABLE audit_log (
        number {integer} NOT NULL PRIMARY KEY,
        at {text} NOT NULL,
        operator {text} NOT NULL,
        via {text} NOT NULL,
        action {text} NOT NULL,
        subject {text} NOT NULL,
        reason {text} NOT NULL,
        detail {text} NOT NULL,
        request_key {text} UNIQUE,
        hash {bytes} NOT NULL,
        signature {bytes} NOT NULL,
        CHECK (via IN ('console', 'api', 'command'))
    ){end}
    """,
    """
    CREATE TABLE drain_orders (
        node_id {text} NOT NULL PRIMARY KEY,
        held {integer} NOT NULL,
        pace {integer},
        ordered_at {text} NOT NULL,
        CHECK (held IN (0, 1)),
        CHECK (pace > 0)
    ){end}
    """,
    """
    CREATE TABLE case_outcomes (
        intent_id {text} NOT NULL,
        fingerprint {text} NOT NULL,
        state {text} NOT NULL,
        decided_at {text} NOT NULL,
        outcome {bytes} NOT NULL,
        PRIMARY KEY (intent_id, fingerprint)
    ){end}
    """,
    "CREATE INDEX inbox_dead_letters ON inbox (intent_id) WHERE state = 'dead_letter'",
)
_APPEND_ONLY = {"audit_log": "audit: append only", "case_outcomes": "an outcome is final"}


def upgrade() -> None:
    """Make the tables, and have the database refuse to change what was written."""
    dialect = op.get_bind().dialect.name
    for statement in _TABLES:
        op.execute(statement.format(**_WORDS[dialect]))
    for table, reason in _APPEND_ONLY.items():
        for verb in (
            ("UPDATE", "DELETE") if dialect == "sqlite" else ("UPDATE", "DELETE", "TRUNCATE")
        ):
            op.execute(_refusal(dialect, table, verb, reason))


def _refusal(dialect: str, table: str, verb: str, reason: str) -> str:
    head = f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
    if dialect == "sqlite":
        return f"{head} BEGIN SELECT raise(ABORT, '{reason}'); END"
    each = "STATEMENT" if verb == "TRUNCATE" else "ROW"
    return f"{head} FOR EACH {each} EXECUTE FUNCTION refuse_change('{reason}')"

"""What a utility does about bills that are not paid in time: its terms, the steps taken, and those taken back."""

from alembic import op

revision = "core_16"
down_revision = "core_15"

_WORDS = {
    "sqlite": {"text": "TEXT", "integer": "INTEGER", "end": " STRICT"},
    "postgresql": {"text": 'TEXT COLLATE "C"', "integer": "BIGINT", "end": ""},
}
_STATEMENTS = (
    """
    CREATE TABLE collection_terms (
        version {integer} NOT NULL,
        terms {text} NOT NULL,
        ordered_at {text} NOT NULL,
        PRIMARY KEY (version)
    ){end}
    """,
    """
    CREATE TABLE collection_steps (
        statement_id {text} NOT NULL,
        step {text} NOT NULL,
        attempt {integer} NOT NULL,
        account_id {text} NOT NULL,
        as_of {text} NOT NULL,
        judged_through {text} NOT NULL,
        overdue_cents {integer} NOT NULL,
        fee_cents {integer} NOT NULL,
        transaction_id {integer},
        terms_version {integer} NOT NULL,
        override_number {integer},
        taken_at {text} NOT NULL,
        PRIMARY KEY (statement_id, step, attempt),
        CHECK (step IN ('late_fee', 'past_due_notice', 'disconnection_notice', 'disconnection_order')),
        CHECK (overdue_cents > 0),
        CHECK ((step = 'late_fee') = (transaction_id IS NOT NULL))
    ){end}
    """,
    "CREATE INDEX collection_steps_of_account ON collection_steps (account_id)",
    """
    CREATE TABLE collection_reversals (
        statement_id {text} NOT NULL,
        step {text} NOT NULL,
        attempt {integer} NOT NULL,
        payment_id {text} NOT NULL,
        transaction_id {integer},
        reversed_at {text} NOT NULL,
        PRIMARY KEY (statement_id, step, attempt)
    ){end}
    """,
)
_REASON = "a step taken stays; it is taken back by a row of its own"


def upgrade() -> None:
    """Make the tables; what was done is append only."""
    dialect = op.get_bind().dialect.name
    for statement in _STATEMENTS:
        op.execute(statement.format(**_WORDS[dialect]))
    verbs = ("UPDATE", "DELETE") if dialect == "sqlite" else ("UPDATE", "DELETE", "TRUNCATE")
    for table in ("collection_steps", "collection_reversals"):
        for verb in verbs:
            each = "STATEMENT" if verb == "TRUNCATE" else "ROW"
            does = (
                f" BEGIN SELECT raise(ABORT, '{_REASON}'); END"
                if dialect == "sqlite"
                else f" FOR EACH {each} EXECUTE FUNCTION refuse_change('{_REASON}')"
            )
            op.execute(f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}{does}")

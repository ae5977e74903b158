"""From when fees are reckoned for payments of which an earlier copy arrived later."""

from alembic import op

revision = "core_15"
down_revision = "core_14"

_WORDS = {
    "sqlite": {"text": "TEXT", "end": " STRICT"},
    "postgresql": {"text": 'TEXT COLLATE "C"', "end": ""},
}
_TABLE = """
    CREATE TABLE fee_effective_dates (
        payment_id {text} NOT NULL,
        fingerprint {text} NOT NULL,
        effective_on {text} NOT NULL,
        accepted_at {text} NOT NULL,
        edge_id {text} NOT NULL,
        delivered_by {text} NOT NULL,
        noted_at {text} NOT NULL,
        PRIMARY KEY (payment_id, fingerprint, effective_on)
    ){end}
"""
_REASON = "a fee-effective date stays"


def upgrade() -> None:
    """Make the table, append only."""
    dialect = op.get_bind().dialect.name
    op.execute(_TABLE.format(**_WORDS[dialect]))
    if dialect == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER fee_effective_dates_no_{verb.lower()} BEFORE {verb} ON fee_effective_dates"
                f" BEGIN SELECT raise(ABORT, '{_REASON}'); END"
            )
        return
    for verb in ("UPDATE", "DELETE", "TRUNCATE"):
        each = "STATEMENT" if verb == "TRUNCATE" else "ROW"
        op.execute(
            f"CREATE TRIGGER fee_effective_dates_no_{verb.lower()} BEFORE {verb} ON fee_effective_dates"
            f" FOR EACH {each} EXECUTE FUNCTION refuse_change('{_REASON}')"
        )

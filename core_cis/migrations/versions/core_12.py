"""Tickets: what customers report and somebody at the utility has to see to."""

from alembic import op

revision = "core_12"
down_revision = "core_11"

_TEXT = {"sqlite": "TEXT", "postgresql": 'TEXT COLLATE "C"'}
_END = {"sqlite": " STRICT", "postgresql": ""}
_TABLE = """
    CREATE TABLE tickets (
        ticket_number {text} NOT NULL,
        type {text} NOT NULL,
        account_id {text} NOT NULL,
        service_point_id {text} NOT NULL DEFAULT '',
        opened_at {text} NOT NULL,
        reported_at {text} NOT NULL,
        closed_at {text},
        PRIMARY KEY (ticket_number),
        CHECK (opened_at <= reported_at)
    ){end}
"""


def upgrade() -> None:
    """Make the table."""
    dialect = op.get_bind().dialect.name
    op.execute(_TABLE.format(text=_TEXT[dialect], end=_END[dialect]))
    op.execute("CREATE INDEX tickets_of_service_point ON tickets (service_point_id, opened_at)")

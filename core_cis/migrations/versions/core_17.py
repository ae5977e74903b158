"""Which message holds the wish of a ticket of service requests."""

from alembic import op

revision = "core_17"
down_revision = "core_16"

_WORDS = {
    "sqlite": {"text": "TEXT", "end": " STRICT"},
    "postgresql": {"text": 'TEXT COLLATE "C"', "end": ""},
}
_TABLE = """
    CREATE TABLE service_requests (
        ticket_number {text} NOT NULL,
        account_id {text} NOT NULL,
        kind {text} NOT NULL,
        message_id {text} NOT NULL,
        fingerprint {text} NOT NULL,
        told_as {text} NOT NULL,
        PRIMARY KEY (ticket_number),
        FOREIGN KEY (ticket_number) REFERENCES tickets (ticket_number)
    ){end}
"""


def upgrade() -> None:
    """Make the table; no ticket of service requests was opened before."""
    op.execute(_TABLE.format(**_WORDS[op.get_bind().dialect.name]))
    op.execute("CREATE INDEX service_requests_of_account ON service_requests (account_id, kind)")

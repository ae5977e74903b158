"""How customers want to be reached."""

from alembic import op

revision = "core_13"
down_revision = "core_12"

_TEXT = {"sqlite": "TEXT", "postgresql": 'TEXT COLLATE "C"'}
_END = {"sqlite": " STRICT", "postgresql": ""}
_TABLE = """
    CREATE TABLE contacts (
        customer_id {text} NOT NULL REFERENCES customers (customer_id),
        field {text} NOT NULL,
        value {text} NOT NULL,
        told_as {text} NOT NULL,
        PRIMARY KEY (customer_id, field),
        CHECK (field IN ('email', 'phone'))
    ){end}
"""


def upgrade() -> None:
    """Make the table."""
    dialect = op.get_bind().dialect.name
    op.execute(_TABLE.format(text=_TEXT[dialect], end=_END[dialect]))

"""The stand-in limits that operators set, and each edge's share of them."""

from alembic import op

revision = "core_14"
down_revision = "core_13"

_TYPES = {
    "sqlite": {"text": "TEXT", "integer": "INTEGER", "end": " STRICT"},
    "postgresql": {"text": 'TEXT COLLATE "C"', "integer": "BIGINT", "end": ""},
}
_TABLES = (
    """
    CREATE TABLE standin_limits (
        version {integer} NOT NULL,
        limits {text} NOT NULL,
        ordered_at {text} NOT NULL,
        PRIMARY KEY (version)
    ){end}
    """,
    """
    CREATE TABLE standin_shares (
        node_id {text} NOT NULL,
        epoch {integer} NOT NULL,
        serial {integer} NOT NULL,
        version {integer} NOT NULL,
        share_cents {integer} NOT NULL,
        held_cents {integer} NOT NULL,
        PRIMARY KEY (node_id)
    ){end}
    """,
)


def upgrade() -> None:
    """Make the tables; without a row every edge's configuration holds."""
    types = _TYPES[op.get_bind().dialect.name]
    for table in _TABLES:
        op.execute(table.format(**types))

"""Who was forgotten, and the one change of a statement that this allows."""

from alembic import op

revision = "core_8"
down_revision = "core_7"

_SQLITE = (
    """
    CREATE TABLE erasures (
        customer_id TEXT NOT NULL REFERENCES customers (customer_id),
        shard TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        erased_at TEXT NOT NULL,
        PRIMARY KEY (customer_id, shard)
    ) STRICT
    """,
    (
        "CREATE TRIGGER erasures_no_update BEFORE UPDATE ON erasures"
        " BEGIN SELECT raise(ABORT, 'who was forgotten stays so'); END"
    ),
    (
        "CREATE TRIGGER erasures_no_delete BEFORE DELETE ON erasures"
        " BEGIN SELECT raise(ABORT, 'who was forgotten stays so'); END"
    ),
    "DROP TRIGGER statements_no_update",
    """
    CREATE TRIGGER statements_no_update BEFORE UPDATE ON statements
    WHEN length(NEW.body) > 0
      OR (NEW.statement_id, NEW.account_id, NEW.period_from, NEW.period_to, NEW.issued_on, NEW.due_date,
          NEW.total_cents, NEW.amount_due_cents)
        IS NOT (OLD.statement_id, OLD.account_id, OLD.period_from, OLD.period_to, OLD.issued_on, OLD.due_date,
          OLD.total_cents, OLD.amount_due_cents)
      OR NOT EXISTS (SELECT 1 FROM accounts JOIN erasures USING (customer_id) WHERE account_id = OLD.account_id)
    BEGIN SELECT raise(ABORT, 'a statement is immutable once issued'); END
    """,
)
_POSTGRESQL = (
    """
    CREATE TABLE erasures (
        customer_id TEXT COLLATE "C" NOT NULL REFERENCES customers (customer_id),
        shard TEXT COLLATE "C" NOT NULL,
        epoch BIGINT NOT NULL,
        seq BIGINT NOT NULL,
        erased_at TEXT COLLATE "C" NOT NULL,
        PRIMARY KEY (customer_id, shard)
    )
    """,
    *(
        f"CREATE TRIGGER erasures_no_{verb.lower()} BEFORE {verb} ON erasures"
        f" FOR EACH {'STATEMENT' if verb == 'TRUNCATE' else 'ROW'}"
        " EXECUTE FUNCTION refuse_change('who was forgotten stays so')"
        for verb in ("UPDATE", "DELETE", "TRUNCATE")
    ),
    """
    CREATE FUNCTION empty_forgotten_statement() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF length(NEW.body) > 0
          OR (NEW.statement_id, NEW.account_id, NEW.period_from, NEW.period_to, NEW.issued_on, NEW.due_date,
              NEW.total_cents, NEW.amount_due_cents)
            IS DISTINCT FROM (OLD.statement_id, OLD.account_id, OLD.period_from, OLD.period_to, OLD.issued_on,
              OLD.due_date, OLD.total_cents, OLD.amount_due_cents)
          OR NOT EXISTS (SELECT 1 FROM accounts JOIN erasures USING (customer_id) WHERE account_id = OLD.account_id)
        THEN
            RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    "DROP TRIGGER statements_no_update ON statements",
    (
        "CREATE TRIGGER statements_no_update BEFORE UPDATE ON statements FOR EACH ROW"
        " EXECUTE FUNCTION empty_forgotten_statement('a statement is immutable once issued')"
    ),
)


def upgrade() -> None:
    """Make the table, and let a forgotten account's statements be emptied."""
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)

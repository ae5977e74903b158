"""
What a new core's database is made of: the tables of `tables`, and what the database itself refuses.

Refused, whoever writes: a ledger transaction that does not balance, an entry added to a written transaction, a changed
or deleted ledger row, a changed or deleted statement, a changed first outcome of an intent or of a case, a second
winner of an intent's id, a changed or deleted line of the audit log, fee-effective date or step of collections, a
forgotten person who would be one no longer. The one change of a statement that is let through empties the body of one
whose customer was forgotten.

A core that was made before is brought up to date by `migrations`, one step a schema version.
"""

from functools import cache
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from core_cis.tables import tables

_APPEND_ONLY = {
    "ledger_transactions": "ledger: append only",
    "ledger_entries": "ledger: append only",
    "statements": "a statement is immutable once issued",
    "inbox": "an outcome is final",
    "case_outcomes": "an outcome is final",
    "audit_log": "audit: append only",
    "erasures": "who was forgotten stays so",
    "fee_effective_dates": "a fee-effective date stays",
    "collection_steps": "a step taken stays; it is taken back by a row of its own",
    "collection_reversals": "a step taken stays; it is taken back by a row of its own",
}
# What may be changed after all, by a rule of its own.
_EMPTIED = ("statements", "UPDATE")
_KEPT_COLUMNS = (
    "statement_id",
    "account_id",
    "period_from",
    "period_to",
    "issued_on",
    "due_date",
    "total_cents",
    "amount_due_cents",
)
_KEPT_NEW = ", ".join(f"NEW.{name}" for name in _KEPT_COLUMNS)
_KEPT_OLD = ", ".join(f"OLD.{name}" for name in _KEPT_COLUMNS)
_NOT_FORGOTTEN = (
    "NOT EXISTS (SELECT 1 FROM accounts JOIN erasures USING (customer_id)"
    " WHERE account_id = OLD.account_id)"
)

_SQLITE_RULES = (
    """
    CREATE TRIGGER ledger_transactions_balance BEFORE INSERT ON ledger_transactions
    WHEN (SELECT count(*) FROM ledger_entries WHERE transaction_id = NEW.transaction_id) < 2
      OR (SELECT sum(amount_cents) FROM ledger_entries WHERE transaction_id = NEW.transaction_id) <> 0
    BEGIN SELECT raise(ABORT, 'ledger: debits and credits differ'); END
    """,
    """
    CREATE TRIGGER ledger_entries_closed BEFORE INSERT ON ledger_entries
    WHEN EXISTS (SELECT 1 FROM ledger_transactions WHERE transaction_id = NEW.transaction_id)
    BEGIN SELECT raise(ABORT, 'ledger: the transaction is written'); END
    """,
    *(
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
        f" BEGIN SELECT raise(ABORT, '{reason}'); END"
        for table, reason in _APPEND_ONLY.items()
        for verb in ("UPDATE", "DELETE")
        if (table, verb) != _EMPTIED
    ),
    f"""
    CREATE TRIGGER statements_no_update BEFORE UPDATE ON statements
    WHEN length(NEW.body) > 0 OR ({_KEPT_NEW}) IS NOT ({_KEPT_OLD}) OR {_NOT_FORGOTTEN}
    BEGIN SELECT raise(ABORT, '{_APPEND_ONLY["statements"]}'); END
    """,
)

_POSTGRESQL_RULES = (
    # Transactions are numbered without waiting for each other; a number that is not used leaves a gap.
    "CREATE SEQUENCE ledger_transaction_ids",
    """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'integrity_constraint_violation';
    END $$
    """,
    """
    CREATE FUNCTION check_balance() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        entries bigint;
        total numeric;
    BEGIN
        SELECT count(*), sum(amount_cents) INTO entries, total
        FROM ledger_entries WHERE transaction_id = NEW.transaction_id;
        IF entries < 2 OR total <> 0 THEN
            RAISE EXCEPTION 'ledger: debits and credits differ'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    f"""
    CREATE FUNCTION empty_forgotten_statement() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF length(NEW.body) > 0 OR ({_KEPT_NEW}) IS DISTINCT FROM ({_KEPT_OLD}) OR {_NOT_FORGOTTEN} THEN
            RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    # The lock is what makes the look that follows it good until the commit: another session that writes this
    # transaction is waited for, and then its row is seen.
    """
    CREATE FUNCTION check_open() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended('ledger', NEW.transaction_id));
        IF EXISTS (SELECT 1 FROM ledger_transactions WHERE transaction_id = NEW.transaction_id) THEN
            RAISE EXCEPTION 'ledger: the transaction is written'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER ledger_transactions_balance BEFORE INSERT ON ledger_transactions
    FOR EACH ROW EXECUTE FUNCTION check_balance()
    """,
    """
    CREATE TRIGGER ledger_entries_closed BEFORE INSERT ON ledger_entries
    FOR EACH ROW EXECUTE FUNCTION check_open()
    """,
    *(
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
        f" FOR EACH {'STATEMENT' if verb == 'TRUNCATE' else 'ROW'}"
        f" EXECUTE FUNCTION refuse_change('{reason}')"
        for table, reason in _APPEND_ONLY.items()
        for verb in ("UPDATE", "DELETE", "TRUNCATE")
        if (table, verb) != _EMPTIED
    ),
    (
        "CREATE TRIGGER statements_no_update BEFORE UPDATE ON statements FOR EACH ROW"
        f" EXECUTE FUNCTION empty_forgotten_statement('{_APPEND_ONLY['statements']}')"
    ),
    # Two rows that every commit changes: room on their page for the next version spares all else.
    "ALTER TABLE shard_head SET (fillfactor = 10)",
    "ALTER TABLE core_clock SET (fillfactor = 10)",
)

_DIALECTS: dict[str, Any] = {"sqlite": sqlite.dialect, "postgresql": postgresql.dialect}
_FIRST_ROWS = ("INSERT INTO core_clock (id, high_water_us) VALUES (1, 0)",)


@cache
def create_statements(dialect: str) -> tuple[str, ...]:
    """List the statements that make a core's database, for `sqlite` or `postgresql`."""
    known: Dialect = _DIALECTS[dialect]()
    made: list[CreateTable | CreateIndex] = []
    for table in tables(dialect).sorted_tables:
        made.append(CreateTable(table))
        made += [CreateIndex(index) for index in sorted(table.indexes, key=lambda i: i.name or "")]
    rules = _SQLITE_RULES if dialect == "sqlite" else _POSTGRESQL_RULES
    return (*(str(each.compile(dialect=known)) for each in made), *rules, *_FIRST_ROWS)

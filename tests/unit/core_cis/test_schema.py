"""What the database refuses by itself, whoever writes into it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cache_sync.clock import SystemClock
from cache_sync.sql import IntegrityError, write
from core_cis.store import CoreStore

ENTRIES = (
    "INSERT INTO ledger_entries (transaction_id, ledger_account, account_id, amount_cents)"
    " VALUES (1, 'cash_clearing', NULL, 500), (1, 'receivable', 'A', -500)"
)
ONE_ENTRY = (
    "INSERT INTO ledger_entries (transaction_id, ledger_account, account_id, amount_cents)"
    " VALUES (2, 'receivable', 'A', 5)"
)
TRANSACTION = (
    "INSERT INTO ledger_transactions (transaction_id, source, idempotency_key, kind, description, value_date,"
    " posted_at) VALUES (1, 's', 'k', 'adjustment', '', '2026-01-01', '2026-01-01T00:00:00.000000Z')"
)
STATEMENT = (
    "INSERT INTO statements (statement_id, account_id, period_from, period_to, issued_on, due_date, total_cents,"
    " amount_due_cents, body) VALUES ({id}, 'A', {first}, {after}, '2026-02-01', '2026-02-20', 1, 1, x'7b7d')"
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CoreStore]:
    """Return a core with one account, one transaction and one statement."""
    with CoreStore.open(tmp_path, SystemClock()) as opened:
        with write(opened.connection) as connection:
            connection.execute(
                "INSERT INTO customers (customer_id, name, email, email_key, verifier)"
                " VALUES ('C', '', '', '', '')"
            )
            connection.execute("INSERT INTO accounts (account_id, customer_id) VALUES ('A', 'C')")
            connection.execute(ENTRIES)
            connection.execute(TRANSACTION)
            connection.execute(statement("'S'", "'2026-01-01'", "'2026-02-01'"))
            connection.execute(
                "INSERT INTO inbox (intent_id, fingerprint, won, state, account_id, edge_id, incarnation, ordinal,"
                " delivered_by, received_at, intent, outcome)"
                " VALUES ('i', 'f', 1, 'posted', 'A', 'e', 'j', 1, 'e', '', x'', x'')"
            )
            connection.execute(
                "INSERT INTO audit_log (number, at, operator, via, action, subject, reason, detail, hash, signature)"
                " VALUES (1, '', 'o', 'command', 'a', '', '', '{}', x'00', x'00')"
            )
            connection.execute(
                "INSERT INTO case_outcomes (intent_id, fingerprint, state, decided_at, outcome)"
                " VALUES ('i', 'f', 'rejected', '', x'')"
            )
        yield opened


def statement(id_: str, first: str, after: str) -> str:
    """Write the insertion of a statement."""
    return STATEMENT.format(id=id_, first=first, after=after)


INBOX = (
    "INSERT INTO inbox (intent_id, fingerprint, won, state, account_id, edge_id, incarnation, ordinal,"
    " delivered_by, received_at, intent, outcome) VALUES ('i', {print}, {won}, '', '', '', '', 1, '', '', x'', x'')"
)
REFUSED = {
    "a changed entry": "UPDATE ledger_entries SET amount_cents = 501",
    "a deleted entry": "DELETE FROM ledger_entries",
    "a changed transaction": "UPDATE ledger_transactions SET value_date = '2026-01-02'",
    "a deleted transaction": "DELETE FROM ledger_transactions",
    "an entry added to a written transaction": ENTRIES,
    "a transaction without entries": TRANSACTION.replace("(1, 's', 'k'", "(2, 's', 'k2'"),
    "a transaction of one entry": ONE_ENTRY
    + ";"
    + TRANSACTION.replace("(1, 's', 'k'", "(2, 's', 'k2'"),
    "a transaction that does not balance": (
        ENTRIES.replace("(1,", "(2,").replace("500)", "499)", 1)
        + ";"
        + TRANSACTION.replace("(1, 's', 'k'", "(2, 's', 'k2'")
    ),
    "entries without their transaction": ENTRIES.replace("(1,", "(2,"),
    "the same event twice": (
        ENTRIES.replace("(1,", "(2,") + ";" + TRANSACTION.replace("(1, 's'", "(2, 's'")
    ),
    "an entry of nothing": ENTRIES.replace("500", "0").replace("(1,", "(2,"),
    "a receivable of nobody": ENTRIES.replace("'A'", "NULL").replace("(1,", "(2,"),
    "cash of an account": ENTRIES.replace("NULL", "'A'").replace("(1,", "(2,"),
    "a changed statement": "UPDATE statements SET total_cents = 2",
    "a deleted statement": "DELETE FROM statements",
    "a second statement of the same end": statement("'S2'", "'2025-12-01'", "'2026-02-01'"),
    "a second statement of the same begin": statement("'S2'", "'2026-01-01'", "'2026-03-01'"),
    "a statement of no days": statement("'S2'", "'2026-03-01'", "'2026-03-01'"),
    "a changed outcome": "UPDATE inbox SET state = 'rejected'",
    "a deleted outcome": "DELETE FROM inbox",
    "a changed line of the audit log": "UPDATE audit_log SET operator = 'nobody'",
    "a deleted line of the audit log": "DELETE FROM audit_log",
    "a changed outcome of a case": "UPDATE case_outcomes SET state = 'posted'",
    "the same outcome twice": INBOX.format(print="'f'", won=0),
    "a second winner": INBOX.format(print="'g'", won=1),
    "cents that are no integer": "INSERT INTO payments SELECT 'p', 'f', 'A', 'rejected', 1.5, 'USD', '', '', 'office',"
    " '', '', NULL, 0, '', '', NULL",
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_refuses(store: CoreStore, what: str) -> None:
    """The database itself says no, and nothing has changed."""
    before = counts(store)

    def attempt() -> None:
        with write(store.connection) as connection:
            for part in REFUSED[what].split(";"):
                connection.execute(part)

    with pytest.raises(IntegrityError):
        attempt()
    assert counts(store) == before


def counts(store: CoreStore) -> list[tuple[int, ...]]:
    """Sum up what is there."""
    return [
        store.connection.execute(question).fetchone()
        for question in (
            "SELECT count(*), sum(abs(amount_cents)) FROM ledger_entries",
            "SELECT count(*), max(value_date) FROM ledger_transactions",
            "SELECT count(*), sum(total_cents) FROM statements",
            "SELECT count(*), max(state) FROM inbox",
            "SELECT count(*) FROM payments",
        )
    ]


def test_loser_of_an_id_has_its_own_row(store: CoreStore) -> None:
    """One id may have one winner and any number of losers."""
    with write(store.connection) as connection:
        connection.execute(INBOX.format(print="'g'", won=0))
        connection.execute(INBOX.format(print="'h'", won=0))
    assert store.connection.execute("SELECT count(*) FROM inbox").fetchone() == (3,)

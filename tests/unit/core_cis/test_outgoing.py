"""What a transaction publishes at its end, and of whom nothing is published ever again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cache_sync.clock import SystemClock
from cache_sync.publication import Change, Name
from core_cis.outgoing import Outgoing
from core_cis.settings import Utility
from core_cis.store import CoreStore

ACCOUNTS = 1200
FORGOTTEN = 7


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CoreStore]:
    """Return a core with many customers, of whom one was forgotten."""
    utility = Utility(name="Test Light", timezone="UTC")
    with CoreStore.open(tmp_path, SystemClock(), utility=utility) as opened:
        with opened.transaction() as tx:
            tx.connection.executemany(
                "INSERT INTO customers (customer_id, name, email, email_key, verifier)"
                " VALUES (?, '', '', ?, '')",
                [(f"C-{number}", f"{number}@example.org") for number in range(ACCOUNTS)],
            )
            tx.connection.executemany(
                "INSERT INTO accounts (account_id, customer_id) VALUES (?, ?)",
                [(f"A-{number}", f"C-{number}") for number in range(ACCOUNTS)],
            )
            tx.connection.execute(
                "INSERT INTO erasures (customer_id, shard, epoch, seq, erased_at)"
                " VALUES ('C-7', '0', 1, 1, '2026-03-01T00:00:00.000000Z')"
            )
        yield opened


class Counting:
    """A connection that counts how often it is asked who was forgotten."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.asked = 0

    def execute(self, sql: str, *values: Any) -> Any:
        """Count, and execute."""
        self.asked += "erasures" in sql
        return self._connection.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def test_who_was_forgotten_is_asked_for_many_accounts_at_once(store: CoreStore) -> None:
    """Nothing of that account is published, and the others cost no question each."""
    with store.transaction() as tx:
        counting = Counting(tx.connection)
        outgoing = Outgoing(counting, 1)
        for number in range(ACCOUNTS):
            outgoing.put(Change(Name(f"A-{number}", "account", ""), b"{}"))
        outgoing.put(Change(Name("", "utility", ""), b"{}"))
        assert outgoing.flush()
    assert counting.asked <= ACCOUNTS // 500 + 1
    shown = store.connection.execute(
        "SELECT account_id FROM documents WHERE kind = 'account' AND body IS NOT NULL"
    ).fetchall()
    assert {account_id for (account_id,) in shown} == {
        f"A-{number}" for number in range(ACCOUNTS) if number != FORGOTTEN
    }

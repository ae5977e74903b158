"""Whatever is posted, repeated and reversed, the ledger's balances are those of an independent replay."""

import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_cis.bookkeeping import (
    balance_cents,
    post,
    read_ledger,
    read_transactions,
    receivables,
)
from core_cis.domain import ledger
from core_cis.domain.ledger import LedgerTransaction
from core_cis.store import CoreStore

OPERATIONS = 10_000
ACCOUNTS = [f"A-{number}" for number in range(25)]
DAY = date(2026, 3, 10)


class StandingClock:
    """A clock for stamps; it moves with each of them."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 10, tzinfo=UTC)

    def now(self) -> datetime:
        """Tell a later time than before."""
        self.moment += timedelta(milliseconds=1)
        return self.moment

    def boot_seconds(self) -> float:
        """Stand still."""
        return 0.0

    def boot_id(self) -> str:
        """Tell a boot."""
        return "boot"

    async def sleep(self, seconds: float) -> None:
        """Do not wait."""
        raise AssertionError(seconds)


class Workload:
    """Random business events, and their effect on balances kept in the plainest way: one sum an account."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.owed: dict[str, int] = defaultdict(int)
        self.posted: list[tuple[int, LedgerTransaction, str, int]] = []
        self.reversed: set[int] = set()
        self.number = 0

    def event(self) -> tuple[LedgerTransaction, str, int]:
        """Make a new event: its transaction, its account, and what it does to the account."""
        self.number += 1
        account_id = self.rng.choice(ACCOUNTS)
        what = self.rng.random()
        if what < 0.5:
            amount = self.rng.randint(1, 100_000)
            paid = ledger.payment(
                account_id=account_id,
                payment_id=f"p{self.number}",
                source=self.rng.choice(["intent", "office"]),
                amount_cents=amount,
                value_date=DAY,
                description="payment",
            )
            return paid, account_id, -amount
        if what < 0.85:
            lines = [
                (self.rng.choice(sorted(ledger.REVENUE_ACCOUNTS)), self.rng.randint(-5_000, 20_000))
                for _ in range(self.rng.randint(1, 6))
            ]
            charged = ledger.charge(
                account_id=account_id,
                statement_id=f"s{self.number}",
                value_date=DAY,
                description="bill",
                lines=lines,
            )
            if charged is not None:
                return charged, account_id, sum(amount for _, amount in lines)
        amount = self.rng.choice([-1, 1]) * self.rng.randint(1, 9_999)
        adjusted = ledger.adjustment(
            account_id=account_id,
            key=f"a{self.number}",
            amount_cents=amount,
            value_date=DAY,
            description="adjustment",
        )
        return adjusted, account_id, amount

    def step(self, store: CoreStore) -> None:
        """Post a new event, or an old one again, or reverse one."""
        with store.transaction() as tx:
            choice = self.rng.random()
            if choice < 0.1 and self.posted:
                number, transaction, _, _ = self.rng.choice(self.posted)
                again = post(tx, transaction)
                assert (again.transaction_id, again.repeated) == (number, True)
            elif choice < 0.2 and self.posted:
                number, transaction, account_id, effect = self.rng.choice(self.posted)
                undo = ledger.reversal(transaction, value_date=DAY, description="undo")
                posting = post(tx, undo, reverses_transaction_id=number)
                assert posting.repeated == (number in self.reversed)
                if not posting.repeated:
                    self.reversed.add(number)
                    self.owed[account_id] -= effect
            else:
                transaction, account_id, effect = self.event()
                posting = post(tx, transaction)
                self.posted.append((posting.transaction_id, transaction, account_id, effect))
                self.owed[account_id] += effect


def open_books(path: Path) -> CoreStore:
    """Open a core with the workload's accounts."""
    store = CoreStore.open(path, StandingClock())
    with store.transaction() as tx:
        tx.connection.execute(
            "INSERT INTO customers (customer_id, name, email, email_key, verifier)"
            " VALUES ('C', 'C', 'c@example.org', 'c@example.org', 'x')"
        )
        tx.connection.executemany(
            "INSERT INTO accounts (account_id, customer_id) VALUES (?, 'C')",
            [(account_id,) for account_id in ACCOUNTS],
        )
    return store


@pytest.mark.parametrize("seed", [20_260_310])
def test_balances_equal_an_independent_replay(tmp_path: Path, seed: int) -> None:
    """After 10,000 random events, repetitions and reversals, every way to the balances leads to the same cent."""
    workload = Workload(seed)
    with open_books(tmp_path) as store:
        # The subject is the books, not the disk: FULL would wait for it 10,000 times.
        store.connection.execute("PRAGMA synchronous = OFF")
        for _ in range(OPERATIONS):
            workload.step(store)
        transactions = [transaction for _, transaction in read_transactions(store.connection)]
        expected = dict(workload.owed)
        assert receivables(store.connection) == expected
        assert ledger.balances(transactions) == expected
        assert sum(ledger.trial_balance(transactions).values()) == 0
        for account_id, owed in expected.items():
            entries = read_ledger(store.connection, account_id, currency="USD")
            assert entries is not None
            assert entries.balance == balance_cents(store.connection, account_id) == owed
            assert sum(entry.amount for entry in entries.entries) == owed
        assert len(workload.reversed) > OPERATIONS // 20


AMOUNTS = st.integers(min_value=-(10**9), max_value=10**9)


@given(
    lines=st.lists(
        st.tuples(st.sampled_from(sorted(ledger.REVENUE_ACCOUNTS)), AMOUNTS), max_size=12
    )
)
def test_charge_posts_the_sum_of_its_lines(lines: list[tuple[str, int]]) -> None:
    """Whatever a statement's lines are, the receivable moves by their sum, and nothing is posted for nothing."""
    charged = ledger.charge(
        account_id="A", statement_id="s", value_date=DAY, description="bill", lines=lines
    )
    total = sum(amount for _, amount in lines)
    if charged is None:
        assert total == 0
        return
    assert ledger.balances([charged]) == ({"A": total} if total else {})
    undone = ledger.reversal(charged, value_date=DAY, description="undo")
    assert set(ledger.balances([charged, undone]).values()) <= {0}
    assert set(ledger.trial_balance([charged, undone]).values()) == {0}

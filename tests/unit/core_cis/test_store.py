"""Transactions of the core: all or nothing, stamped in order, settings that cannot drift."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from core_cis.bookkeeping import post
from core_cis.domain import ledger
from core_cis.errors import SettingsConflict
from core_cis.settings import Utility
from core_cis.store import CoreStore, Transaction, change_utility


class SetClock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 10, 4, 30, tzinfo=UTC)

    def now(self) -> datetime:
        """Tell the set time."""
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


@pytest.fixture
def clock() -> SetClock:
    """Return a set clock."""
    return SetClock()


@pytest.fixture
def store(tmp_path: Path, clock: SetClock) -> Iterator[CoreStore]:
    """Return a new core in Chicago."""
    with CoreStore.open(tmp_path, clock, utility=Utility(timezone="America/Chicago")) as opened:
        yield opened


def add_customer(store: CoreStore, customer_id: str) -> None:
    """Write a customer in a transaction."""
    with store.transaction() as tx:
        tx.connection.execute(
            "INSERT INTO customers (customer_id, name, email, email_key, verifier) VALUES (?, '', '', ?, '')",
            (customer_id, customer_id),
        )


def customers(store: CoreStore) -> list[str]:
    """List customers."""
    return [row[0] for row in store.connection.execute("SELECT customer_id FROM customers")]


def test_failed_transaction_leaves_nothing(store: CoreStore) -> None:
    """What raises is undone, documents and stamp included; the next transaction works."""

    def fail() -> None:
        with store.transaction() as tx:
            tx.connection.execute(
                "INSERT INTO customers (customer_id, name, email, email_key, verifier)"
                " VALUES ('C', '', '', '', '')"
            )
            tx.publish("A", "account", "", None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert customers(store) == []
    add_customer(store, "D")
    assert customers(store) == ["D"]


def test_savepoint_is_undone_alone(store: CoreStore) -> None:
    """A part that fails takes only its own changes with it."""
    insert = "INSERT INTO customers (customer_id, name, email, email_key, verifier) VALUES (?, '', '', ?, '')"

    def fail(tx: Transaction) -> None:
        with tx.savepoint():
            tx.connection.execute(insert, ("inside", "2"))
            raise ZeroDivisionError

    with store.transaction() as tx:
        tx.connection.execute(insert, ("before", "1"))
        with pytest.raises(ZeroDivisionError):
            fail(tx)
        with tx.savepoint():
            tx.connection.execute(insert, ("after", "3"))
    assert sorted(customers(store)) == ["after", "before"]


def test_stamps_rise_whatever_the_clock_does(
    store: CoreStore, clock: SetClock, tmp_path: Path
) -> None:
    """Standing still, going back, another process: every commit is later than the one before."""
    stamps = []
    with CoreStore.open(tmp_path, clock) as other:
        for opened, step in ((store, 0), (other, 0), (store, -3600), (other, 1), (store, 7200)):
            clock.moment += timedelta(seconds=step)
            with opened.transaction() as tx:
                stamps.append(tx.stamp)
    assert stamps == sorted(set(stamps))


def test_today_is_the_utilitys(store: CoreStore) -> None:
    """At half past four UTC it is still yesterday in Chicago."""
    with store.transaction() as tx:
        assert tx.today == date(2026, 3, 9)


def test_existing_core_keeps_its_settings(
    store: CoreStore, tmp_path: Path, clock: SetClock
) -> None:
    """What a later start brings along does not move the books to another zone."""
    with CoreStore.open(tmp_path, clock, utility=Utility(timezone="UTC")) as again:
        assert again.utility().timezone == "America/Chicago"


def test_zone_cannot_change_under_entries(store: CoreStore) -> None:
    """An empty core may still move; one with entries may not, but may change its name."""
    with store.transaction() as tx:
        change_utility(tx, msgspec.structs.replace(tx.utility, timezone="UTC"))
    add_customer(store, "C")
    with store.transaction() as tx:
        tx.connection.execute("INSERT INTO accounts (account_id, customer_id) VALUES ('A', 'C')")
        post(
            tx,
            ledger.adjustment(
                account_id="A", key="k", amount_cents=1, value_date=tx.today, description=""
            ),
        )
    for change in ({"timezone": "America/Chicago"}, {"currency": "CAD"}):
        with store.transaction() as tx, pytest.raises(SettingsConflict):
            change_utility(tx, msgspec.structs.replace(tx.utility, **change))
    with store.transaction() as tx:
        change_utility(tx, msgspec.structs.replace(tx.utility, name="New Light"))
    assert store.utility().name == "New Light"

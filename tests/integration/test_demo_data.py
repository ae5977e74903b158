"""The demo utility is filled once, whole, and the same way for the same seed and day."""

import itertools
import json
import stat
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from cache_sync.clock import SystemClock
from cache_sync.documents import BODY_TYPES, StatementBody
from cache_sync.packed_bodies import unpack_body
from core_cis.__main__ import main
from core_cis.bookkeeping import balance_cents
from core_cis.demo_data.filling import DEMO_UTILITY, Login, fill_demo, is_filled
from core_cis.errors import CoreNotEmpty
from core_cis.store import CoreStore

TODAY = date(2026, 3, 10)
ACCOUNTS = 7
Documents = dict[tuple[str, str, str], Any]


def open_core(folder: Path) -> CoreStore:
    """Open a core with the demo's settings."""
    return CoreStore.open(folder, SystemClock(), utility=DEMO_UTILITY)


def fill(
    store: CoreStore, seed: int = 1, progress: Callable[[], None] = lambda: None
) -> list[Login]:
    """Fill a core."""
    logins: list[Login] = []
    fill_demo(
        store,
        accounts=ACCOUNTS,
        seed=seed,
        today=TODAY,
        keep_logins=logins.extend,
        progress=progress,
    )
    return logins


def documents(store: CoreStore) -> Documents:
    """Read every document that stands."""
    return {
        (account_id, kind, key): msgspec.json.decode(unpack_body(body), type=BODY_TYPES[kind])
        for account_id, kind, key, body in store.connection.execute(
            "SELECT account_id, kind, key, body FROM documents WHERE body IS NOT NULL"
        )
    }


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Login]]:
    """Return a filled core and its logins."""
    folder = tmp_path_factory.mktemp("demo")
    with open_core(folder) as store:
        return folder, fill(store)


@pytest.fixture(scope="module")
def published(filled: tuple[Path, list[Login]]) -> Documents:
    """Return what the filled core publishes."""
    with open_core(filled[0]) as store:
        return documents(store)


def test_every_account_can_be_shown_and_pay(
    filled: tuple[Path, list[Login]], published: Documents
) -> None:
    """A balance to pay, a saved and verified method, a statement, a login; the ledger says the same."""
    folder, logins = filled
    assert len(logins) == len({login.account_id for login in logins}) == ACCOUNTS
    with open_core(folder) as store:
        for login in logins:
            account = published[login.account_id, "account", ""]
            assert account.balance_cents > 0
            assert account.balance_cents == balance_cents(store.connection, login.account_id)
            assert "verified" in {method.status for method in account.payment_methods}
            latest = published[login.account_id, "statement", account.latest_statement_id]
            assert latest.amount_due_cents == account.billed_balance_cents > 0
            assert latest.period_to == date(2026, 3, 1)


def test_older_statements_are_archived(published: Documents) -> None:
    """Edges hold six months of thirteen; the archive lists the others."""
    accounts = {account_id for account_id, _, _ in published}
    for account_id in accounts:
        held = [
            body.period_to
            for (owner, kind, _), body in published.items()
            if (owner, kind) == (account_id, "statement")
        ]
        archived = published[account_id, "archive", "statements"].statements
        assert (len(held), len(archived)) == (6, 7)
        assert max(statement.period_to for statement in archived) < min(held)


def test_a_year_of_usage_is_there(published: Documents) -> None:
    """Thirteen whole months and the days of this one up to yesterday, every local day with its hours."""
    months: dict[str, list[Any]] = {}
    for (account_id, kind, _), body in published.items():
        if kind == "usage":
            months.setdefault(account_id, []).append(body)
    assert len(months) == ACCOUNTS
    for bodies in months.values():
        assert [body.month for body in sorted(bodies, key=lambda body: body.month)] == [
            *(f"2025-{month:02d}" for month in range(2, 13)),
            "2026-01",
            "2026-02",
            "2026-03",
        ]
        days = sorted((day for body in bodies for day in body.days), key=lambda day: day.day)
        assert [day.day for day in days] == [
            date(2025, 2, 1) + timedelta(offset)
            for offset in range((TODAY - date(2025, 2, 1)).days)
        ]
        by_day = {day.day: day for day in days}
        assert len(by_day[date(2025, 3, 9)].hours) == 23
        assert len(by_day[date(2025, 11, 2)].hours) == 25
        assert 2_000_000 < sum(day.usage_wh for day in days) < 60_000_000


def test_bills_follow_each_other(filled: tuple[Path, list[Login]]) -> None:
    """Registers and balances of thirteen bills form a chain; what is estimated on bills is marked in usage."""
    folder, logins = filled
    estimated_bills = estimated_usage = 0
    with open_core(folder) as store:
        for login in logins:
            bills = [
                msgspec.json.decode(body, type=StatementBody)
                for (body,) in store.connection.execute(
                    "SELECT body FROM statements WHERE account_id = ? ORDER BY period_to",
                    (login.account_id,),
                )
            ]
            assert len(bills) == 13
            for before, bill in itertools.pairwise(bills):
                assert bill.period_from == before.period_to
                assert bill.meters[0].begin_register_wh == before.meters[0].end_register_wh
                assert bill.previous_balance_cents == before.amount_due_cents
            listed = [paid.payment_id for bill in bills for paid in bill.payments]
            assert len(listed) == len(set(listed)) > 0
            estimated_bills += sum(bill.estimated_wh for bill in bills)
        for (account_id, kind, _), body in documents(store).items():
            if kind == "usage" and body.month < "2026-03":
                assert account_id
                estimated_usage += sum(day.estimated_wh for day in body.days)
        (codes,) = store.connection.execute(
            "SELECT count(DISTINCT tariff_code) FROM service_point_tariffs"
        ).fetchone()
    assert estimated_usage == estimated_bills > 0
    assert codes >= 5


def contents(published: Documents) -> list[Any]:
    """Bring documents into an order and leave out what is random in them: ids, verifiers and the time of posting."""
    told = []
    for (account_id, kind, _), body in published.items():
        plain = msgspec.to_builtins(body)
        text = json.dumps(
            {
                name: value
                for name, value in plain.items()
                if name
                not in {
                    "statement_id",
                    "previous_statement_id",
                    "latest_statement_id",
                    "payment_id",
                    "payments",
                    "verifier",
                    "decided_at",
                    "statements",
                }
            },
            sort_keys=True,
        )
        told.append((account_id, kind, text))
    return sorted(told)


def test_the_same_seed_gives_the_same_utility(tmp_path: Path, published: Documents) -> None:
    """Bills, usage and payments are the same to the cent; another seed gives others."""
    with open_core(tmp_path / "again") as store:
        fill(store)
        assert contents(documents(store)) == contents(published)
    with open_core(tmp_path / "other") as store:
        fill(store, seed=2)
        assert contents(documents(store)) != contents(published)


def test_an_interrupted_filling_is_not_taken_for_a_demo(tmp_path: Path) -> None:
    """It is not filled, and it cannot be filled up: the folder has to go."""

    def die() -> None:
        raise KeyboardInterrupt

    with open_core(tmp_path / "core") as store:
        with pytest.raises(KeyboardInterrupt):
            fill(store, progress=die)
        assert store.connection.execute("SELECT count(*) FROM customers").fetchone() == (1,)
        assert not is_filled(store.connection)
        with pytest.raises(CoreNotEmpty, match="interrupted filling"):
            fill(store)


def test_lost_logins_are_not_taken_for_a_demo(tmp_path: Path) -> None:
    """When the logins cannot be kept, nobody could sign in: that is no filled core."""

    def full(_: list[Login]) -> None:
        raise OSError("No space left on device")

    with open_core(tmp_path / "core") as store:
        with pytest.raises(OSError, match="No space"):
            fill_demo(store, accounts=1, seed=1, today=TODAY, keep_logins=full)
        assert not is_filled(store.connection)


def test_the_command_fills_once(tmp_path: Path) -> None:
    """Logins are for their owner only; the second time nothing changes."""
    core = tmp_path / "core"
    command = ["demo-data", "--data", str(core), "--accounts", "2", "--today", "2026-03-10"]
    first = CliRunner().invoke(main, command)
    assert first.exit_code == 0, first.output
    logins = core / "logins.json"
    assert stat.S_IMODE(logins.stat().st_mode) == 0o600
    assert [sorted(login) for login in json.loads(logins.read_bytes())] == [
        ["account_id", "email", "password"]
    ] * 2
    with open_core(core) as store:
        before = documents(store)
    again = CliRunner().invoke(main, command)
    assert (again.exit_code, "is filled already" in again.output) == (0, True)
    with open_core(core) as store:
        assert documents(store) == before


def test_a_strangers_books_are_not_filled(tmp_path: Path) -> None:
    """Made-up customers never mix with others."""
    with open_core(tmp_path / "core") as store:
        with store.transaction() as tx:
            tx.connection.execute(
                "INSERT INTO customers (customer_id, name, email, email_key, verifier)"
                " VALUES ('C-1', 'Ada', 'a@example.org', 'a@example.org', 'verifier')"
            )
        with pytest.raises(CoreNotEmpty):
            fill(store)
        assert store.connection.execute("SELECT count(*) FROM tariffs").fetchone() == (0,)

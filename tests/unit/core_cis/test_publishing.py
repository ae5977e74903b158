"""Domain changes show in the right documents, and only when something changed."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cache_sync.clock import SystemClock
from cache_sync.documents import (
    BODY_TYPES,
    ArchiveBody,
    CredentialBody,
    StatementBody,
    UsageBody,
    encode_body,
    sign_in_key,
)
from cache_sync.packed_bodies import unpack_body
from core_cis.bookkeeping import post
from core_cis.domain import ledger
from core_cis.errors import UnknownAccount
from core_cis.publishing import (
    months_before,
    publish_account,
    publish_credential,
    publish_everything_shown,
    publish_statements,
    publish_usage,
    usage_day,
    withdraw_credential,
)
from core_cis.settings import Utility
from core_cis.store import CoreStore, Transaction, change_utility

ZONE = "America/Chicago"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CoreStore]:
    """Return a core with one customer, account, service point and meter; edges hold 3 months."""
    utility = Utility(name="Test Light", timezone=ZONE, edge_retention_months=3)
    with CoreStore.open(tmp_path, SystemClock(), utility=utility) as opened:
        with opened.transaction() as tx:
            run(
                tx,
                "INSERT INTO customers (customer_id, name, email, email_key, verifier)"
                " VALUES ('C', 'Ada', 'Ada@Example.org', 'ada@example.org', '$argon2id$x')",
                "INSERT INTO accounts (account_id, customer_id) VALUES ('A', 'C')",
                "INSERT INTO service_points (service_point_id, account_id, address)"
                " VALUES ('P', 'A', '1 Elm St')",
                "INSERT INTO meters (meter_id, service_point_id, installed_on, removed_on)"
                " VALUES ('M-old', 'P', '2020-01-01', '2025-01-01'), ('M-new', 'P', '2025-01-01', NULL)",
                "INSERT INTO tariffs (code, effective_from, name, utility, source, body)"
                " VALUES ('T', '2020-01-01', 'Flat 2020', 'U', '', '{}'),"
                "        ('T', '2026-01-01', 'Flat 2026', 'U', '', '{}')",
                "INSERT INTO service_point_tariffs (service_point_id, effective_from, tariff_code)"
                " VALUES ('P', '2020-01-01', 'T')",
            )
        yield opened


def run(tx: Transaction, *statements: str) -> None:
    """Execute statements."""
    for statement in statements:
        tx.connection.execute(statement)


def documents(store: CoreStore, kind: str) -> dict[str, Any]:
    """Read the live documents of a kind by key."""
    rows = store.connection.execute(
        "SELECT key, body FROM documents WHERE kind = ? AND body IS NOT NULL", (kind,)
    )
    return {
        key: msgspec.json.decode(unpack_body(body), type=BODY_TYPES[kind]) for key, body in rows
    }


def head(store: CoreStore) -> int:
    """Tell the newest seq."""
    return int(store.connection.execute("SELECT head FROM shard_head").fetchone()[0])


def issue(tx: Transaction, number: int, *, total_cents: int = 1000) -> None:
    """Write the statement of a month of 2026."""
    body = StatementBody(
        statement_id=f"S-{number}",
        account_id="A",
        issued_on=date(2026, number + 1, 2),
        period_from=date(2026, number, 1),
        period_to=date(2026, number + 1, 1),
        due_date=date(2026, number + 1, 20),
        currency="USD",
        previous_balance_cents=0,
        payments_received_cents=0,
        total_cents=total_cents,
        amount_due_cents=total_cents,
        usage_wh=1,
        estimated_wh=0,
        lines=[],
        meters=[],
        tariffs=[],
    )
    tx.connection.execute(
        "INSERT INTO statements (statement_id, account_id, period_from, period_to, issued_on, due_date,"
        " total_cents, amount_due_cents, body) VALUES (?, 'A', ?, ?, ?, ?, ?, ?, ?)",
        (
            body.statement_id,
            body.period_from.isoformat(),
            body.period_to.isoformat(),
            body.issued_on.isoformat(),
            body.due_date.isoformat(),
            total_cents,
            total_cents,
            encode_body(body),
        ),
    )
    publish_statements(tx, "A")


def test_account_shows_meter_tariff_balance_and_latest_bill(store: CoreStore) -> None:
    """The meter in place, the newest version of the tariff, the ledger's balance, the printed amount due."""
    with store.transaction() as tx:
        issue(tx, 1, total_cents=4000)
        issue(tx, 2, total_cents=5000)
        post(
            tx,
            ledger.adjustment(
                account_id="A", key="k", amount_cents=700, value_date=tx.today, description=""
            ),
        )
        publish_account(tx, "A")
    account = documents(store, "account")[""]
    (point,) = account.service_points
    assert (point.meter_id, point.tariff_name) == ("M-new", "Flat 2026")
    assert (account.balance_cents, account.billed_balance_cents) == (700, 5000)
    assert (account.latest_statement_id, account.due_date) == ("S-2", date(2026, 3, 20))
    assert (account.utility_name, account.timezone) == ("Test Light", ZONE)


def test_unchanged_things_publish_nothing(store: CoreStore) -> None:
    """Publishing again what is the same moves no document and no follower."""
    with store.transaction() as tx:
        issue(tx, 1)
        publish_account(tx, "A")
        publish_credential(tx, "C")
    before = head(store)
    with store.transaction() as tx:
        publish_account(tx, "A")
        publish_statements(tx, "A")
        publish_credential(tx, "C")
        publish_everything_shown(tx)
    assert head(store) == before


def test_unknown_account_is_an_error(store: CoreStore) -> None:
    """Nothing is published for an account that does not exist."""
    with store.transaction() as tx, pytest.raises(UnknownAccount):
        publish_account(tx, "B")


def test_old_statements_move_into_the_archive(store: CoreStore) -> None:
    """With 3 months at edges, the fifth statement moves the first two into the list of what only the core has."""
    with store.transaction() as tx:
        for number in (1, 2, 3):
            issue(tx, number)
    assert sorted(documents(store, "statement")) == ["S-1", "S-2", "S-3"]
    assert documents(store, "archive") == {}
    with store.transaction() as tx:
        issue(tx, 4)
        issue(tx, 5)
    assert sorted(documents(store, "statement")) == ["S-3", "S-4", "S-5"]
    archive: ArchiveBody = documents(store, "archive")["statements"]
    assert [item.statement_id for item in archive.statements] == ["S-2", "S-1"]
    gone = "SELECT count(*) FROM documents WHERE kind = 'statement' AND body IS NULL"
    assert store.connection.execute(gone).fetchone() == (2,)


def test_longer_retention_brings_statements_back(store: CoreStore) -> None:
    """When edges are to hold more, archived statements are published again."""
    with store.transaction() as tx:
        for number in range(1, 7):
            issue(tx, number)
    with store.transaction() as tx:
        change_utility(tx, msgspec.structs.replace(tx.utility, edge_retention_months=24))
        publish_everything_shown(tx)
    assert len(documents(store, "statement")) == 6
    assert documents(store, "archive")["statements"].statements == []


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (date(2026, 3, 31), 1, date(2026, 2, 28)),
        (date(2024, 3, 31), 1, date(2024, 2, 29)),
        (date(2026, 1, 15), 1, date(2025, 12, 15)),
        (date(2026, 1, 15), 24, date(2024, 1, 15)),
        (date(2026, 12, 1), 12, date(2025, 12, 1)),
    ],
)
def test_months_before(day: date, months: int, expected: date) -> None:
    """Months are calendar months, cut to the last day of a shorter one."""
    assert months_before(day, months) == expected


def test_credential_is_found_by_a_hash_of_the_address(store: CoreStore) -> None:
    """The address stands in no key; its case does not matter; every account of the customer is named."""
    with store.transaction() as tx:
        run(tx, "INSERT INTO accounts (account_id, customer_id) VALUES ('B', 'C')")
        publish_credential(tx, "C")
    key = sign_in_key(store.keys.lookup_key_bytes, " ada@EXAMPLE.org")
    credential: CredentialBody = documents(store, "credential")[key]
    assert (credential.account_ids, credential.status) == (["A", "B"], "active")
    assert "example" not in key.lower()


def test_changed_address_withdraws_the_old_key(store: CoreStore) -> None:
    """After a change the old address signs nobody in."""
    with store.transaction() as tx:
        publish_credential(tx, "C")
    with store.transaction() as tx:
        withdraw_credential(tx, "C")
        run(tx, "UPDATE customers SET email = 'ada@new.example', email_key = 'ada@new.example'")
        publish_credential(tx, "C")
    key = sign_in_key(store.keys.lookup_key_bytes, "ada@new.example")
    assert list(documents(store, "credential")) == [key]


def put_day(
    tx: Transaction, day: str, seconds: int, values: list[int | None], codes: list[int | None]
) -> None:
    """Write a day of readings."""
    tx.connection.execute(
        "INSERT INTO interval_blocks (service_point_id, day, start, interval_seconds, values_wh, qualities)"
        " VALUES ('P', ?, 0, ?, ?, ?)",
        (day, seconds, msgspec.msgpack.encode(values), msgspec.msgpack.encode(codes)),
    )


def test_usage_of_a_month(store: CoreStore) -> None:
    """A month's document has its days in order, and goes when they go."""
    with store.transaction() as tx:
        put_day(tx, "2026-01-31", 3600, [10] * 24, [17] * 24)
        put_day(tx, "2026-02-02", 3600, [20] * 24, [17] * 24)
        put_day(tx, "2026-02-01", 3600, [30] * 24, [17] * 24)
        publish_usage(tx, "P", "2026-02")
    usage: UsageBody = documents(store, "usage")["2026-02/P"]
    assert [(day.day.day, day.usage_wh) for day in usage.days] == [(1, 720), (2, 480)]
    with store.transaction() as tx:
        run(tx, "DELETE FROM interval_blocks WHERE day LIKE '2026-02-%'")
        publish_usage(tx, "P", "2026-02")
    assert documents(store, "usage") == {}


def day_of(
    day: date, seconds: int, values: list[int | None], codes: list[int | None] | None = None
) -> Any:
    """Sum up a day."""
    encode = msgspec.msgpack.encode
    return usage_day(day, seconds, encode(values), encode(codes or [17] * len(values)), ZONE)


def test_day_sums_quarters_into_hours() -> None:
    """96 quarter hours are 24 hours; one that is missing makes its hour unknown and the day incomplete."""
    whole = day_of(date(2026, 2, 1), 900, [1] * 96)
    assert (whole.hours, whole.usage_wh, whole.complete) == ([4] * 24, 96, True)
    quarters = [None if number == 5 else 1 for number in range(96)]
    part = day_of(date(2026, 2, 1), 900, quarters)
    assert (part.hours[1], part.usage_wh, part.complete) == (None, 95, False)


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 8), 23), (date(2026, 11, 1), 25)])
def test_clock_change_days(day: date, hours: int) -> None:
    """The day on which clocks change has 23 or 25 hours, and is complete with them."""
    found = day_of(day, 3600, [5] * hours)
    assert (len(found.hours), found.complete) == (hours, True)
    assert not day_of(day, 3600, [5] * (hours - 1)).complete


def test_estimated_part_is_told() -> None:
    """Estimates are counted in the usage and named beside it."""
    codes: list[int | None] = [*[17] * 22, 8, 9]
    day = day_of(date(2026, 2, 1), 3600, [100] * 24, codes)
    assert (day.usage_wh, day.estimated_wh, day.complete) == (2400, 200, True)
    assert day.hours == [*[100] * 22, None, None]
    assert day.estimated_hours == {22: 100, 23: 100}


def test_an_hour_with_an_estimated_part_was_not_measured() -> None:
    """One estimated quarter is enough; an hour that is not known at all is neither."""
    values: list[int | None] = [None if number == 8 else 1 for number in range(96)]
    codes: list[int | None] = [8 if number in {5, 9} else 17 for number in range(96)]
    day = day_of(date(2026, 2, 1), 900, values, codes)
    assert (day.hours[1], day.hours[2], day.estimated_hours) == (None, None, {1: 4})
    assert (day.all_hours[1], day.all_hours[2], day.all_hours[3]) == (4, None, 4)


def test_daily_values_have_no_hours() -> None:
    """One value a day is a sum, not 24 guesses."""
    day = day_of(date(2026, 2, 1), 86_400, [24_000])
    assert (day.hours, day.usage_wh, day.complete) == ([], 24_000, True)

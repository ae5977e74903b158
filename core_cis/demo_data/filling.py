"""
Filling an empty core with the demo's customers, a year of their readings, bills and payments.

Everything goes the way a utility's own data goes: readings are stored and estimated, the billing run makes the
statements month by month, payments are posted by the office. Only the figures are made up.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

import msgspec

from cache_sync.sql import Connection
from core_cis.billing_run import bill_account
from core_cis.credentials import make_verifier
from core_cis.demo_data.load_profile import Home, days_between
from core_cis.demo_data.people import DemoCustomer, demo_customer
from core_cis.demo_data.tariffs import demo_tariffs
from core_cis.domain.calendar import clock_hours, day_start, next_month
from core_cis.domain.metering import (
    QUALITY_MISSING,
    QUALITY_VALID,
    IntervalBlock,
)
from core_cis.errors import CoreNotEmpty
from core_cis.instants import to_text
from core_cis.payment_posting import post_office_payment
from core_cis.publishing import months_before, publish_account, publish_credential
from core_cis.readings import store_blocks
from core_cis.settings import Utility
from core_cis.store import CoreStore, Transaction
from core_cis.tariff_store import TariffShelf, save_tariff

MONTHS = 13
HOUR_SECONDS = 3600

DEMO_UTILITY = Utility(
    name="Northwater Power & Light",
    timezone="America/New_York",
    currency="USD",
    phone="1-800-555-0142",
    edge_retention_months=6,
)


class Login(msgspec.Struct, frozen=True):
    """What a visitor of the demo signs in with."""

    account_id: str
    email: str
    password: str


def fill_demo(
    store: CoreStore,
    *,
    accounts: int,
    seed: int,
    today: date,
    keep_logins: Callable[[list[Login]], None],
    progress: Callable[[], None] = lambda: None,
) -> None:
    """
    Fill an empty core; the same seed and day give the same customers, readings and bills.

    Args:
        accounts: How many customers, each with one account.
        seed: Of everything that is drawn.
        today: Readings end the day before.
        keep_logins: Called when everything else is done: a filling whose logins are lost is not complete.
        progress: Called after each account.

    Raises:
        CoreNotEmpty: There are customers in it already.
    """
    first_day = months_before(today.replace(day=1), MONTHS)
    customers = [demo_customer(number, seed) for number in range(1, accounts + 1)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        verifiers = [pool.submit(make_verifier, customer.password) for customer in customers]
        plans = _begin(store, first_day)
        shelf = TariffShelf(store.connection)
        for index, customer in enumerate(customers):
            with store.transaction() as tx:
                _add_customer(tx, customer, plans[index % len(plans)], verifiers[index], first_day)
                _add_readings(tx, customer, seed, first_day, today)
                _add_history(tx, customer, seed, first_day, today, shelf)
            progress()
    keep_logins(
        [Login(customer.account_id, customer.email, customer.password) for customer in customers]
    )
    _finish(store)


def is_filled(connection: Connection) -> bool:
    """Tell whether a filling reached its end; an interrupted one did not."""
    row = connection.execute(
        "SELECT 1 FROM import_findings WHERE source = ? AND code = ?", _COMPLETE
    ).fetchone()
    return row is not None


# What is remarked on this import, last: it says that everything before it is there too.
_COMPLETE = ("demo data", "complete")


def _begin(store: CoreStore, first_day: date) -> list[str]:
    with store.transaction() as tx:
        if tx.connection.execute("SELECT 1 FROM customers LIMIT 1").fetchone() is not None:
            raise CoreNotEmpty(str(store.data_dir))
        return [save_tariff(tx, tariff) for tariff in demo_tariffs(first_day)]


def _finish(store: CoreStore) -> None:
    with store.transaction() as tx:
        tx.connection.execute(
            "INSERT INTO import_findings (imported_at, source, line, code, detail)"
            " VALUES (?, ?, 0, ?, 'everything was written')",
            (to_text(tx.stamp), *_COMPLETE),
        )


def _add_customer(
    tx: Transaction, customer: DemoCustomer, plan: str, verifier: Future[str], first_day: date
) -> None:
    execute = tx.connection.execute
    execute(
        "INSERT INTO customers (customer_id, name, email, email_key, verifier) VALUES (?, ?, ?, ?, ?)",
        (
            customer.customer_id,
            customer.name,
            customer.email,
            customer.email.casefold(),
            verifier.result(),
        ),
    )
    execute(
        "INSERT INTO accounts (account_id, customer_id, opened_on) VALUES (?, ?, ?)",
        (customer.account_id, customer.customer_id, first_day.isoformat()),
    )
    execute(
        "INSERT INTO service_points (service_point_id, account_id, address, supplied_from) VALUES (?, ?, ?, ?)",
        (
            customer.service_point_id,
            customer.account_id,
            customer.address,
            first_day.isoformat(),
        ),
    )
    execute(
        "INSERT INTO meters (meter_id, service_point_id, installed_on, initial_register_wh) VALUES (?, ?, ?, ?)",
        (
            customer.meter_id,
            customer.service_point_id,
            first_day.isoformat(),
            int(customer.meter_id[-5:]) * 1000,
        ),
    )
    execute(
        "INSERT INTO service_point_tariffs (service_point_id, effective_from, tariff_code) VALUES (?, ?, ?)",
        (customer.service_point_id, first_day.isoformat(), plan),
    )
    tx.connection.executemany(
        "INSERT INTO payment_methods (method_id, account_id, token, type, label, status) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                method.method_id,
                customer.account_id,
                method.token,
                method.type,
                method.label,
                method.status,
            )
            for method in customer.methods
        ],
    )
    publish_account(tx, customer.account_id)
    publish_credential(tx, customer.customer_id)


def _add_readings(
    tx: Transaction, customer: DemoCustomer, seed: int, first_day: date, today: date
) -> None:
    zone = ZoneInfo(tx.utility.timezone)
    random = Random(f"{seed}/gaps/{customer.account_id}")
    home = Home(f"{seed}/home/{customer.account_id}")
    blocks = []
    for day in days_between(first_day, today):
        usage: list[int | None] = list(home.day_wh(day, list(clock_hours(day, zone, HOUR_SECONDS))))
        if random.random() < 0.004:  # noqa: PLR2004 - a meter misses a few hours once or twice a year
            start = random.randrange(len(usage) - 6)
            length = random.randrange(1, 7)
            usage[start : start + length] = [None] * length
        blocks.append(
            IntervalBlock(
                day=day,
                start=day_start(day, zone),
                interval_seconds=HOUR_SECONDS,
                wh=tuple(usage),
                quality=tuple(QUALITY_MISSING if wh is None else QUALITY_VALID for wh in usage),
            )
        )
    store_blocks(tx, customer.service_point_id, blocks, meter_id=customer.meter_id)


def _add_history(
    tx: Transaction,
    customer: DemoCustomer,
    seed: int,
    first_day: date,
    today: date,
    shelf: TariffShelf,
) -> None:
    """Bill month by month; every bill but the last is paid about two weeks later, one in eight only in part."""
    random = Random(f"{seed}/payments/{customer.account_id}")
    month_end = next_month(first_day)
    while month_end <= today:
        statements, refusal = bill_account(
            tx, customer.account_id, month_end - timedelta(days=1), shelf
        )
        assert refusal is None, f"the demo's bills can be made: {refusal}"
        paid_on = month_end + timedelta(days=random.randrange(9, 20))
        following = next_month(month_end)
        for statement in statements:
            amount = statement.amount_due_cents
            if following > today or amount <= 0:
                continue
            part = amount if random.random() >= 0.125 else amount // 2 // 100 * 100 or amount  # noqa: PLR2004
            accepted_at = datetime.combine(paid_on, time(15, 0), UTC)
            post_office_payment(
                tx,
                payment_id=f"office-{statement.statement_id}",
                account_id=customer.account_id,
                amount_cents=part,
                method_id=customer.methods[0].method_id,
                accepted_at=accepted_at,
                value_date=paid_on,
            )
        month_end = following

"""Bill periods follow the calendar, the supply and the readings; a statement adds up."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_sync.documents import MeterRead, PaymentLine, StatementBody
from core_cis.domain.billing import (
    PlannedBill,
    ServicePointBill,
    Supply,
    first_bill,
    make_statement,
    next_bill,
)
from core_cis.domain.calendar import BillPeriod
from core_cis.domain.charges import RatedBill, RatedLine

DAYS = st.dates(date(2020, 1, 1), date(2030, 12, 31))


def day(text: str) -> date:
    """Read a date, such as 03-15, of 2025."""
    return date.fromisoformat(f"2025-{text}")


def supply(first: str, last_read: str | None, end: str | None = None) -> Supply:
    """Make a supply of 2025."""
    return Supply(
        first_day=day(first),
        end_day=day(end) if end else None,
        last_read_day=day(last_read) if last_read else None,
    )


def planned(bill: PlannedBill | None) -> tuple[str, str, bool] | None:
    """Write a planned bill in short."""
    if bill is None:
        return None
    return f"{bill.period.start:%m-%d}", f"{bill.period.end:%m-%d}", bill.prorate


@pytest.mark.parametrize(
    ("given_supply", "through", "expected"),
    [
        (supply("03-01", "12-31"), "03-31", ("03-01", "04-01", True)),
        (supply("03-01", "12-31"), "12-31", ("03-01", "04-01", True)),
        (supply("03-10", "12-31"), "12-31", ("03-10", "04-01", True)),
        (supply("03-01", "12-31"), "03-14", ("03-01", "03-15", True)),
        (supply("03-01", "03-14"), "12-31", ("03-01", "03-15", True)),
        (supply("03-01", "12-31", "03-20"), "12-31", ("03-01", "03-20", True)),
        (supply("03-31", "12-31"), "12-31", ("03-31", "04-01", True)),
        (supply("03-01", "12-31"), "02-28", None),
        (supply("03-01", "02-27"), "12-31", None),
        (supply("03-01", None), "12-31", None),
    ],
)
def test_first_bill(
    given_supply: Supply, through: str, expected: tuple[str, str, bool] | None
) -> None:
    """It ends with the month, the run, the supply or the readings, whichever is first."""
    assert planned(first_bill(given_supply, day(through))) == expected


@pytest.mark.parametrize(
    ("last_to", "cycle_day", "end", "through", "expected"),
    [
        ("04-01", 1, None, "04-30", ("04-01", "05-01", False)),
        ("04-01", 1, None, "04-29", None),
        ("03-15", 15, None, "04-14", ("03-15", "04-15", False)),
        ("01-31", 31, None, "02-27", ("01-31", "02-28", False)),
        ("02-28", 31, None, "03-30", ("02-28", "03-31", False)),
        ("04-01", 1, "04-20", "04-19", ("04-01", "04-20", True)),
        ("04-01", 1, "05-01", "04-30", ("04-01", "05-01", True)),
        ("04-01", 1, "05-02", "04-30", ("04-01", "05-01", False)),
        ("04-20", 1, "04-20", "12-30", None),
    ],
)
def test_next_bill(
    last_to: str,
    cycle_day: int,
    end: str | None,
    through: str,
    expected: tuple[str, str, bool] | None,
) -> None:
    """From cycle day to cycle day, or to the end of supply; only the final one is prorated."""
    plan = next_bill(
        supply("01-01", "12-31", end),
        last_period_to=day(last_to),
        cycle_day=cycle_day,
        through=day(through),
    )
    assert planned(plan) == expected


@given(DAYS, DAYS, DAYS)
def test_bills_cover_every_day_once(first: date, last_read: date, through: date) -> None:
    """Whatever the days, periods follow each other without gap or overlap and none ends after the run."""
    open_supply = Supply(first_day=first, end_day=None, last_read_day=last_read)
    plan = first_bill(open_supply, through)
    assert (plan is None) == (through < first or last_read < first)
    if plan is None:
        return
    assert plan.period.start == first
    cycle_day = plan.period.end.day
    for _ in range(40):
        assert (plan.period.end - through).days <= 1
        following = next_bill(
            open_supply, last_period_to=plan.period.end, cycle_day=cycle_day, through=through
        )
        if following is None:
            break
        assert following.period.start == plan.period.end
        assert 28 <= following.period.days <= 31
        plan = following


MARCH = BillPeriod(day("03-01"), day("04-01"))
APRIL = BillPeriod(day("04-01"), day("05-01"))


def part(period: BillPeriod, *cents: int, usage_wh: int = 300_000) -> ServicePointBill:
    """Make a service point's part with energy lines of some amounts."""
    lines = tuple(
        RatedLine(
            kind="energy",
            code="energy:0:0",
            description="Energy",
            quantity=Decimal(300),
            unit="kWh",
            unit_price=Decimal("0.1"),
            period_from=period.start,
            period_to=period.end,
            exact_amount=Decimal(amount) / 100,
            amount_cents=amount,
        )
        for amount in cents
    )
    bill = RatedBill(
        period=period,
        lines=lines,
        total_cents=sum(cents),
        exact_total=Decimal(sum(cents)) / 100,
        usage_wh=usage_wh,
        estimated_wh=0,
        terms=(),
    )
    read = MeterRead(
        meter_id="M-1",
        service_point_id="SP-1",
        read_from=period.start,
        read_to=period.end,
        begin_register_wh=0,
        end_register_wh=usage_wh,
        usage_wh=usage_wh,
        estimated_wh=0,
        end_read="actual",
    )
    return ServicePointBill("SP-1", bill, read)


def statement(
    period: BillPeriod,
    *parts: ServicePointBill,
    previous: StatementBody | None = None,
    payments: tuple[PaymentLine, ...] = (),
) -> StatementBody:
    """Put a statement together, issued on the day after its period."""
    return make_statement(
        statement_id="st_1",
        account_id="A-1",
        currency="USD",
        period=period,
        issued_on=period.end,
        parts=parts,
        previous=previous,
        payments=payments,
    )


def test_a_statement_adds_up() -> None:
    """Previous balance less payments plus new charges is due three weeks after the day of issue."""
    march = statement(MARCH, part(MARCH, 3000, -500))
    paid = PaymentLine(payment_id="p", value_date=day("04-10"), amount_cents=1000)
    april = statement(APRIL, part(APRIL, 4000), previous=march, payments=(paid,))
    assert (march.total_cents, march.amount_due_cents) == (2500, 2500)
    assert (april.previous_balance_cents, april.payments_received_cents) == (2500, 1000)
    assert april.amount_due_cents == 2500 - 1000 + 4000
    assert (april.issued_on, april.due_date) == (day("05-01"), day("05-22"))
    assert sum(change.amount_cents for change in april.changes) == 1500


def test_a_statement_without_new_charges_explains_itself() -> None:
    """Where nothing was supplied, the balance is carried and the difference still adds up."""
    march = statement(MARCH, part(MARCH, 3000))
    april = statement(APRIL, previous=march)
    assert (april.total_cents, april.amount_due_cents, april.lines) == (0, 3000, [])
    assert sum(change.amount_cents for change in april.changes) == -3000


@given(
    st.lists(st.integers(-10_000, 100_000), min_size=1, max_size=5),
    st.lists(st.integers(-10_000, 100_000), min_size=1, max_size=5),
    st.integers(0, 2_000_000),
    st.integers(0, 2_000_000),
)
def test_changes_add_up_to_the_cent(
    before: list[int], after: list[int], usage_before: int, usage_after: int
) -> None:
    """The reasons for a difference sum to the difference, whatever the two bills are."""
    march = statement(MARCH, part(MARCH, *before, usage_wh=usage_before))
    april = statement(APRIL, part(APRIL, *after, usage_wh=usage_after), previous=march)
    assert sum(change.amount_cents for change in april.changes) == sum(after) - sum(before)

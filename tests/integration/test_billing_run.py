"""The billing run makes each bill once, from readings, tariffs and what was paid, or says why not."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from core_cis.billing_run import BillingReport
from core_cis.errors import UnknownAccount
from tests.integration.utility import SmallUtility, customer_row

# 24 hours of 1 kWh at 10 cents, or 23 on the day that clocks go forward.
DAY_CENTS = 240
MONTH_CENTS = 1000


@pytest.fixture
def utility(tmp_path: Path) -> Iterator[SmallUtility]:
    """Return a utility with a flat tariff: 10 cents a kWh and 10 dollars a month."""
    small = SmallUtility(tmp_path / "core")
    small.tariff()
    yield small
    small.store.close()


def refusals(report: BillingReport) -> list[tuple[str, str]]:
    """Shorten a report's refusals to account and reason."""
    return [(refused.account_id, refused.reason) for refused in report.refused]


def test_amounts_due_follow_payments(utility: SmallUtility) -> None:
    """Previous balance - payments + new charges = due; each payment on one statement; the ledger says the same."""
    utility.customers(customer_row(supplied_from="2025-01-01"))
    utility.read("2025-01-01", "2025-04-30")
    utility.bill("2025-01-31")
    utility.pay("p-1", 5000, "2025-02-10")
    utility.pay("p-2", 1000, "2025-03-01")
    utility.bill("2025-03-31")
    utility.pay("p-3", 2000, "2025-04-02")
    utility.bill("2025-04-30")
    january, february, march, april = utility.statements()
    # March has 743 hours, for clocks go forward on the 9th.
    assert [bill.total_cents for bill in (january, february, march, april)] == [
        31 * DAY_CENTS + MONTH_CENTS,
        28 * DAY_CENTS + MONTH_CENTS,
        31 * DAY_CENTS - 10 + MONTH_CENTS,
        30 * DAY_CENTS + MONTH_CENTS,
    ]
    # The bill of February is issued on March 1: the payment of that day is on it, not on March's.
    assert [
        [payment.payment_id for payment in bill.payments]
        for bill in (january, february, march, april)
    ] == [[], ["p-1", "p-2"], [], ["p-3"]]
    assert january.previous_balance_cents == 0
    for before, bill in ((january, february), (february, march), (march, april)):
        assert bill.previous_balance_cents == before.amount_due_cents
        assert bill.previous_statement_id == before.statement_id
    for bill in (january, february, march, april):
        assert bill.total_cents == sum(line.amount_cents for line in bill.lines)
        assert (
            bill.amount_due_cents
            == bill.previous_balance_cents - bill.payments_received_cents + bill.total_cents
        )
        assert bill.payments_received_cents == sum(paid.amount_cents for paid in bill.payments)
    assert april.amount_due_cents == utility.balance()
    account = utility.documents("account")[""]
    assert (account.balance_cents, account.latest_statement_id) == (
        april.amount_due_cents,
        april.statement_id,
    )


def test_a_late_payment_stands_on_the_next_statement(utility: SmallUtility) -> None:
    """A payment posted after a bill with a value date before it is not lost between statements."""
    utility.customers(customer_row(supplied_from="2025-01-01"))
    utility.read("2025-01-01", "2025-02-28")
    utility.bill("2025-01-31")
    utility.pay("p-drained", 700, "2025-01-20")
    utility.bill("2025-02-28")
    january, february = utility.statements()
    assert january.payments == []
    assert [payment.payment_id for payment in february.payments] == ["p-drained"]
    assert february.amount_due_cents == utility.balance()


def test_billing_twice_makes_no_second_statement(utility: SmallUtility) -> None:
    """A repeated run issues nothing and publishes nothing."""
    utility.customers(customer_row(supplied_from="2025-01-01"))
    utility.read("2025-01-01", "2025-02-28")
    assert len(utility.bill("2025-02-28").issued) == 2
    head = utility.head()
    again = utility.bill("2025-02-28")
    assert (again.issued, again.refused, again.waiting, again.up_to_date) == ([], [], [], 1)
    assert (utility.count("statements"), utility.count("ledger_transactions")) == (2, 2)
    assert utility.head() == head


def test_six_missing_hours_are_estimated_and_marked(utility: SmallUtility) -> None:
    """Lines, totals, the meter's end read and the usage that a customer sees all say what was estimated."""
    utility.customers(customer_row(supplied_from="2025-01-01"))
    missing = [("2025-01-31", hour) for hour in range(18, 24)]
    utility.read("2025-01-01", "2025-01-31", missing=missing)
    report = utility.bill("2025-01-31")
    (bill,) = utility.statements()
    assert report.refused == []
    assert (bill.usage_wh, bill.estimated_wh) == (744_000, 6_000)
    assert [line.estimated for line in bill.lines if line.kind == "energy"] == [True]
    assert [line.estimated for line in bill.lines if line.kind == "fixed"] == [False]
    assert bill.meters[0].end_read == "estimated"
    usage = utility.documents("usage")["2025-01/SP-1"]
    assert (usage.days[30].usage_wh, usage.days[30].estimated_wh) == (24_000, 6_000)
    assert usage.days[29].estimated_wh == 0


def test_a_gap_inside_a_period_leaves_the_end_read_actual(utility: SmallUtility) -> None:
    """Estimated usage in the middle is marked, and the meter was still read at the end."""
    utility.customers(customer_row(supplied_from="2025-01-01"))
    utility.read("2025-01-01", "2025-01-31", missing=[("2025-01-10", 3)])
    utility.bill("2025-01-31")
    (bill,) = utility.statements()
    assert (bill.estimated_wh, bill.meters[0].end_read) == (1_000, "actual")


def test_seven_missing_hours_refuse_one_bill_by_name(utility: SmallUtility) -> None:
    """The bill is refused with service point and hours; every other account is billed."""
    utility.customers(*(customer_row(n, supplied_from="2025-01-01") for n in (1, 2, 3)))
    missing = [("2025-01-10", hour) for hour in range(7)]
    utility.read("2025-01-01", "2025-01-31")
    utility.read("2025-01-01", "2025-01-31", service_point_id="SP-2", missing=missing)
    utility.read("2025-01-01", "2025-01-31", service_point_id="SP-3")
    report = utility.bill("2025-01-31")
    assert [issued.account_id for issued in report.issued] == ["A-1", "A-3"]
    assert refusals(report) == [("A-2", "MissingReadings")]
    assert "service point SP-2: no readings for 7 h" in report.refused[0].detail
    assert "2025-01-10T05:00:00+00:00" in report.refused[0].detail
    assert utility.balance("A-2") == 0
    # The readings come, and the bill with them.
    utility.read("2025-01-10", "2025-01-10", service_point_id="SP-2")
    assert [issued.account_id for issued in utility.bill("2025-01-31").issued] == ["A-2"]


def test_first_and_final_bills_are_prorated(utility: SmallUtility) -> None:
    """Half of April and ten days of June cost their share of the monthly charge, May costs all of it."""
    utility.customers(customer_row(supplied_from="2025-04-16", supplied_to="2025-06-11"))
    utility.read("2025-04-16", "2025-06-30")
    utility.bill("2025-08-31")
    april, may, june = utility.statements()
    assert [
        (bill.period_from.isoformat(), bill.period_to.isoformat()) for bill in (april, june)
    ] == [
        ("2025-04-16", "2025-05-01"),
        ("2025-06-01", "2025-06-11"),
    ]
    # 10 dollars x 15/30, then 10 dollars, then 10 dollars x 10/30 = 3.33.
    assert [
        sum(line.amount_cents for line in bill.lines if line.kind == "fixed")
        for bill in (april, may, june)
    ] == [500, 1000, 333]
    assert june.usage_wh == 240_000


def test_a_new_tariff_version_prices_from_its_day(utility: SmallUtility) -> None:
    """Both versions are on the bill, each for its days, and the monthly charge is shared between them."""
    utility.tariff("0.20", "16", since="2025-04-16")
    utility.customers(customer_row(supplied_from="2025-03-01"))
    utility.read("2025-03-01", "2025-04-30")
    utility.bill("2025-04-30")
    april = utility.statements()[1]
    energy = [line for line in april.lines if line.kind == "energy"]
    assert [(line.period_from.day, line.period_to.day, line.amount_cents) for line in energy] == [
        (1, 16, 15 * DAY_CENTS),
        (16, 1, 15 * 2 * DAY_CENTS),
    ]
    # 10 x 15/30 + 16 x 15/30
    assert sum(line.amount_cents for line in april.lines if line.kind == "fixed") == 1300
    assert [named.effective_from.isoformat() for named in april.tariffs] == [
        "2020-01-01",
        "2025-04-16",
    ]


def test_a_changed_plan_prices_from_the_day_of_the_import(utility: SmallUtility) -> None:
    """Naming another tariff in the customer file moves the service point to it, without touching the past."""
    other = utility.tariff("0.30", "0", plan_code="U", plan_name="Other plan")
    utility.customers(customer_row(supplied_from="2026-03-01"))
    utility.customers(customer_row(supplied_from="2026-03-01", tariff=other))
    utility.read("2026-03-01", "2026-03-31")
    utility.bill("2026-03-31")
    (bill,) = utility.statements()
    # The import's clock stands at March 10.
    assert [(named.code, named.name) for named in bill.tariffs] == [
        ("test-power-t", "Test plan"),
        ("test-power-u", "Other plan"),
    ]
    energy = [line for line in bill.lines if line.kind == "energy"]
    assert [line.period_from.day for line in energy] == [1, 10]
    assert utility.documents("account")[""].service_points[0].tariff_name == "Other plan"


def test_no_tariff_in_force_refuses_by_day(utility: SmallUtility) -> None:
    """A period before the tariff's first day has no price; the refusal names day and way out."""
    late = utility.tariff(since="2025-06-01", plan_code="late")
    utility.customers(customer_row(supplied_from="2025-03-01", tariff=late))
    utility.read("2025-03-01", "2025-03-31")
    report = utility.bill("2025-03-31")
    assert refusals(report) == [("A-1", "BillRefused")]
    assert "2025-03-01" in report.refused[0].detail
    assert "--effective-from" in report.refused[0].detail


@pytest.mark.parametrize("through", ["2025-03-14", "2025-03-31", "2025-06-30"])
def test_a_first_bill_ends_with_the_readings(utility: SmallUtility, through: str) -> None:
    """Without a month's end or the run's before it, the last day read ends the first bill and sets the cycle."""
    utility.customers(customer_row())
    utility.read("2025-03-01", "2025-03-14")
    report = utility.bill(through)
    (bill,) = utility.statements()
    assert (bill.period_from, bill.period_to) == (date(2025, 3, 1), date(2025, 3, 15))
    # 13 days of 24 hours and one of 23 at 10 cents; 10 dollars x 14/31.
    assert bill.total_cents == 14 * DAY_CENTS - 10 + 452
    # What is over by then and was not read is refused, not forgotten.
    assert bool(report.refused) == (through > "2025-04-14")


def test_cycle_day_goes_on_over_short_months(utility: SmallUtility) -> None:
    """A cycle that ends on the 31st ends on a shorter month's last day, and on the 31st again."""
    utility.customers(customer_row(supplied_from="2025-01-10"))
    utility.read("2025-01-10", "2025-01-30")
    utility.bill("2025-01-30")
    utility.read("2025-01-31", "2025-04-29")
    utility.bill("2025-04-29")
    assert [bill.period_to.isoformat() for bill in utility.statements()] == [
        "2025-01-31",
        "2025-02-28",
        "2025-03-31",
        "2025-04-30",
    ]


def test_parts_of_days_begin_and_end_no_bill(utility: SmallUtility) -> None:
    """A file that starts and stops at any hour is billed from its first whole day to its last."""
    utility.customers(customer_row())
    missing = [
        *(("2025-03-01", hour) for hour in range(9)),
        *(("2025-03-14", hour) for hour in range(3, 24)),
    ]
    utility.read("2025-03-01", "2025-03-14", missing=missing)
    report = utility.bill("2025-03-31")
    (bill,) = utility.statements()
    assert report.refused == []
    assert (bill.period_from, bill.period_to) == (date(2025, 3, 2), date(2025, 3, 14))
    assert bill.estimated_wh == 0


def test_registers_follow_each_other(utility: SmallUtility) -> None:
    """Each bill begins with the register that the one before ended with; the first with the meter's own."""
    utility.customers(customer_row(supplied_from="2025-01-01", initial_register_kwh="1234.5"))
    utility.read("2025-01-01", "2025-02-28")
    utility.bill("2025-01-31")
    utility.bill("2025-02-28")
    january, february = (bill.meters[0] for bill in utility.statements())
    assert (january.begin_register_wh, january.end_register_wh) == (1_234_500, 1_978_500)
    assert (february.begin_register_wh, february.end_register_wh) == (1_978_500, 2_650_500)
    assert (february.read_from, february.read_to) == (date(2025, 2, 1), date(2025, 3, 1))


def two_points(**second: str) -> tuple[dict[str, str], dict[str, str]]:
    """Make an account with two service points."""
    first = customer_row(supplied_from="2025-01-01")
    other = customer_row(
        service_point_id="SP-2", meter_id="M-2", address="2 Mill Road", supplied_from=""
    )
    return first, other | second


def test_two_service_points_stand_on_one_statement(utility: SmallUtility) -> None:
    """Both meters, both fixed charges, lines told apart, one amount due."""
    utility.customers(*two_points(supplied_from="2025-01-01"))
    utility.read("2025-01-01", "2025-01-31")
    utility.read("2025-01-01", "2025-01-31", service_point_id="SP-2", wh=2000)
    utility.bill("2025-01-31")
    (bill,) = utility.statements()
    assert [read.meter_id for read in bill.meters] == ["M-1", "M-2"]
    assert {line.service_point_id for line in bill.lines} == {"SP-1", "SP-2"}
    assert bill.total_cents == 31 * 3 * DAY_CENTS + 2 * MONTH_CENTS
    assert bill.usage_wh == 3 * 744_000


def test_a_service_point_without_readings_holds_up_its_bill(utility: SmallUtility) -> None:
    """A bill that would leave out a service point is refused with its name and the way out."""
    utility.customers(*two_points())
    utility.read("2025-01-01", "2025-01-31")
    report = utility.bill("2025-01-31")
    assert report.issued == []
    assert "SP-2 has no readings" in report.refused[0].detail
    assert "supplied_from" in report.refused[0].detail


def test_a_service_point_that_joins_late_is_billed_from_its_first_day(
    utility: SmallUtility,
) -> None:
    """What it used before it was known to billing is caught up with, prorated, not forgotten."""
    first, second = two_points(supplied_from="2025-01-22")
    utility.customers(first)
    utility.read("2025-01-01", "2025-02-28")
    utility.bill("2025-01-31")
    utility.customers(first, second)
    utility.read("2025-01-22", "2025-02-28", service_point_id="SP-2")
    utility.bill("2025-02-28")
    february = utility.statements()[1]
    late = next(read for read in february.meters if read.service_point_id == "SP-2")
    assert (late.read_from, late.usage_wh) == (date(2025, 1, 22), 38 * 24_000)
    # 10 dollars x (10/31 + 28/28).
    fixed = [
        line.amount_cents
        for line in february.lines
        if line.kind == "fixed" and line.service_point_id == "SP-2"
    ]
    assert sum(fixed) == 1323
    assert february.amount_due_cents == utility.balance()


def test_who_waits_is_told_why(utility: SmallUtility) -> None:
    """An account that cannot have a bill yet is not passed over in silence."""
    utility.customers(customer_row(1), customer_row(2, supplied_from="2025-02-01"))
    utility.read("2025-02-01", "2025-02-28", service_point_id="SP-2")
    report = utility.bill("2025-01-31")
    assert (report.issued, report.refused) == ([], [])
    first, second = report.waiting
    assert first.account_id == "A-1"
    assert "SP-1; import readings with: core import green-button" in first.detail
    assert second.account_id == "A-2"
    assert "by 2025-01-31" in second.detail


def test_only_named_accounts_are_billed(utility: SmallUtility) -> None:
    """A name that is none is refused before anything is billed; the same name twice is billed once."""
    utility.customers(customer_row(1), customer_row(2))
    utility.read("2025-01-01", "2025-01-31")
    utility.read("2025-01-01", "2025-01-31", service_point_id="SP-2")
    with pytest.raises(UnknownAccount, match="no account A-9"):
        utility.bill("2025-01-31", "A-2", "A-9")
    assert utility.count("statements") == 0
    assert [issued.account_id for issued in utility.bill("2025-01-31", "A-2", "A-2").issued] == [
        "A-2"
    ]
    assert utility.statements("A-1") == []


def test_a_run_killed_half_way_is_run_again(
    utility: SmallUtility, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account in work is undone as a whole, those before it stand, and the next run makes the rest once."""
    utility.customers(*(customer_row(n, supplied_from="2025-01-01") for n in (1, 2, 3)))
    for number in (1, 2, 3):
        utility.read("2025-01-01", "2025-02-28", service_point_id=f"SP-{number}")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    published = 0

    def publish_then_die(tx: object, account_id: str) -> None:
        nonlocal published
        published += 1
        if published == 2:
            die()

    with monkeypatch.context() as patched:
        patched.setattr("core_cis.billing_run.publish_account", publish_then_die)
        with pytest.raises(KeyboardInterrupt):
            utility.bill("2025-02-28")
    assert [len(utility.statements(f"A-{number}")) for number in (1, 2, 3)] == [2, 0, 0]
    assert utility.balance("A-2") == 0
    report = utility.bill("2025-02-28")
    assert [issued.account_id for issued in report.issued] == ["A-2", "A-2", "A-3", "A-3"]
    assert [utility.balance(f"A-{number}") for number in (1, 2, 3)] == [
        59 * DAY_CENTS + 2 * MONTH_CENTS
    ] * 3


def test_what_changed_adds_up_to_the_difference(utility: SmallUtility) -> None:
    """A bill explains to the cent why it is not the one before."""
    utility.customers(customer_row(supplied_from="2025-01-01"))
    utility.read("2025-01-01", "2025-01-31")
    utility.read("2025-02-01", "2025-02-28", wh=1500)
    utility.bill("2025-02-28")
    january, february = utility.statements()
    difference = february.total_cents - january.total_cents
    assert difference != 0
    assert sum(change.amount_cents for change in february.changes) == difference
    assert february.previous_total_cents == january.total_cents
    assert january.changes == []

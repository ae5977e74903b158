"""Real tariffs and real homes' readings go through an empty core, without any demo code, into documents."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from cache_sync.documents import StatementBody
from cache_sync.packed_bodies import unpack_body
from core_cis.domain.green_button import parse_green_button
from core_cis.domain.tariff_files import parse_tariff
from core_cis.importing.readings import ReadingsImported, import_readings
from core_cis.tariff_store import save_tariff
from tests.integration.utility import SmallUtility, customer_row

Core = Callable[[str], SmallUtility]
CLOCK_FINDINGS = [
    ("interval_size", "2011-03-13T09:00:00+00:00"),
    ("duplicate_start", "2011-03-13T17:00:00+00:00"),
    ("zero_duration", "2011-11-06T09:00:00+00:00"),
    ("gap", "2011-11-06T17:00:00+00:00"),
]


@pytest.fixture
def core(tmp_path: Path) -> Core:
    """Return the maker of an empty core in a time zone."""
    return lambda timezone: SmallUtility(tmp_path / "core", timezone)


def take_in(utility: SmallUtility, file: Path, service_point_id: str = "SP-1") -> ReadingsImported:
    """Import a Green Button file."""
    with file.open("rb") as stream:
        feed = parse_green_button(stream)
    with utility.store.transaction() as tx:
        return import_readings(tx, feed, service_point_id=service_point_id, source=file.name)


def take_in_tariff(utility: SmallUtility, file: Path, since: str) -> str:
    """Import a tariff from a day on."""
    tariff = parse_tariff(file.read_bytes(), effective_from=date.fromisoformat(since))
    with utility.store.transaction() as tx:
        return save_tariff(tx, tariff)


def check(bill: StatementBody) -> None:
    """Check what holds for every statement."""
    assert bill.total_cents == sum(line.amount_cents for line in bill.lines)
    assert bill.usage_wh == sum(read.usage_wh for read in bill.meters)
    for line in bill.lines:
        exact = Decimal(line.quantity) * Decimal(line.unit_price) * 100
        # Quantities are printed with six places; the amount was computed before they were cut.
        assert abs(exact - line.amount_cents) <= Decimal("0.51"), line


def test_a_stranger_is_billed(core: Core, shared_data: Path) -> None:
    """His CSV, a real tariff and a real fortnight become the bill that the documents table holds."""
    utility = core("America/New_York")
    key = take_in_tariff(
        utility, shared_data / "tariffs" / "peco-rate-r-residential.json", "2012-01-01"
    )
    utility.customers(customer_row(tariff=key, initial_register_kwh="100"))
    done = take_in(utility, shared_data / "greenbutton" / "openespi_test_usage_data.xml")
    assert (done.intervals, done.days, done.interval_seconds) == (1340, 14, 900)
    report = utility.bill("2012-03-14")
    assert (len(report.issued), report.refused) == (1, [])
    (bill,) = utility.statements()
    check(bill)
    assert (bill.period_from, bill.period_to) == (date(2012, 3, 1), date(2012, 3, 15))
    # One quarter hour was estimated by the meter's reader already (quality 8 in the file).
    assert (bill.usage_wh, bill.estimated_wh) == (done.usage_wh, 282)
    assert bill.meters[0].begin_register_wh == 100_000
    assert bill.meters[0].end_register_wh == 100_000 + done.usage_wh
    # Flat price: rate and adjustment of every kWh, and 14 of the month's 31 days of the customer charge.
    kwh = Decimal(done.usage_wh) / 1000
    energy = (kwh * (Decimal("0.10276") + Decimal("0.13130")) * 100).quantize(Decimal(1))
    fixed = (Decimal("11.30") * 14 / 31 * 100).quantize(Decimal(1))
    assert bill.total_cents == bill.amount_due_cents == utility.balance() == energy + fixed
    assert bill.tariffs[0].effective_from == date(2012, 1, 1)
    assert bill.tariffs[0].source
    usage = utility.documents("usage")["2012-03/SP-1"]
    assert (len(usage.days), usage.timezone) == (14, "America/New_York")
    assert len(usage.days[10].hours) == 23
    assert utility.bill("2012-03-14").issued == []
    utility.store.close()


@pytest.mark.parametrize(
    "home",
    [
        "Coastal_Single_Family",
        "Desert_Multi_Family",
        "Inland_Single_Family",
        "Mountain_Single_family",
    ],
)
def test_a_home_is_billed_for_a_year(core: Core, shared_data: Path, home: str) -> None:
    """A year in Pacific time under time of use: twelve bills, bad hours told, the few missing estimated."""
    utility = core("America/Los_Angeles")
    key = take_in_tariff(utility, shared_data / "tariffs" / "sce-tou-d-4-9pm.json", "2010-01-01")
    utility.customers(customer_row(tariff=key))
    done = take_in(utility, shared_data / "greenbutton" / f"{home}.xml")
    assert [(finding.rule, finding.start) for finding in done.findings] == CLOCK_FINDINGS
    report = utility.bill("2011-12-31")
    assert report.refused == []
    bills = utility.statements()
    assert [(bill.period_from.month, bill.period_from.day) for bill in bills] == [
        (month, 1) for month in range(1, 13)
    ]
    for bill in bills:
        check(bill)
    estimated = {bill.period_from.month for bill in bills if bill.estimated_wh}
    assert estimated == {3, 11}
    assert sum(bill.usage_wh - bill.estimated_wh for bill in bills) == done.usage_wh
    assert bills[-1].amount_due_cents == utility.balance()
    registers = [
        (bill.meters[0].begin_register_wh, bill.meters[0].end_register_wh) for bill in bills
    ]
    assert [end for _, end in registers[:-1]] == [begin for begin, _ in registers[1:]]
    head = utility.head()
    assert take_in(utility, shared_data / "greenbutton" / f"{home}.xml").conflicts == []
    assert utility.head() == head
    utility.store.close()


def test_every_tariff_bills_a_month(core: Core, shared_data: Path) -> None:
    """All real tariffs are imported into one core, and the run bills an account under each."""
    files = sorted((shared_data / "tariffs").glob("*.json"))
    assert len(files) == 46
    utility = core("America/New_York")
    keys = [take_in_tariff(utility, file, "2025-01-01") for file in files]
    assert len(set(keys)) == 46
    utility.customers(
        *(
            customer_row(number, tariff=key, supplied_from="2025-07-01")
            for number, key in enumerate(keys, 1)
        )
    )
    for number in range(1, 47):
        utility.read("2025-07-01", "2025-07-31", service_point_id=f"SP-{number}", wh=1200)
    report = utility.bill("2025-07-31")
    assert (report.refused, report.waiting, len(report.issued)) == ([], [], 46)
    for number, (key, file) in enumerate(zip(keys, files, strict=True), 1):
        (bill,) = utility.statements(f"A-{number}")
        check(bill)
        assert (bill.usage_wh, bill.period_to - bill.period_from) == (892_800, timedelta(31)), file
        assert [named.code for named in bill.tariffs] == [key]
        kwh = [Decimal(line.quantity) for line in bill.lines if line.kind == "energy"]
        assert abs(sum(kwh, Decimal(0)) * 1000 - 892_800) < 1, file
        # No US home pays less than 5 or more than 70 cents for a kWh in all.
        assert 4_464 < bill.total_cents < 62_496, file
        account = utility.documents("account", f"A-{number}")[""]
        assert account.balance_cents == bill.total_cents
    utility.store.close()


def test_a_published_statement_is_the_stored_one(core: Core, shared_data: Path) -> None:
    """What edges get is byte for byte what the books keep."""
    utility = core("America/New_York")
    key = take_in_tariff(utility, shared_data / "tariffs" / "pge-e-1.json", "2012-01-01")
    utility.customers(customer_row(tariff=key))
    take_in(utility, shared_data / "greenbutton" / "openespi_test_usage_data.xml")
    utility.bill("2012-12-31")
    ((stored, published),) = utility.store.connection.execute(
        "SELECT s.body, d.body FROM statements s JOIN documents d ON d.kind = 'statement' AND d.key = s.statement_id"
    ).fetchall()
    assert stored == unpack_body(published)
    assert msgspec.json.decode(stored, type=StatementBody) == utility.statements()[0]
    utility.store.close()

"""Tariffs and readings come in or are refused by field and line; the billing command says what it did."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from cache_sync.clock import SystemClock
from core_cis.__main__ import main
from core_cis.errors import TariffConflict
from core_cis.instants import local_date
from core_cis.settings import Utility
from core_cis.store import change_utility
from tests.integration.utility import SmallUtility, customer_row, tariff_json

GREEN_BUTTON = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:espi="http://naesb.org/espi">
<entry><link rel="self" href="/MeterReading/1"/><link rel="related" href="/ReadingType/1"/>
<content><espi:MeterReading/></content></entry>
<entry><link rel="self" href="/ReadingType/1"/><content><espi:ReadingType>
<espi:flowDirection>1</espi:flowDirection><espi:intervalLength>{length}</espi:intervalLength>
<espi:powerOfTenMultiplier>0</espi:powerOfTenMultiplier><espi:uom>{unit}</espi:uom>
</espi:ReadingType></content></entry>
<entry><content><espi:IntervalBlock>{readings}</espi:IntervalBlock></content></entry>
</feed>
"""
# Midnight of 2025-01-01 in New York.
MIDNIGHT = 1735707600


def green_button(*values: int | str, unit: int = 72, length: int = 3600) -> bytes:
    """Write an hourly Green Button file from that midnight on."""
    readings = "\n".join(
        f"<espi:IntervalReading><espi:timePeriod><espi:duration>{length}</espi:duration>"
        f"<espi:start>{MIDNIGHT + length * index}</espi:start></espi:timePeriod>"
        f"<espi:value>{value}</espi:value></espi:IntervalReading>"
        for index, value in enumerate(values)
    )
    return GREEN_BUTTON.format(unit=unit, length=length, readings=readings).encode()


@pytest.fixture
def utility(tmp_path: Path) -> Iterator[SmallUtility]:
    """Return a utility with a tariff."""
    small = SmallUtility(tmp_path / "core")
    small.tariff()
    yield small
    small.store.close()


def test_tariffs_are_named_by_key(utility: SmallUtility) -> None:
    """The answer gives the key that customer files name; the same file again changes nothing."""
    data = tariff_json(utility_id="North & South", plan_code="R 1")
    done = utility.run_import("tariff", data, "--effective-from", "2025-05-01", "--json")
    assert json.loads(done.output) == {
        "tariff": "north-south-r-1",
        "effective_from": "2025-05-01",
    }
    before = utility.books()
    again = utility.run_import("tariff", data, "--effective-from", "2025-05-01")
    assert "name it as north-south-r-1 in the column tariff" in again.output
    assert utility.books() == before


def test_a_renamed_plan_is_published_to_its_accounts(utility: SmallUtility) -> None:
    """The overview shows the plan's newest name without waiting for a bill."""
    utility.customers(customer_row())
    utility.tariff(since="2026-01-01", plan_name="Renamed plan")
    assert utility.documents("account")[""].service_points[0].tariff_name == "Renamed plan"


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"", ""),
        (b"{", ""),
        (b"[]", ""),
        (b"\xff\xfe", ""),
        (tariff_json(price="cheap"), "energy.periods[0].tiers[0].rate"),
        (tariff_json().replace(b'"periods"', b'"perods"'), "energy"),
    ],
)
def test_a_broken_tariff_names_the_field(utility: SmallUtility, data: bytes, where: str) -> None:
    """What is not a tariff is refused with the field and the rule."""
    before = utility.books()
    done = utility.run_import("tariff", data)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.exception
    assert f"Error: {where}" in done.output
    assert utility.books() == before


def test_a_tariff_in_another_currency_is_refused(utility: SmallUtility) -> None:
    """Dollars are not billed as euros."""
    with utility.store.transaction() as tx:
        change_utility(tx, Utility(timezone="America/New_York", currency="EUR"))
    with pytest.raises(TariffConflict, match="is in USD, the books are in EUR"):
        utility.tariff()


def test_readings_come_in_with_their_usage(utility: SmallUtility) -> None:
    """Valid hours are stored and published; a bad one is kept out, told by line, and kept as a finding."""
    utility.customers(customer_row())
    values: list[int | str] = [500] * 48
    values[3] = -5
    data = green_button(*values)
    done = utility.run_import("green-button", data, "--service-point", "SP-1")
    assert done.exit_code == 0, done.output
    assert "SP-1: 47 readings of 60 minutes on 2 days, 23.500 kWh" in done.output
    assert "negative_value at 2025-01-01T08:00:00+00:00" in done.output
    assert "kWh, 2025-01-01 to 2025-01-02" in done.output
    assert "Next: core bill --through 2025-01-02" in done.output
    assert utility.store.connection.execute(
        "SELECT source, code, service_point_id, start FROM import_findings"
    ).fetchall() == [("in put.file", "negative_value", "SP-1", MIDNIGHT + 3 * 3600)]
    usage = utility.documents("usage")["2025-01/SP-1"]
    assert [(day.usage_wh, day.complete) for day in usage.days] == [(11_500, False), (12_000, True)]
    assert usage.days[0].hours[3] is None
    before = utility.books()
    again = utility.run_import("green-button", data, "--service-point", "SP-1", "--json")
    assert json.loads(again.output)["conflicts"] == []
    assert utility.books() == before


def test_a_stored_measurement_stands(utility: SmallUtility) -> None:
    """Another value for a measured hour is reported as a conflict and changes nothing; a missing hour is filled."""
    utility.customers(customer_row())
    utility.run_import(
        "green-button", green_button(500, -1, *[500] * 22), "--service-point", "SP-1"
    )
    done = utility.run_import(
        "green-button", green_button(501, 502, *[500] * 22), "--service-point", "SP-1"
    )
    assert "conflict at 2025-01-01T05:00:00+00:00: 500 Wh are stored, the file says 501 Wh" in (
        done.output
    )
    day = utility.documents("usage")["2025-01/SP-1"].days[0]
    assert day.hours[:3] == [500, 502, 500]


BOMB = b"""<?xml version="1.0"?><!DOCTYPE feed [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>
<feed xmlns="http://www.w3.org/2005/Atom">&b;</feed>"""


@pytest.mark.parametrize(
    ("data", "service_point", "said"),
    [
        (green_button(500), "SP-9", "no service point SP-9; import its customer first"),
        (green_button(500, unit=38), "SP-1", "uom 38; only 72 (Wh) is read (unit)"),
        (green_button(500, length=7000), "SP-1", "(interval_length)"),
        (green_button(), "SP-1", "(no_readings)"),
        (green_button(-1, -2), "SP-1", "(no_readings)"),
        (BOMB, "SP-1", "document types and entities are not accepted (document_type)"),
        (b"", "SP-1", "the file is empty (not_xml)"),
        (b"<feed><entry></feed>", "SP-1", "line 1: mismatched tag (not_xml)"),
        (b"customer_id,name", "SP-1", "line 1: "),
        (green_button(*[1] * 96, length=900), "SP-1", "other intervals than the stored ones"),
    ],
)
def test_unusable_readings_change_nothing(
    utility: SmallUtility, data: bytes, service_point: str, said: str
) -> None:
    """A file that cannot be used is refused with the reason."""
    utility.customers(customer_row())
    utility.read("2025-01-01", "2025-01-01")
    before = utility.books()
    done = utility.run_import("green-button", data, "--service-point", service_point)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.exception
    assert said in done.output
    assert utility.books() == before


def test_days_that_are_not_over_cannot_be_billed(utility: SmallUtility) -> None:
    """A day in the future is refused with the latest day that can be billed."""
    done = CliRunner().invoke(
        main, ["bill", "--data", str(utility.data_dir), "--through", "2999-01-01"]
    )
    assert done.exit_code == 2
    assert "2999-01-01 is not over yet" in done.output


def test_a_late_bill_is_issued_today(utility: SmallUtility) -> None:
    """Nobody is overdue the moment a bill is made; --issued-on says otherwise, never before the period's end."""
    utility.customers(*(customer_row(n, supplied_from="2025-01-01") for n in (1, 2, 3)))
    for number in (1, 2, 3):
        utility.read("2025-01-01", "2025-01-31", service_point_id=f"SP-{number}")
    today = local_date(SystemClock().now(), "America/New_York")
    given = (("A-1", (), today), ("A-2", ("--issued-on", "2025-02-03"), date(2025, 2, 3)))
    for account, options, issued_on in (
        *given,
        ("A-3", ("--issued-on", "2024-01-01"), date(2025, 2, 1)),
    ):
        command = ["bill", "--data", str(utility.data_dir), "--through", "2025-01-31"]
        done = CliRunner().invoke(main, [*command, "--account", account, *options])
        assert done.exit_code == 0, done.output
        (made,) = utility.statements(account)
        assert (made.issued_on, made.due_date) == (issued_on, issued_on + timedelta(days=21))


def test_bill_says_what_it_did(utility: SmallUtility) -> None:
    """Statements, refusals and who waits, as text and as JSON; a refusal shows in the exit code."""
    utility.customers(*(customer_row(n, supplied_from="2025-01-01") for n in (1, 2, 3)))
    utility.read("2025-01-01", "2025-01-31")
    gap = [("2025-01-10", hour) for hour in range(7)]
    utility.read("2025-01-01", "2025-01-31", service_point_id="SP-2", missing=gap)
    bill = ["bill", "--data", str(utility.data_dir), "--through", "2025-01-31"]
    done = CliRunner().invoke(main, bill)
    assert done.exit_code == 1
    assert "A-1  2025-01-01 to 2025-01-31  new charges        84.40" in done.output
    assert "A-2  2025-01-01 to 2025-01-31  REFUSED: service point SP-2" in done.output
    assert "A-3  not yet: no whole day was read at service point SP-3" in done.output
    again = CliRunner().invoke(main, [*bill, "--account", "A-1", "--json"])
    assert again.exit_code == 0
    assert json.loads(again.output) == {
        "through": "2025-01-31",
        "issued": [],
        "refused": [],
        "waiting": [],
        "up_to_date": 1,
    }
    unknown = CliRunner().invoke(main, [*bill, "--account", "A-9"])
    assert (unknown.exit_code, "no account A-9" in unknown.output) == (1, True)

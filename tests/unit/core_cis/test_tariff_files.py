import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from core_cis.domain.tariff_files import parse_tariff
from core_cis.domain.tariffs import tariff_in_force, tariff_key, tariff_to_json
from core_cis.errors import InvalidTariff


def refusal(document: Any) -> tuple[str, str]:
    """Return path and rule of the error that a document gives."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(InvalidTariff) as found:
        parse_tariff(data)
    return found.value.path, found.value.rule


def test_a_tariff_is_read(make_document: Any) -> None:
    """Names, dates, prices and the source are where the rest of the core looks for them."""
    document = make_document(
        [("0.10", "300"), ("0.20", None)],
        fixed_charges=[{"amount": "12", "unit": "$/month"}],
        source_documents=[
            {"url": "https://example.com/news", "role": "verification"},
            {"url": "https://example.com/rates.pdf", "role": "rate_sheet", "locator": "Sheet 7"},
        ],
    )
    tariff = parse_tariff(json.dumps(document).encode())
    assert (tariff.utility, tariff.plan_code, tariff.name) == ("Test Power", "T", "Test plan")
    assert tariff.effective_from == date(2025, 1, 1)
    assert tariff.energy_periods[0].tiers[0].limit == Decimal(300)
    assert tariff.source is not None
    assert (tariff.source.url, tariff.source.title) == ("https://example.com/rates.pdf", "Sheet 7")
    assert tariff_key(tariff) == "test-power-t"


def test_a_tariff_survives_the_store(make_document: Any) -> None:
    """What is stored as JSON is read back equal, again and again."""
    tariff = parse_tariff(json.dumps(make_document([("0.10", None)])).encode())
    assert parse_tariff(tariff_to_json(tariff)) == tariff


def test_the_effective_date_can_be_overridden(make_document: Any) -> None:
    """The given day replaces both dates, also after the store."""
    document = make_document([("0.10", None)], effective_range={"start": "2026-06-01", "end": None})
    tariff = parse_tariff(json.dumps(document).encode(), effective_from=date(2025, 3, 1))
    again = parse_tariff(tariff_to_json(tariff))
    assert again.effective_from == date(2025, 3, 1)
    assert again.effective_until is None
    assert again == tariff


def test_the_latest_version_that_has_started_is_in_force(make_document: Any) -> None:
    """A day before every start has no tariff."""
    data = json.dumps(make_document([("0.10", None)])).encode()
    versions = [parse_tariff(data, effective_from=date(2025, month, 1)) for month in (6, 1, 3)]
    assert tariff_in_force(versions, date(2024, 12, 31)) is None
    assert tariff_in_force(versions, date(2025, 3, 1)) == versions[2]
    assert tariff_in_force(versions, date(2027, 1, 1)) == versions[0]


def test_a_plan_without_code_gets_one_from_its_name(make_document: Any) -> None:
    """Utilities often give none; a customer file must name the plan all the same."""
    document = make_document([("0.10", None)])
    document["identity"] = {
        "utility_id": "City Light & Power",
        "plan_code": "",
        "plan_name": "R-1 (A)",
    }
    tariff = parse_tariff(json.dumps(document).encode())
    assert (tariff.plan_code, tariff_key(tariff)) == ("r-1-a", "city-light-power-r-1-a")


def test_a_paper_source_is_a_title_and_no_link(make_document: Any) -> None:
    """What is no web address is never made a link of."""
    for url in ("Tariff book, sheet 91200-E", "javascript:alert(1)"):
        document = make_document([("0.10", None)], source_documents=[{"url": url, "role": "x"}])
        source = parse_tariff(json.dumps(document).encode()).source
        assert source is not None
        assert (source.url, source.title) == ("", url)


def test_numbers_written_as_numbers_stay_exact(make_document: Any) -> None:
    """0.1 without quotes is a tenth, not the nearest binary fraction."""
    data = json.dumps(make_document([("0.10", None)])).replace('"0.10"', "0.1").encode()
    tariff = parse_tariff(data)
    assert tariff.energy_periods[0].tiers[0].rate == Decimal("0.1")
    assert parse_tariff(tariff_to_json(tariff)) == tariff


def test_unknown_fields_of_priced_parts_are_kept_for_refusal(make_document: Any) -> None:
    """What may change the bill is not dropped in silence; an empty field says nothing."""
    document = make_document([("0.10", None)], fuel_rider={"rate": "0.01"}, ratchet=None)
    document["energy"]["periods"][0]["tiers"][0]["demand_max"] = "5"
    tariff = parse_tariff(json.dumps(document).encode())
    assert {unpriced.path for unpriced in tariff.unpriced} == {
        "fuel_rider",
        "energy.periods[0].tiers[0].demand_max",
    }


@pytest.mark.parametrize(
    ("section", "value", "path"),
    [
        ("schema_version", 1, "schema_version"),
        ("identity", None, "identity"),
        ("identity", {"plan_name": 7}, "identity.plan_name"),
        ("effective_range", {"start": "June"}, "effective_range.start"),
        (
            "effective_range",
            {"start": "2025-02-01", "end": "2025-01-01"},
            "effective_range.end",
        ),
        ("energy", {"periods": []}, "energy.periods"),
        ("energy", {"periods": [{"tiers": []}]}, "energy.periods[0].tiers"),
        ("energy", {"periods": [{"tiers": [{"rate": "x"}]}]}, "energy.periods[0].tiers[0].rate"),
        ("energy", {"periods": [{"tiers": [{"rate": "NaN"}]}]}, "energy.periods[0].tiers[0].rate"),
        ("energy", {"periods": [{"tiers": [{"rate": "1e9"}]}]}, "energy.periods[0].tiers[0].rate"),
        ("energy", {"periods": [{"tiers": [{"rate": "1_0"}]}]}, "energy.periods[0].tiers[0].rate"),
        ("energy", {"periods": [{"tiers": [{"rate": 1e7}]}]}, "energy.periods[0].tiers[0].rate"),
        ("energy", {"periods": [{"tiers": [{"rate": True}]}]}, "energy.periods[0].tiers[0].rate"),
        ("energy", {"periods": [{"tiers": [{"rate": None}]}]}, "energy.periods[0].tiers[0].rate"),
        (
            "energy",
            {"periods": [{"tiers": [{"rate": "0.1234567890123"}]}]},
            "energy.periods[0].tiers[0].rate",
        ),
        (
            "energy",
            {"periods": [{"tiers": [{"rate": "1", "max": "0"}, {"rate": "1"}]}]},
            "energy.periods[0].tiers[0].max",
        ),
        (
            "energy",
            {"periods": [{"tiers": [{"rate": "1"}, {"rate": "1"}]}]},
            "energy.periods[0].tiers[0].max",
        ),
        (
            "energy",
            {"periods": [{"tiers": [{"rate": "1", "max": "5"}, {"rate": "1", "max": "5"}]}]},
            "energy.periods[0].tiers[1].max",
        ),
        (
            "energy",
            {
                "periods": [
                    {
                        "tiers": [
                            {"rate": "1", "max": "5", "max_unit": "kWh"},
                            {"rate": "1", "max": "6", "max_unit": "kWh daily"},
                        ]
                    }
                ]
            },
            "energy.periods[0].tiers[1].max_unit",
        ),
        ("schedule", {"weekday": [], "weekend": []}, "schedule.weekday"),
        ("fixed_charges", {"amount": "1"}, "fixed_charges"),
        ("fixed_charges", [{"amount": "1", "unit": ""}], "fixed_charges[0].unit"),
        ("min_charge", {"amount": "-1", "unit": "$/month"}, "min_charge.amount"),
        (
            "demand_charges",
            [{"amount": "1", "unit": "$/kW", "window_minutes": 7}],
            "demand_charges[0].window_minutes",
        ),
        ("taxes", [{"name": "City", "percent": "101"}], "taxes[0].percent"),
        ("unsupported", [{"detail": "nameless"}], "unsupported[0].kind"),
        ("source_documents", [{"url": 5}], "source_documents[0].url"),
    ],
)
def test_errors_name_the_path(make_document: Any, section: str, value: Any, path: str) -> None:
    """Who typed the file finds the place."""
    document = {**make_document([("0.10", None)]), section: value}
    assert refusal(document)[0] == path


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("weekday", [[0] * 24] * 11, "schedule.weekday"),
        ("weekend", [[0] * 24] * 11 + [[0] * 23], "schedule.weekend[11]"),
        ("weekday", [[0] * 24] * 11 + [[0] * 23 + [1]], "schedule.weekday[11][23]"),
        ("weekday", [[0] * 24] * 11 + [[0] * 23 + [-1]], "schedule.weekday[11][23]"),
        ("weekday", [[0] * 24] * 11 + [[0] * 23 + [False]], "schedule.weekday[11][23]"),
        ("holiday_policy", "as_sunday", "schedule.holiday_policy"),
        ("holiday_observance", "next_day", "schedule.holiday_observance"),
        ("holidays", [7], "schedule.holidays[0]"),
    ],
)
def test_schedules_are_whole(make_document: Any, name: str, value: Any, path: str) -> None:
    """Twelve months of 24 hours, each the number of a period that is there."""
    document = make_document([("0.10", None)])
    document["schedule"][name] = value
    assert refusal(document)[0] == path


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"energy": NaN}',
        b'{"energy": {}, "energy": {}}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b" " * 1_000_001,
    ],
)
def test_what_is_no_tariff_is_refused(data: bytes) -> None:
    """Broken, repeated, endless or deeply nested JSON is the file's fault, told as such."""
    refusal(data)

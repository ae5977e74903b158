from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from core_cis.domain.calendar import month_period
from core_cis.domain.charges import IntervalUsage, RegisterUsage
from core_cis.domain.rating import rate
from core_cis.errors import CannotPrice

JUNE = month_period(2025, 6)
FOUR_TO_NINE = "0" * 16 + "1" * 5 + "0" * 3

REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    (
        "unsupported_feature",
        "unsupported[0]",
        {"unsupported": [{"kind": "rider", "detail": "fuel"}]},
    ),
    ("unsupported_feature", "ratchet", {"ratchet": {"months": 11}}),
    (
        "unknown_unit",
        "fixed_charges[0].unit",
        {"fixed_charges": [{"amount": "1", "unit": "$/kVA"}]},
    ),
    ("unknown_unit", "min_charge.unit", {"min_charge": {"amount": "90", "unit": "$/year"}}),
    (
        "unknown_unit",
        "demand_charges[0].unit",
        {"demand_charges": [{"amount": "1", "unit": "$/kVA"}]},
    ),
    (
        "demand_without_demand_data",
        "demand_charges",
        {"demand_charges": [{"amount": "1", "unit": "$/kW"}]},
    ),
]


@pytest.mark.parametrize(("reason", "field", "sections"), REFUSED)
def test_what_has_no_rule_is_refused_by_name(
    make_tariff: Any, new_york: ZoneInfo, reason: str, field: str, sections: dict[str, Any]
) -> None:
    """The reason is a code, the field says where in the tariff."""
    tariff = make_tariff([("0.10", None)], **sections)
    with pytest.raises(CannotPrice) as refusal:
        rate(tariff, RegisterUsage(100_000), JUNE, zone=new_york)
    assert (refusal.value.reason, refusal.value.field) == (reason, field)


def test_a_limit_in_another_unit_is_refused(make_tariff: Any, new_york: ZoneInfo) -> None:
    """A tier in kWh a kW needs a demand that nobody measured."""
    tariff = make_tariff([("0.10", "100"), ("0.20", None)], unit="kWh/kW")
    with pytest.raises(CannotPrice, match="kWh/kW") as refusal:
        rate(tariff, RegisterUsage(1000), JUNE, zone=new_york)
    assert refusal.value.field == "energy.periods[0].tiers[0].max_unit"


def test_usage_above_the_last_tier_is_refused(make_tariff: Any, new_york: ZoneInfo) -> None:
    """A last tier with a limit has no price for more."""
    tariff = make_tariff([("0.10", "100")])
    with pytest.raises(CannotPrice, match="usage_above_last_tier"):
        rate(tariff, RegisterUsage(100_001), JUNE, zone=new_york)


def test_one_figure_under_time_of_use_is_refused(make_tariff: Any, new_york: ZoneInfo) -> None:
    """Nobody knows at what hour it was used; in a season of one price it can be priced."""
    summer_peak = ["0" * 24] * 5 + [FOUR_TO_NINE] * 4 + ["0" * 24] * 3
    tariff = make_tariff([("0.20", None)], [("0.40", None)], weekday=summer_peak)
    with pytest.raises(CannotPrice, match="scalar_usage_under_time_of_use"):
        rate(tariff, RegisterUsage(100_000), JUNE, zone=new_york)
    april = rate(tariff, RegisterUsage(100_000), month_period(2025, 4), zone=new_york)
    assert april.total_cents == 2000


def test_missing_readings_are_refused(
    make_tariff: Any, make_usage: Any, new_york: ZoneInfo
) -> None:
    """Rating estimates nothing: a missing hour or day must have been filled before."""
    tariff = make_tariff([("0.10", None)])
    usage = make_usage(JUNE)
    hole = msgspec.structs.replace(usage.blocks[4], wh=(None, *usage.blocks[4].wh[1:]))
    for blocks in ([*usage.blocks[:4], hole, *usage.blocks[5:]], usage.blocks[1:]):
        with pytest.raises(CannotPrice, match="missing_readings"):
            rate(tariff, IntervalUsage(blocks), JUNE, zone=new_york)


@pytest.mark.parametrize(("window", "seconds"), [(15, 3600), (30, 1200)])
def test_demand_that_the_readings_do_not_tell_is_refused(
    make_tariff: Any, make_usage: Any, new_york: ZoneInfo, window: int, seconds: int
) -> None:
    """Hours do not tell the highest quarter of an hour, nor thirds of an hour the highest half."""
    tariff = make_tariff(
        [("0.10", None)],
        demand_charges=[{"amount": "1", "unit": "$/kW", "window_minutes": window}],
    )
    with pytest.raises(CannotPrice, match="demand_without_demand_data"):
        rate(tariff, make_usage(JUNE, 100, seconds), JUNE, zone=new_york)

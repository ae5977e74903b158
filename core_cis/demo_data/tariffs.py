"""
Residential tariffs of real utilities, typed in as facts.

Prices are dollars as published in each utility's rate sheets (named with each tariff) and collected by the US Utility
Rate Database (OpenEI, CC0-1.0). The demo applies one version of each to the whole of its year, which no utility did:
bills of the demo are correctly computed, not historically true.
"""

import json
from datetime import date

from core_cis.domain.tariff_files import parse_tariff
from core_cis.domain.tariffs import Tariff

_ALL_DAY = "0" * 24
_SUMMER = (6, 7, 8, 9)


def _schedule(year: str, summer: str | None = None) -> list[list[int]]:
    """Lay out 12 months of 24 period numbers: one row for the year, another for June to September."""
    return [
        [int(period) for period in (summer or year if month in _SUMMER else year)]
        for month in range(1, 13)
    ]


def _tariff(
    *,
    utility: str,
    code: str,
    name: str,
    periods: list[list[tuple[str, str, str | None, str]]],
    weekday: list[list[int]],
    weekend: list[list[int]] | None = None,
    fixed: list[tuple[str, str]],
    source: str,
) -> dict[str, object]:
    tiers = [
        [
            {"rate": rate, "adj": adjustment, "max": limit, "max_unit": unit, "sell": None}
            for rate, adjustment, limit, unit in period
        ]
        for period in periods
    ]
    return {
        "schema_version": 0,
        "identity": {
            "utility_id": utility,
            "eiaid": None,
            "jurisdiction": None,
            "plan_code": code,
            "plan_name": name,
            "sector": "residential",
            "is_default_plan": None,
            "tariff_type": "bundled",
        },
        "effective_range": {
            "start": None,
            "end": None,
            "superseded_at": None,
            "scheduled_end": None,
        },
        "energy": {"periods": [{"tiers": period} for period in tiers]},
        "schedule": {
            "weekday": weekday,
            "weekend": weekend or weekday,
            "holiday_policy": "unknown",
        },
        "fixed_charges": [{"amount": amount, "unit": unit} for amount, unit in fixed],
        "min_charge": None,
        "unsupported": [],
        "metering": "none",
        "source_documents": [{"url": "", "role": "rate_sheet", "title": source}],
    }


_PUBLISHED = (
    _tariff(
        utility="PECO Energy Co",
        code="R",
        name="Residential Service",
        periods=[[("0.10276", "0.13130", None, "kWh")]],
        weekday=_schedule(_ALL_DAY),
        fixed=[("11.30", "$/month")],
        source="PECO, Electric Service Tariff, Rate R, effective June 1, 2026",
    ),
    _tariff(
        utility="Pacific Gas & Electric Co",
        code="E-1",
        name="Residential Service, Baseline Region P",
        periods=[
            [("0.32561", "0", "13.5", "kWh daily"), ("0.40702", "0", None, "kWh daily")],
            [("0.32561", "0", "11", "kWh daily"), ("0.40702", "0", None, "kWh daily")],
        ],
        weekday=_schedule("1" * 24, _ALL_DAY),
        fixed=[("0.79343", "$/day")],
        source="Pacific Gas and Electric, Schedule E-1, Cal. P.U.C. Sheet 61362-E",
    ),
    _tariff(
        utility="Southern California Edison Co",
        code="TOU-D-4-9PM",
        name="Time of Use, 4 to 9 p.m.",
        periods=[
            [("0.34666", "0.00842", None, "kWh")],
            [("0.58477", "0.00842", None, "kWh")],
            [("0.46482", "0.00842", None, "kWh")],
            [("0.37515", "0.00842", None, "kWh")],
            [("0.51112", "0.00842", None, "kWh")],
            [("0.33605", "0.00842", None, "kWh")],
        ],
        weekday=_schedule("333333335555555544444333", "000000000000000011111000"),
        weekend=_schedule("333333335555555544444333", "000000000000000022222000"),
        fixed=[("0.794", "$/day")],
        source="Southern California Edison, Schedule TOU-D, Option 4-9 PM, effective June 1, 2026",
    ),
    _tariff(
        utility="Alabama Power Co",
        code="FD",
        name="Family Dwelling Service",
        periods=[
            [("0.134851", "0.0098671", "750", "kWh"), ("0.122851", "0.0098671", None, "kWh")],
            [("0.134851", "0.0108403", "1000", "kWh"), ("0.13738", "0.0108403", None, "kWh")],
        ],
        weekday=_schedule(_ALL_DAY, "1" * 24),
        fixed=[("16", "$/month")],
        source="Alabama Power, Rate FD, effective January 1, 2026",
    ),
    _tariff(
        utility="PacifiCorp (Utah)",
        code="1",
        name="Schedule 1, Residential Service",
        periods=[
            [("0.092814", "0.022158", "400", "kWh"), ("0.119745", "0.02859", None, "kWh")],
            [("0.082136", "0.019615", "400", "kWh"), ("0.105968", "0.025291", None, "kWh")],
        ],
        weekday=_schedule("1" * 24, _ALL_DAY),
        fixed=[("12.16", "$/month")],
        source="Rocky Mountain Power, Utah, Schedule No. 1, effective June 1, 2025",
    ),
    _tariff(
        utility="Consumers Energy Co",
        code="RSP",
        name="Residential Summer On-Peak Basic Service",
        periods=[
            [("0.16647", "0.06655", None, "kWh")],
            [("0.21545", "0.06655", None, "kWh")],
            [("0.16182", "0.06655", None, "kWh")],
        ],
        weekday=_schedule("2" * 24, "000000000000001111100000"),
        weekend=_schedule("2" * 24, _ALL_DAY),
        fixed=[("8.73", "$/month")],
        source="Consumers Energy, Rate RSP, effective January 1, 2025",
    ),
)


def demo_tariffs(effective_from: date) -> list[Tariff]:
    """Give the demo's six tariffs, each in force from the given day."""
    return [
        parse_tariff(json.dumps(tariff).encode(), effective_from=effective_from)
        for tariff in _PUBLISHED
    ]

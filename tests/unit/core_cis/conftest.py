"""Tariffs and readings made to measure, for hand-computed cases."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from core_cis.domain.calendar import BillPeriod
from core_cis.domain.charges import IntervalUsage
from core_cis.domain.metering import IntervalBlock, empty_block
from core_cis.domain.tariff_files import parse_tariff
from core_cis.domain.tariffs import Tariff

MakeDocument = Callable[..., dict[str, Any]]
MakeTariff = Callable[..., Tariff]
MakeBlock = Callable[..., IntervalBlock]
MakeUsage = Callable[..., IntervalUsage]

FLAT_ROW = "0" * 24


def tariff_document(
    *periods: list[tuple[str, str | None]],
    weekday: list[str] | None = None,
    weekend: list[str] | None = None,
    unit: str = "kWh",
    schedule: dict[str, Any] | None = None,
    **sections: Any,
) -> dict[str, Any]:
    """
    Make a tariff file: periods as (price, limit) tiers, schedules as 12 rows of 24 digits.

    One row stands for the whole year; `sections` are added as they are.
    """
    rows = weekday or [FLAT_ROW]
    rows_weekend = weekend or rows
    return {
        "schema_version": 0,
        "identity": {"utility_id": "Test Power", "plan_code": "T", "plan_name": "Test plan"},
        "effective_range": {"start": "2025-01-01", "end": None},
        "energy": {
            "periods": [
                {
                    "tiers": [
                        {"rate": rate, "adj": "0", "max": limit, "max_unit": unit, "sell": None}
                        for rate, limit in tiers
                    ]
                }
                for tiers in periods
            ]
        },
        "schedule": {
            "weekday": _matrix(rows),
            "weekend": _matrix(rows_weekend),
            "holiday_policy": "unknown",
            **(schedule or {}),
        },
        "fixed_charges": [],
        "min_charge": None,
        "unsupported": [],
        "metering": "none",
        "source_documents": [],
        **sections,
    }


def _matrix(rows: list[str]) -> list[list[int]]:
    year = rows * 12 if len(rows) == 1 else rows
    return [[int(digit) for digit in row] for row in year]


@pytest.fixture
def make_document() -> MakeDocument:
    """Return the maker of tariff files."""
    return tariff_document


@pytest.fixture
def make_tariff() -> MakeTariff:
    """Return the maker of tariffs."""

    def make(*periods: list[tuple[str, str | None]], **options: Any) -> Tariff:
        return parse_tariff(json.dumps(tariff_document(*periods, **options)).encode())

    return make


@pytest.fixture
def new_york() -> ZoneInfo:
    """Return a zone whose clocks change."""
    return ZoneInfo("America/New_York")


@pytest.fixture
def make_block(new_york: ZoneInfo) -> MakeBlock:
    """Return the maker of a day's block with the same usage in every interval."""

    def make(day: date, wh: int = 1000, seconds: int = 3600, quality: int = 0) -> IntervalBlock:
        empty = empty_block(day, new_york, seconds)
        count = len(empty.wh)
        return IntervalBlock(day, empty.start, seconds, (wh,) * count, (quality,) * count)

    return make


@pytest.fixture
def make_usage(make_block: MakeBlock) -> MakeUsage:
    """Return the maker of the same usage in every interval of a period."""

    def make(period: BillPeriod, wh: int = 1000, seconds: int = 3600) -> IntervalUsage:
        return IntervalUsage([make_block(day, wh, seconds) for day in period.each_day()])

    return make

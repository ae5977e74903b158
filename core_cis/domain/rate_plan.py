"""
A tariff made ready for rating: which price applies on which day and hour.

A *season* is the set of months in which the same energy prices occur. Energy periods with equal
ladders are one price, whatever their numbers; adjacent tiers of equal price are one tier.
"""

from collections.abc import Sequence
from datetime import date
from functools import lru_cache

import msgspec

from core_cis.domain.holidays import holiday_dates
from core_cis.domain.tariffs import EnergyPeriod, Tariff, Tier

_SATURDAY = 5


class Ladder(msgspec.Struct, frozen=True):
    """
    The tiers of one energy price.

    Attributes:
        period: The number of the first energy period that has this price.
        tiers: Lowest usage first.
    """

    period: int
    tiers: tuple[Tier, ...]


class Season(msgspec.Struct, frozen=True):
    """Months (1 to 12) in which the same prices occur, and the ladders of those."""

    months: tuple[int, ...]
    ladders: tuple[Ladder, ...]


class RatePlan(msgspec.Struct, frozen=True):
    """
    The tariff by day and hour.

    Attributes:
        seasons: In order of their first month.
        season_of_month: For January to December, an index of `seasons`.
        weekday: By month, for each local hour the period number of the price that applies.
        weekend: The same for weekends and holidays priced like them.
        holidays: Names of the holidays that are priced like a weekend.
        holiday_observance: As in the tariff.
    """

    seasons: tuple[Season, ...]
    season_of_month: tuple[int, ...]
    weekday: tuple[tuple[int, ...], ...]
    weekend: tuple[tuple[int, ...], ...]
    holidays: tuple[str, ...]
    holiday_observance: str

    def is_weekend(self, day: date) -> bool:
        """Whether a day is priced by the weekend's schedule."""
        if day.weekday() >= _SATURDAY:
            return True
        if not self.holidays:
            return False
        return day in holiday_dates(day.year, self.holidays, self.holiday_observance)

    def hours(self, day: date) -> tuple[int, ...]:
        """The period number of the price at each local hour of a day, 0 to 23."""
        rows = self.weekend if self.is_weekend(day) else self.weekday
        return rows[day.month - 1]

    def season(self, day: date) -> int:
        """The season a day is in, an index of `seasons`."""
        return self.season_of_month[day.month - 1]


@lru_cache(maxsize=256)
def rate_plan(tariff: Tariff) -> RatePlan:
    """Make a tariff ready for rating."""
    price_of = _prices(tariff.energy_periods)
    weekday = _rows(tariff.schedule.weekday, price_of)
    weekend = _rows(tariff.schedule.weekend, price_of)
    occurring = [frozenset(weekday[month]) | frozenset(weekend[month]) for month in range(12)]
    distinct = list(dict.fromkeys(occurring))
    seasons = tuple(
        Season(
            months=tuple(month + 1 for month in range(12) if occurring[month] == periods),
            ladders=tuple(
                Ladder(period, merge_tiers(tariff.energy_periods[period].tiers))
                for period in sorted(periods)
            ),
        )
        for periods in distinct
    )
    like_weekend = tariff.schedule.holiday_policy == "as_weekend"
    return RatePlan(
        seasons=seasons,
        season_of_month=tuple(distinct.index(periods) for periods in occurring),
        weekday=weekday,
        weekend=weekend,
        holidays=tariff.schedule.holidays if like_weekend else (),
        holiday_observance=tariff.schedule.holiday_observance,
    )


def merge_tiers(tiers: Sequence[Tier]) -> tuple[Tier, ...]:
    """Join adjacent tiers of equal price, which some tariffs list apart."""
    merged: list[Tier] = []
    for tier in tiers:
        if merged and merged[-1].price == tier.price:
            joined = merged.pop()
            merged.append(msgspec.structs.replace(joined, limit=tier.limit))
        else:
            merged.append(tier)
    return tuple(merged)


def _prices(periods: Sequence[EnergyPeriod]) -> list[int]:
    """For each period the first one with an equal ladder."""
    ladders = [
        tuple((tier.price, tier.limit, tier.limit_unit) for tier in merge_tiers(period.tiers))
        for period in periods
    ]
    return [ladders.index(ladder) for ladder in ladders]


def _rows(rows: Sequence[Sequence[int]], price_of: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(price_of[number] for number in row) for row in rows)

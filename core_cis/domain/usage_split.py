"""Usage by season and price: what interval readings or a register read give a tariff to rate."""

from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec

from core_cis.domain.calendar import SECONDS_PER_HOUR, BillPeriod, clock_hours
from core_cis.domain.charges import IntervalUsage, RegisterUsage, Usage
from core_cis.domain.metering import ESTIMATED_QUALITIES, IntervalBlock
from core_cis.domain.money import wh_to_kwh
from core_cis.domain.rate_plan import RatePlan
from core_cis.errors import CannotPrice

_W_PER_KW = 1000

# (season, period number of the price)
PriceKey = tuple[int, int]


class SeasonDays(msgspec.Struct):
    """The days of a season within a term."""

    days: int
    first: BillPeriod
    last: BillPeriod
    months: set[int]

    @property
    def span(self) -> BillPeriod:
        """From the first to the last of the days."""
        return BillPeriod(self.first.start, self.last.end)


class SplitUsage(msgspec.Struct):
    """
    Usage of a term by season and price.

    Attributes:
        seasons: The days of each season of the term, in order.
        kwh: Usage by season and price.
        estimated: The season and price of which some usage was estimated.
    """

    seasons: dict[int, SeasonDays]
    kwh: dict[PriceKey, Decimal]
    estimated: set[PriceKey]


def split_usage(
    plan: RatePlan, usage: Usage, term: BillPeriod, bill: BillPeriod, zone: ZoneInfo
) -> SplitUsage:
    """
    Sort the usage of a term (part or whole of a bill period) by season and price.

    Interval readings go where they were used. A register's usage is shared over the days.

    Raises:
        CannotPrice: A day without readings, or a register's usage under time of use.
    """
    seasons = _season_days(plan, term)
    if isinstance(usage, IntervalUsage):
        return _split_intervals(plan, usage, term, zone, seasons)
    return _split_register(plan, usage, term, bill, seasons)


def peak_kw(usage: Usage, term: BillPeriod, window_minutes: int) -> Decimal:
    """
    The highest demand of a term, kW, averaged over windows that start on the clock.

    Raises:
        CannotPrice: Without a demand register or readings at least as fine as the window.
    """
    if isinstance(usage, RegisterUsage):
        if usage.peak_w is None:
            raise _no_demand("a register read without demand")
        return Decimal(usage.peak_w) / _W_PER_KW
    window_seconds = window_minutes * 60
    peak_wh = 0
    for block in usage.blocks:
        if not term.start <= block.day < term.end:
            continue
        per_window, rest = divmod(window_seconds, block.interval_seconds)
        if per_window == 0 or rest:
            raise _no_demand(
                f"readings of {block.interval_seconds // 60} minutes, demand over {window_minutes}"
            )
        values = [value or 0 for value in block.wh]
        windows = range(0, len(values), per_window)
        peak_wh = max(peak_wh, *(sum(values[at : at + per_window]) for at in windows))
    return wh_to_kwh(peak_wh) * SECONDS_PER_HOUR / window_seconds


def _no_demand(detail: str) -> CannotPrice:
    return CannotPrice("demand_without_demand_data", "demand_charges", detail)


def _season_days(plan: RatePlan, term: BillPeriod) -> dict[int, SeasonDays]:
    seasons: dict[int, SeasonDays] = {}
    for stretch in _month_stretches(term):
        season = plan.season(stretch.start)
        found = seasons.get(season)
        if found is None:
            months = {stretch.start.month}
            seasons[season] = SeasonDays(stretch.days, stretch, stretch, months)
        else:
            found.days += stretch.days
            found.last = stretch
            found.months.add(stretch.start.month)
    return seasons


def _month_stretches(term: BillPeriod) -> list[BillPeriod]:
    """The term cut at the first of each month."""
    firsts = [day for day in term.each_day() if day.day == 1 and day != term.start]
    bounds = [term.start, *firsts, term.end]
    return [BillPeriod(start, end) for start, end in pairwise(bounds)]


def _split_intervals(
    plan: RatePlan,
    usage: IntervalUsage,
    term: BillPeriod,
    zone: ZoneInfo,
    seasons: dict[int, SeasonDays],
) -> SplitUsage:
    blocks = {block.day: block for block in usage.blocks}
    usage_wh: dict[PriceKey, int] = {}
    estimated: set[PriceKey] = set()
    for day in term.each_day():
        block = blocks.get(day)
        if block is None or None in block.wh:
            raise CannotPrice("missing_readings", "usage", f"readings are missing on {day}")
        season, row = plan.season(day), plan.hours(day)
        if len(set(row)) == 1:
            key = (season, row[0])
            usage_wh[key] = usage_wh.get(key, 0) + block.usage_wh
            if not ESTIMATED_QUALITIES.isdisjoint(block.quality):
                estimated.add(key)
        else:
            _add_hours(block, row, zone, season, usage_wh, estimated)
    kwh = {key: wh_to_kwh(value) for key, value in usage_wh.items()}
    return SplitUsage(seasons, kwh, estimated)


def _add_hours(
    block: IntervalBlock,
    row: tuple[int, ...],
    zone: ZoneInfo,
    season: int,
    usage_wh: dict[PriceKey, int],
    estimated: set[PriceKey],
) -> None:
    hours = clock_hours(block.day, zone, block.interval_seconds)
    sums = dict.fromkeys(row, 0)
    for hour, value in zip(hours, block.wh, strict=True):
        sums[row[hour]] += value or 0
    for period, value in sums.items():
        key = (season, period)
        usage_wh[key] = usage_wh.get(key, 0) + value
    if not ESTIMATED_QUALITIES.isdisjoint(block.quality):
        estimated.update(
            (season, row[hour])
            for hour, quality in zip(hours, block.quality, strict=True)
            if quality in ESTIMATED_QUALITIES
        )


def _split_register(
    plan: RatePlan,
    usage: RegisterUsage,
    term: BillPeriod,
    bill: BillPeriod,
    seasons: dict[int, SeasonDays],
) -> SplitUsage:
    if usage.usage_wh < 0:
        raise CannotPrice("negative_usage", "usage", f"{usage.usage_wh} Wh used")
    applying: dict[int, set[int]] = {}
    for day in term.each_day():
        applying.setdefault(plan.season(day), set()).update(plan.hours(day))
    kwh: dict[PriceKey, Decimal] = {}
    for season, periods in applying.items():
        if len(periods) > 1:
            raise CannotPrice(
                "scalar_usage_under_time_of_use",
                "usage",
                "one figure for the period, while prices change by the hour or day",
            )
        share = wh_to_kwh(usage.usage_wh) * seasons[season].days / bill.days
        kwh[season, periods.pop()] = share
    return SplitUsage(seasons, kwh, set(kwh) if usage.estimated else set())

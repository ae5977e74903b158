"""The words on a bill's lines: seasons, times of use and tiers, as the schedule gives them."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

from core_cis.domain.rate_plan import Ladder, RatePlan
from core_cis.domain.tariffs import KWH_DAILY, Tier

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_PEAK_NAMES = {2: ("On-peak", "Off-peak"), 3: ("On-peak", "Mid-peak", "Off-peak")}
_TENTH = Decimal("0.1")
_HOURS_A_DAY = 24
_HOURS_TEXT_MAX = 48


def by_price(ladders: Sequence[Ladder]) -> list[Ladder]:
    """The ladders of a season, the dearest first."""
    return sorted(ladders, key=lambda ladder: (-ladder.tiers[0].price, ladder.period))


@lru_cache(maxsize=4096)
def time_label(plan: RatePlan, season: int, period: int, months: frozenset[int]) -> str:
    """
    What a price's time of use is called, such as `On-peak energy, Mon–Fri 4–9 p.m.`.

    Named by rank of price, where two or three prices differ. The hours are told when they are the
    same in all months billed and fit on a line.
    """
    ranked = by_price(plan.seasons[season].ladders)
    if len(ranked) == 1:
        return "Energy"
    prices = [ladder.tiers[0].price for ladder in ranked]
    names = _PEAK_NAMES.get(len(ranked))
    rank = [ladder.period for ladder in ranked].index(period)
    tell_apart = names is not None and len(set(prices)) == len(prices)
    name = names[rank] if names is not None and tell_apart else f"Period {period + 1}"
    if rank == len(ranked) - 1:
        return f"{name} energy, all other hours"
    hours = _hours_text(plan, period, months)
    return f"{name} energy, {hours}" if 0 < len(hours) <= _HOURS_TEXT_MAX else f"{name} energy"


def season_label(plan: RatePlan, season: int) -> str:
    """The months of a season, such as `June–September`; empty when prices are the same all year."""
    if len(plan.seasons) == 1:
        return ""
    months = plan.seasons[season].months
    starts = [month for month in months if _month_before(month) not in months]
    return ", ".join(_month_range(start, months) for start in starts)


def tier_label(tiers: Sequence[Tier], limits: Sequence[Decimal | None], index: int) -> str:
    """What a tier is called, such as `first 405 kWh (13.5 a day)`; empty without tiers."""
    if len(tiers) == 1:
        return ""
    lower = limits[index - 1] if index else None
    upper = limits[index]
    if upper is None:
        return f"above {_kwh(lower)}"
    tier = tiers[index]
    daily = f" ({_number(tier.limit)} a day)" if tier.limit_unit == KWH_DAILY else ""
    if lower is None:
        return f"first {_kwh(upper)}{daily}"
    return f"{_number(lower)} to {_kwh(upper)}{daily}"


def _number(value: Decimal | None) -> str:
    rounded = (value or Decimal(0)).quantize(_TENTH, rounding=ROUND_HALF_UP)
    return f"{rounded:,}".removesuffix(".0")


def _kwh(value: Decimal | None) -> str:
    return f"{_number(value)} kWh"


def _month_before(month: int) -> int:
    return 12 if month == 1 else month - 1


def _month_range(start: int, months: Sequence[int]) -> str:
    last = start
    while (following := last % 12 + 1) in months and following != start:
        last = following
    first_name, last_name = _MONTHS[start - 1], _MONTHS[last - 1]
    return first_name if start == last else f"{first_name}–{last_name}"


def _hours_text(plan: RatePlan, period: int, months: frozenset[int]) -> str:
    weekdays = {_hours_of(plan.weekday[month - 1], period) for month in months}
    weekends = {_hours_of(plan.weekend[month - 1], period) for month in months}
    if len(weekdays) != 1 or len(weekends) != 1:
        return ""
    weekday, weekend = weekdays.pop(), weekends.pop()
    if weekday == weekend:
        return _ranges_text(weekday)
    holidays = bool(plan.holidays)
    parts = []
    if weekday:
        name = "Mon–Fri except holidays" if holidays else "Mon–Fri"
        parts.append(f"{name} {_ranges_text(weekday)}")
    if weekend:
        name = "Sat–Sun and holidays" if holidays else "Sat–Sun"
        parts.append(f"{name} {_ranges_text(weekend)}")
    return ", ".join(parts)


def _hours_of(row: Sequence[int], period: int) -> tuple[int, ...]:
    return tuple(hour for hour, number in enumerate(row) if number == period)


def _ranges_text(hours: Sequence[int]) -> str:
    if len(hours) == _HOURS_A_DAY:
        return "all day"
    ranges = []
    for start in (hour for hour in hours if (hour - 1) % _HOURS_A_DAY not in hours):
        end = start
        while end % _HOURS_A_DAY in hours:
            end += 1
        ranges.append(_range_text(start, end % _HOURS_A_DAY))
    return " and ".join(ranges)


def _range_text(start: int, end: int) -> str:
    first, first_half = _clock(start)
    last, last_half = _clock(end)
    if first_half == last_half and start < end:
        return f"{first}–{last} {last_half}".rstrip()
    return f"{first} {first_half}".rstrip() + "–" + f"{last} {last_half}".rstrip()


def _clock(hour: int) -> tuple[str, str]:
    if hour == 0:
        return "midnight", ""
    if hour == 12:  # noqa: PLR2004 (noon)
        return "noon", ""
    return str(hour % 12), "a.m." if hour < 12 else "p.m."  # noqa: PLR2004 (noon)

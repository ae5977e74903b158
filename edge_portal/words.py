"""
Money, dates, times, amounts of energy and ages as customers read them, in American English by babel.

Money comes in as integer minor units and never becomes a float. Times are told in the utility's zone; "today" and
"yesterday" are relative to the core's estimated time, never to this machine's clock.
"""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale
from babel.core import get_global
from babel.dates import format_date, get_timezone_name
from babel.numbers import (
    format_currency,
    format_decimal,
    get_currency_precision,
    get_currency_symbol,
)

from edge_portal.views import Freshness

LOCALE: Final = Locale.parse("en_US")
MINUS: Final = "\N{MINUS SIGN}"
NOON: Final = 12
WH_A_KWH: Final = 1000
_TYPED_AMOUNT: Final = re.compile(
    r"(?=[0-9.])(?P<whole>[0-9]{1,3}(?:,[0-9]{3}){1,3}|[0-9]{0,12})(?:\.(?P<fraction>[0-9]{1,4}))?"
)
MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400

zone = lru_cache(maxsize=64)(ZoneInfo)


@lru_cache(maxsize=4096)
def money(cents: int, currency: str) -> str:
    """Write minor units as money: ``$1,234.56``, with a real minus sign before the symbol when negative."""
    exponent = get_currency_precision(currency)
    amount = Decimal(abs(cents)).scaleb(-exponent)
    text = format_currency(amount, currency, locale=LOCALE)
    return f"{MINUS}{text}" if cents < 0 else text


def signed_money(cents: int, currency: str) -> str:
    """Write a change of money with its sign: ``+$12.63``; zero has none."""
    return f"+{money(cents, currency)}" if cents > 0 else money(cents, currency)


@lru_cache(maxsize=1024)
def unit_price(price: str, currency: str) -> str:
    """Write a decimal price per unit with all its digits, and no fewer than money has: ``$0.1124``, ``$11.30``."""
    whole, _, fraction = price.removeprefix("-").partition(".")
    digits = fraction.ljust(get_currency_precision(currency), "0")
    text = get_currency_symbol(currency, locale=LOCALE) + (f"{whole}.{digits}" if digits else whole)
    return f"{MINUS}{text}" if price.startswith("-") else text


def plain_amount(cents: int, currency: str) -> str:
    """Write minor units as a bare number for an input field: ``50.56``."""
    return str(Decimal(cents).scaleb(-get_currency_precision(currency)))


def parse_amount(text: str, currency: str) -> int | None:
    """
    Read an amount that a customer typed (``50``, ``50.56``, ``$1,050.56``) as minor units.

    None when it is not plainly an amount of this currency; never rounds. A comma only parts thousands: ``5,00`` is
    five to some and five hundred to others, so it is nothing.
    """
    exponent = get_currency_precision(currency)
    symbol = get_currency_symbol(currency, locale=LOCALE)
    found = _TYPED_AMOUNT.fullmatch(text.strip().removeprefix(symbol).strip())
    if found is None or len(found["fraction"] or "") > exponent:
        return None
    whole = (found["whole"] or "0").replace(",", "")
    return int(whole + (found["fraction"] or "").ljust(exponent, "0"))


def currency_name(currency: str) -> str:
    """Name a currency for an input's label: ``US dollars``."""
    names = LOCALE.currencies
    return names.get(currency, currency) + "s" if currency in names else currency


def kwh(wh: int, digits: int = 0) -> str:
    """Write watt-hours as kilowatt-hours rounded half away from zero, without the unit: ``1,612`` or ``20.0``."""
    step = WH_A_KWH // 10**digits
    rounded = (abs(wh) * 2 + step) // (step * 2)
    # Plain formatting groups and points as the locale does, thirty times as fast as its number patterns.
    text = f"{Decimal(rounded).scaleb(-digits):,f}"
    return f"{MINUS}{text}" if wh < 0 and rounded else text


def part_kwh(wh: int) -> str:
    """Write a part of some energy as `kwh`, but never as nothing while there is some: ``less than 1``."""
    told = kwh(wh)
    return "less than 1" if wh > 0 and told == "0" else told


def signed_kwh(wh: int, digits: int = 1) -> str:
    """Write a difference of energy with its sign: ``+1.9``."""
    text = kwh(wh, digits)
    return f"+{text}" if wh > 0 and text.strip("0.") else text


@lru_cache(maxsize=1024)
def quantity(text: str) -> str:
    """Write a decimal string without trailing zeros: ``612`` for ``612.000``; at most three decimals are shown."""
    value = Decimal(text)
    return format_decimal(value, format="#,##0.###", locale=LOCALE).replace("-", MINUS)


@lru_cache(maxsize=2048)
def _dated(day: date, pattern: str) -> str:
    return format_date(day, pattern, locale=LOCALE)


def day_name(day: date, today: date | None) -> str:
    """Write a day with its weekday, ``Tuesday, November 17``; with the year when that is not this one, or unknown."""
    this_year = today is not None and day.year == today.year
    return _dated(day, "EEEE, MMMM d" if this_year else "EEEE, MMMM d, y")


def month_day(day: date, today: date) -> str:
    """Write ``November 17``; with the year when that is not this one."""
    return _dated(day, "MMMM d" if day.year == today.year else "MMMM d, y")


def full_date(day: date) -> str:
    """Write ``November 17, 2026``."""
    return _dated(day, "MMMM d, y")


def short_day(day: date) -> str:
    """Write ``Sat, Oct 10`` for tables and charts."""
    return _dated(day, "EEE, MMM d")


def short_date(day: date) -> str:
    """Write ``Oct 10``."""
    return _dated(day, "MMM d")


def chart_day(day: date) -> str:
    """Write ``Sat, October 10``."""
    return _dated(day, "EEE, MMMM d")


def period(first: date, end: date, today: date) -> str:
    """Write the days of ``[first, end)``: ``October 10 to November 9``; years only where they are not this one."""
    last = end - timedelta(days=1)
    if (first.year, first.month) == (last.year, last.month):
        year = "" if last.year == today.year else f", {last.year}"
        return f"{_dated(first, 'MMMM d')} to {last.day}{year}"
    if first.year == last.year and last.year != today.year:
        return f"{_dated(first, 'MMMM d')} to {full_date(last)}"
    return f"{month_day(first, today)} to {month_day(last, today)}"


def local_date(moment: datetime, timezone: str) -> date:
    """Tell which day an instant falls on in the utility's zone."""
    return moment.astimezone(zone(timezone)).date()


def clock_time(moment: datetime, timezone: str) -> str:
    """Write an instant's time in the utility's zone, ``9:42 a.m.``; seconds are cut off, never rounded up."""
    local = moment.astimezone(zone(timezone))
    half = "a.m." if local.hour < NOON else "p.m."
    return f"{local.hour % NOON or NOON}:{local.minute:02} {half}"


def _relative(day: date, today: date | None) -> str:
    if today is None:
        return ""
    return {today: "today", today - timedelta(days=1): "yesterday"}.get(day, "")


def moment_words(moment: datetime, timezone: str, today: date | None) -> str:
    """
    Write an instant with its day: ``9:42 a.m. today, Tuesday, November 17``.

    Without ``today``, when nobody can know it, the day is named with its year.
    """
    day = local_date(moment, timezone)
    relative = _relative(day, today)
    named = f"{relative}, {day_name(day, today)}" if relative else f"on {day_name(day, today)}"
    return f"{clock_time(moment, timezone)} {named}"


def moment_short(moment: datetime, timezone: str, today: date) -> str:
    """Write an instant with just enough of its day: ``9:42 a.m. today``, ``9:42 a.m. on November 14``."""
    day = local_date(moment, timezone)
    named = _relative(day, today) or f"on {month_day(day, today)}"
    return f"{clock_time(moment, timezone)} {named}"


def moment_label(moment: datetime, timezone: str, today: date) -> str:
    """Write an instant for a heading: the time alone when it is of today, else with its day."""
    day = local_date(moment, timezone)
    time = clock_time(moment, timezone)
    return time if day == today else f"{time} on {month_day(day, today)}"


def event_time(moment: datetime, timezone: str, today: date) -> str:
    """Write when something happened, day first: ``Today, 11:20 a.m.`` or ``November 17, 11:20 a.m.``."""
    day = local_date(moment, timezone)
    return f"{'Today' if day == today else month_day(day, today)}, {clock_time(moment, timezone)}"


@lru_cache(maxsize=64)
def zone_name(timezone: str) -> str:
    """Name a zone as people know it: ``Eastern Time``."""
    known = get_global("zone_aliases")
    return get_timezone_name(zone(known.get(timezone, timezone)), width="long", locale=LOCALE)


def core_now(freshness: Freshness) -> datetime:
    """Estimate the core's time now: as-of plus age. At least this late when the age is a lower bound."""
    return freshness.as_of.astimezone(UTC) + timedelta(seconds=freshness.age_seconds)


def age(seconds: float, *, at_least: bool = False) -> str:
    """Write an age in its two largest units: ``42 seconds``, ``4 hours 31 minutes``; honest about lower bounds."""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, DAY)
    hours, rest = divmod(rest, HOUR)
    minutes, secs = divmod(rest, MINUTE)
    units = ((days, "day"), (hours, "hour"), (minutes, "minute"), (secs, "second"))
    first = next((index for index, (count, _) in enumerate(units) if count), len(units) - 1)
    told = units[first : first + (2 if first < 2 else 1)]  # noqa: PLR2004 - minutes need no seconds
    text = " ".join(count_of(count, unit) for count, unit in told if count or len(told) == 1)
    return f"at least {text}" if at_least else text


def count_of(count: int, thing: str) -> str:
    """Write a number of things: ``1 day``, ``2 days``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def stop(text: str) -> str:
    """End a sentence with a full stop, unless it has one already (``9:42 a.m.``)."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def currency_symbol(currency: str) -> str:
    """Return the sign that stands before amounts: ``$``."""
    return get_currency_symbol(currency, locale=LOCALE)

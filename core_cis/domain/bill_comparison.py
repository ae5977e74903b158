"""
Why a bill differs from the one before.

The difference is told in four parts: more or fewer days, more or less usage a day, another average
price of a kWh (season, time of use, tiers, a new tariff), and the rest (fixed charges, minimum,
taxes). The first three are rounded to cents, the rest takes what is left: the parts add up to the
difference to the cent.
"""

from decimal import Decimal, localcontext

import msgspec

from core_cis.domain.charges import RatedBill
from core_cis.domain.money import round_half_away

_PRECISION = 50
_WH_PER_KWH = 1000
# Less than this many digits further on is told as no difference worth a figure.
_DIGITS_MORE = 2


class Change(msgspec.Struct, frozen=True):
    """
    One reason why a bill differs.

    Attributes:
        label: A few words for a list.
        detail: A sentence with the figures before and after.
        amount_cents: Positive when it makes the bill higher.
    """

    label: str
    detail: str
    amount_cents: int


class _Figures(msgspec.Struct, frozen=True):
    """What a bill is compared by."""

    days: int
    usage_wh: int
    energy_cents: int
    total_cents: int
    per_day_cents: Decimal

    @property
    def daily_wh(self) -> Decimal:
        return Decimal(self.usage_wh) / self.days

    @property
    def cents_per_wh(self) -> Decimal:
        return Decimal(self.energy_cents) / self.usage_wh if self.usage_wh else Decimal(0)


def compare_bills(previous: RatedBill, current: RatedBill) -> list[Change]:
    """
    The reasons for the difference in new charges, the largest first; empty when there is none.

    Their amounts add up to `current.total_cents - previous.total_cents`.
    """
    with localcontext() as context:
        context.prec = _PRECISION
        return _changes(_figures(previous), _figures(current))


def _figures(bill: RatedBill) -> _Figures:
    daily = [line for line in bill.lines if line.unit == "day"]
    return _Figures(
        days=bill.period.days,
        usage_wh=bill.usage_wh,
        energy_cents=sum(line.amount_cents for line in bill.lines if line.kind == "energy"),
        total_cents=bill.total_cents,
        per_day_cents=Decimal(sum(line.amount_cents for line in daily)) / bill.period.days,
    )


def _changes(before: _Figures, after: _Figures) -> list[Change]:
    # Without usage before there was no price to weigh the new usage with.
    price = before.cents_per_wh if before.usage_wh else after.cents_per_wh
    more_days = after.days - before.days
    days = round_half_away(more_days * (before.daily_wh * price + before.per_day_cents))
    usage = round_half_away((after.daily_wh - before.daily_wh) * after.days * price)
    price_effect = 0
    if after.usage_wh and before.usage_wh:
        price_effect = round_half_away(after.usage_wh * (after.cents_per_wh - price))
    rest = after.total_cents - before.total_cents - days - usage - price_effect
    changes = [
        Change("Days billed", f"{before.days} days before, {after.days} now", days),
        Change(
            "Usage a day",
            _before_and_now(
                before.daily_wh / _WH_PER_KWH, after.daily_wh / _WH_PER_KWH, 1, " kWh a day"
            ),
            usage,
        ),
        Change(
            "Average price of a kWh",
            _before_and_now(
                before.cents_per_wh * _WH_PER_KWH, after.cents_per_wh * _WH_PER_KWH, 2, " ¢"
            )
            + " (season, time of use, tiers or new prices)",
            price_effect,
        ),
        Change("Other charges", "Fixed charges, minimum charge, taxes and rounding", rest),
    ]
    return sorted(
        (change for change in changes if change.amount_cents),
        key=lambda change: -abs(change.amount_cents),
    )


def _before_and_now(before: Decimal, now: Decimal, digits: int, unit: str) -> str:
    """Write two figures with as many more digits as it takes to see that they differ, up to a point."""
    for more in range(_DIGITS_MORE + 1):
        told = [f"{figure:,.{digits + more}f}" for figure in (before, now)]
        if told[0] != told[1]:
            first = unit if unit.strip() == "¢" else ""
            return f"{told[0]}{unit} before, {told[1]}{first} now"
    return f"About {now:,.{digits}f}{unit}, before and now"

"""
Rating: a tariff and usage become the lines of a bill.

The rules:

- Tiers limit the whole usage of the bill period, whatever the time of use; each tier is shared over
  the times of use in proportion to their usage.
- Limits in `kWh daily` are multiplied by the days. Limits in `kWh` hold for a bill of 25 to 35
  days; on a shorter or longer one, and on a first or final one, they are multiplied by the months
  the period is worth (`BillPeriod.months`).
- Where the season changes within a period, limits are shared by days. So they are where a new
  version of the tariff starts within it. Readings are priced when they were used; a register's one
  figure is shared by days.
- A charge in `$/month` is one charge a bill; on a first or final bill it is multiplied by the
  months the period is worth. A charge in `$/day` is multiplied by the days.
- The minimum applies to the pre-tax total, as a line of its own. Taxes come after it.
- Weekdays and hours are those of the utility's zone. Holidays are priced like a weekend only when
  the tariff says so and lists them; others are ordinary days.
- Each line is rounded once, halves away from zero; the total is the sum of the lines.

What has no rule is refused by name, with `CannotPrice`.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec

from core_cis.domain.calendar import BillPeriod
from core_cis.domain.charges import (
    IntervalUsage,
    LineKind,
    RatedBill,
    RatedLine,
    TariffTerm,
    Usage,
)
from core_cis.domain.money import CENTS_PER_DOLLAR, decimal_text, dollars_to_cents
from core_cis.domain.rate_labels import by_price, season_label, tier_label, time_label
from core_cis.domain.rate_plan import Ladder, RatePlan, rate_plan
from core_cis.domain.tariffs import (
    KWH,
    KWH_DAILY,
    PER_DAY,
    PER_KW,
    PER_MONTH,
    FixedCharge,
    Tariff,
    Tier,
)
from core_cis.domain.usage_split import SeasonDays, SplitUsage, peak_kw, split_usage
from core_cis.errors import CannotPrice

ORDINARY_DAYS = range(25, 36)

# Enough digits that dividing and multiplying back never moves an amount across half a cent.
_PRECISION = 50
_PRINTED_PLACES = Decimal("0.000001")
_CENT = Decimal("0.01")


class _Term(msgspec.Struct, frozen=True):
    """
    A tariff over some of a bill's days, and what its charges are scaled by.

    Attributes:
        monthly: How many months of `$/month` charges the term is charged.
        block: What `kWh` limits of the whole bill are multiplied by.
    """

    tariff: Tariff
    plan: RatePlan
    period: BillPeriod
    bill: BillPeriod
    monthly: Decimal
    block: Decimal


def rate(
    tariff: Tariff, usage: Usage, period: BillPeriod, *, zone: ZoneInfo, prorate: bool = False
) -> RatedBill:
    """
    Price one bill period under one tariff.

    Args:
        tariff: What prices every day of the period.
        usage: Every interval of the period, or the one figure of a register.
        period: The local days billed.
        zone: The utility's zone.
        prorate: Whether this is an account's first or final bill.

    Raises:
        CannotPrice: Something in the tariff or the usage has no price; it says which and why.
    """
    return rate_terms([TariffTerm(tariff, period)], usage, zone=zone, prorate=prorate)


def rate_terms(
    terms: Sequence[TariffTerm], usage: Usage, *, zone: ZoneInfo, prorate: bool = False
) -> RatedBill:
    """
    Price one bill period in which a new version of the tariff starts.

    Args:
        terms: The versions with their days, in order, without a gap. The last one's taxes apply.
        usage: Of the whole period.
        zone: The utility's zone.
        prorate: Whether this is an account's first or final bill.

    Raises:
        CannotPrice: Something in a tariff or the usage has no price.
        ValueError: The terms do not follow each other.
    """
    with localcontext() as context:
        context.prec = _PRECISION
        bill = _whole(terms)
        scaled = [_scaled(term, bill, prorate=prorate) for term in terms]
        lines: list[RatedLine] = []
        for term in scaled:
            _refuse_unpriced(term.tariff)
            split = split_usage(term.plan, usage, term.period, bill, zone)
            lines += _energy_lines(term, split)
            lines += _demand_lines(term, usage)
            lines += _fixed_lines(term)
        lines += _minimum_line(scaled, lines, bill)
        lines += _tax_lines(terms[-1].tariff, lines, bill)
        usage_wh, estimated_wh = _used(usage, bill)
        return RatedBill(
            period=bill,
            lines=tuple(lines),
            total_cents=sum(line.amount_cents for line in lines),
            exact_total=sum((line.exact_amount for line in lines), Decimal(0)),
            usage_wh=usage_wh,
            estimated_wh=estimated_wh,
            terms=tuple(terms),
        )


def _whole(terms: Sequence[TariffTerm]) -> BillPeriod:
    for before, after in pairwise(terms):
        if before.period.end != after.period.start:
            msg = f"a term starts on {after.period.start}, the one before ends {before.period.end}"
            raise ValueError(msg)
    return BillPeriod(terms[0].period.start, terms[-1].period.end)


def _scaled(term: TariffTerm, bill: BillPeriod, *, prorate: bool) -> _Term:
    months = bill.months()
    share = Decimal(term.period.days) / bill.days
    ordinary = bill.days in ORDINARY_DAYS and not prorate
    return _Term(
        tariff=term.tariff,
        plan=rate_plan(term.tariff),
        period=term.period,
        bill=bill,
        monthly=share * months if prorate else share,
        block=Decimal(1) if ordinary else months,
    )


def _refuse_unpriced(tariff: Tariff) -> None:
    for unpriced in tariff.unpriced:
        detail = f"{unpriced.kind}: {unpriced.detail or 'no rule prices it'}"
        raise CannotPrice("unsupported_feature", unpriced.path, detail)


def _energy_lines(term: _Term, split: SplitUsage) -> Iterator[RatedLine]:
    used = any(split.kwh.values())
    for season, days in split.seasons.items():
        total = sum(
            (kwh for (of_season, _), kwh in split.kwh.items() if of_season == season), Decimal(0)
        )
        for ladder in by_price(term.plan.seasons[season].ladders):
            limits = _limits(term, ladder, days)
            kwh = split.kwh.get((season, ladder.period), Decimal(0))
            shares = _tier_shares(ladder, limits, total, kwh)
            if not used and (season, ladder.period) in split.kwh:
                # A bill without usage still tells the price that applies, once.
                shares, used = [(0, Decimal(0))], True
            for index, quantity in shares:
                yield _energy_line(term, split, season, ladder, limits, index, quantity)


def _energy_line(
    term: _Term,
    split: SplitUsage,
    season: int,
    ladder: Ladder,
    limits: Sequence[Decimal | None],
    index: int,
    quantity: Decimal,
) -> RatedLine:
    days = split.seasons[season]
    words = (
        time_label(term.plan, season, ladder.period, frozenset(days.months)),
        tier_label(ladder.tiers, limits, index),
        season_label(term.plan, season),
    )
    return _line(
        "energy",
        f"energy:{ladder.period}:{index}",
        ", ".join(word for word in words if word),
        quantity,
        "kWh",
        ladder.tiers[index].price,
        days.span,
        estimated=(season, ladder.period) in split.estimated,
    )


def _limits(term: _Term, ladder: Ladder, days: SeasonDays) -> list[Decimal | None]:
    """The cumulative limits of a ladder for the days of a season in this bill, kWh."""
    return [_limit(term, ladder, days, tier, at) for at, tier in enumerate(ladder.tiers)]


def _limit(term: _Term, ladder: Ladder, days: SeasonDays, tier: Tier, index: int) -> Decimal | None:
    if tier.limit is None:
        return None
    if tier.limit_unit == KWH_DAILY:
        return tier.limit * days.days
    if tier.limit_unit == KWH:
        return tier.limit * term.block * days.days / term.bill.days
    field = f"energy.periods[{ladder.period}].tiers[{index}].max_unit"
    raise CannotPrice("unknown_unit", field, f"a tier's limit in {tier.limit_unit}")


def _tier_shares(
    ladder: Ladder, limits: Sequence[Decimal | None], total: Decimal, kwh: Decimal
) -> list[tuple[int, Decimal]]:
    """How much of one price's usage falls in each tier that the season's whole usage reaches."""
    if kwh == 0:
        return []
    shares = []
    lower = Decimal(0)
    for index, limit in enumerate(limits):
        upper = total if limit is None else min(limit, total)
        if upper > lower:
            shares.append((index, kwh * (upper - lower) / total))
            lower = upper
    if lower < total:
        field = f"energy.periods[{ladder.period}].tiers"
        detail = f"usage of {total} kWh is above the last tier, which ends at {limits[-1]}"
        raise CannotPrice("usage_above_last_tier", field, detail)
    return shares


def _demand_lines(term: _Term, usage: Usage) -> Iterator[RatedLine]:
    share = Decimal(term.period.days) / term.bill.days
    for index, charge in enumerate(term.tariff.demand_charges):
        if charge.unit != PER_KW:
            field = f"demand_charges[{index}].unit"
            raise CannotPrice("unknown_unit", field, f"a demand charge in {charge.unit}")
        peak = peak_kw(usage, term.period, charge.window_minutes)
        yield _line(
            "demand",
            f"demand:{index}",
            charge.name or f"Demand, highest {charge.window_minutes} minutes",
            peak * share,
            "kW",
            charge.amount,
            term.period,
        )


def _fixed_lines(term: _Term) -> Iterator[RatedLine]:
    for index, charge in enumerate(term.tariff.fixed_charges):
        quantity, unit = _fixed_quantity(charge, term, f"fixed_charges[{index}].unit")
        credit = charge.amount < 0
        name = "Bill credit" if credit else "Customer charge"
        yield _line(
            "credit" if credit else "fixed",
            f"fixed:{index}",
            charge.name or (name if index == 0 or credit else "Other fixed charge"),
            quantity,
            unit,
            charge.amount,
            term.period,
        )


def _fixed_quantity(charge: FixedCharge, term: _Term, field: str) -> tuple[Decimal, str]:
    if charge.unit == PER_DAY:
        return Decimal(term.period.days), "day"
    if charge.unit == PER_MONTH:
        return term.monthly, "month"
    raise CannotPrice("unknown_unit", field, f"a charge in {charge.unit}")


def _minimum_line(
    terms: Sequence[_Term], lines: Sequence[RatedLine], bill: BillPeriod
) -> list[RatedLine]:
    least = Decimal(0)
    for term in terms:
        if term.tariff.minimum is not None:
            quantity, _ = _fixed_quantity(term.tariff.minimum, term, "min_charge.unit")
            least += quantity * term.tariff.minimum.amount
    exact = least - sum((line.exact_amount for line in lines), Decimal(0))
    cents = dollars_to_cents(least) - sum(line.amount_cents for line in lines)
    if least == 0 or cents <= 0:
        return []
    return [
        RatedLine(
            kind="minimum",
            code="minimum",
            description="Minimum charge adjustment",
            quantity=Decimal(1),
            unit="bill",
            unit_price=Decimal(cents) / CENTS_PER_DOLLAR,
            period_from=bill.start,
            period_to=bill.end,
            exact_amount=max(exact, Decimal(0)),
            amount_cents=cents,
        )
    ]


def _tax_lines(tariff: Tariff, lines: Sequence[RatedLine], bill: BillPeriod) -> Iterator[RatedLine]:
    """Taxes on the pre-tax total as printed, so that a customer can check them."""
    pre_tax = sum(line.amount_cents for line in lines) * _CENT
    for index, tax in enumerate(tariff.taxes):
        yield _line("tax", f"tax:{index}", tax.name, pre_tax, "$", tax.percent / 100, bill)


def _line(
    kind: LineKind,
    code: str,
    description: str,
    quantity: Decimal,
    unit: str,
    unit_price: Decimal,
    period: BillPeriod,
    *,
    estimated: bool = False,
) -> RatedLine:
    exact = quantity * unit_price
    return RatedLine(
        kind=kind,
        code=code,
        description=description,
        quantity=Decimal(decimal_text(quantity.quantize(_PRINTED_PLACES))),
        unit=unit,
        unit_price=unit_price,
        period_from=period.start,
        period_to=period.end,
        exact_amount=exact,
        amount_cents=dollars_to_cents(exact),
        estimated=estimated,
    )


def _used(usage: Usage, bill: BillPeriod) -> tuple[int, int]:
    if isinstance(usage, IntervalUsage):
        blocks = [block for block in usage.blocks if bill.start <= block.day < bill.end]
        usage_wh = sum(block.usage_wh for block in blocks)
        return usage_wh, sum(block.estimated_wh for block in blocks)
    return usage.usage_wh, usage.usage_wh if usage.estimated else 0

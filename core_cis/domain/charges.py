"""What rating takes and gives: usage in, the lines of a bill out."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Literal

import msgspec

from core_cis.domain.calendar import BillPeriod
from core_cis.domain.metering import IntervalBlock
from core_cis.domain.tariffs import Tariff

LineKind = Literal["energy", "demand", "fixed", "credit", "minimum", "tax"]


class IntervalUsage(msgspec.Struct, frozen=True):
    """Interval readings: one block for every local day of the period, nothing missing."""

    blocks: Sequence[IntervalBlock]


class RegisterUsage(msgspec.Struct, frozen=True):
    """
    The usage of a whole period from two register reads.

    Attributes:
        usage_wh: Not negative.
        estimated: Whether the end read was an estimate.
        peak_w: The highest demand, from a demand register; None without one.
    """

    usage_wh: int
    estimated: bool = False
    peak_w: int | None = None


Usage = IntervalUsage | RegisterUsage


class TariffTerm(msgspec.Struct, frozen=True):
    """The days of a bill period that one version of a tariff prices."""

    tariff: Tariff
    period: BillPeriod


class RatedLine(msgspec.Struct, frozen=True):
    """
    One printed line of new charges.

    Attributes:
        kind: `fixed` charges below zero are `credit`.
        code: Stable within a tariff, such as `energy:0:1` (period 0, second tier).
        description: For the customer.
        quantity: At most 6 decimal places; the amount is computed before they are cut.
        unit: `kWh`, `kW`, `day`, `month`, `bill` or `$`.
        unit_price: Dollars a unit.
        period_from: The first day the line is about.
        period_to: The first day it is no longer about.
        exact_amount: Dollars, not rounded.
        amount_cents: `exact_amount` rounded once, halves away from zero.
        estimated: Whether some of the quantity was estimated.
    """

    kind: LineKind
    code: str
    description: str
    quantity: Decimal
    unit: str
    unit_price: Decimal
    period_from: date
    period_to: date
    exact_amount: Decimal
    amount_cents: int
    estimated: bool = False


class RatedBill(msgspec.Struct, frozen=True):
    """
    The new charges of one service point for one period.

    Attributes:
        period: The days billed.
        lines: As printed.
        total_cents: The sum of the lines.
        exact_total: Dollars, before any rounding.
        usage_wh: What was used.
        estimated_wh: The estimated part of it.
        terms: The tariffs that priced it, in order.
    """

    period: BillPeriod
    lines: tuple[RatedLine, ...]
    total_cents: int
    exact_total: Decimal
    usage_wh: int
    estimated_wh: int
    terms: tuple[TariffTerm, ...]

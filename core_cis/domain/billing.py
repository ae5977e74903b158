"""
Bill periods and statements, without a database.

An account is billed by the month. Its first bill starts with its supply (where that is not known, with the first day
that was read from its beginning) and ends with the calendar month, or earlier where the run, the supply or the days
read to their end are over: that day becomes the account's cycle day. Every later period runs from cycle day to cycle
day. A final bill ends with the supply. Only first and final bills are prorated.
"""

from calendar import monthrange
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import msgspec

from cache_sync.documents import (
    BillChange,
    MeterRead,
    PaymentLine,
    StatementBody,
    StatementLine,
    TariffName,
)
from core_cis.domain.bill_comparison import compare_bills
from core_cis.domain.calendar import BillPeriod, next_month
from core_cis.domain.charges import RatedBill, RatedLine
from core_cis.domain.money import decimal_text
from core_cis.domain.tariffs import Tariff, tariff_key

DUE_DAYS = 21


class Supply(msgspec.Struct, frozen=True, kw_only=True):
    """
    When an account was supplied and read.

    Attributes:
        first_day: The first day of supply, or of readings where the supply's start is not known.
        end_day: The first day without supply; None while it goes on.
        last_read_day: The last local day that was read to its end, or all but; None before there is one.
    """

    first_day: date
    end_day: date | None
    last_read_day: date | None


class PlannedBill(msgspec.Struct, frozen=True):
    """A period to bill; ``prorate`` on an account's first or final bill."""

    period: BillPeriod
    prorate: bool


class ServicePointBill(msgspec.Struct, frozen=True):
    """What one service point adds to a statement."""

    service_point_id: str
    bill: RatedBill
    read: MeterRead


def first_bill(supply: Supply, through: date) -> PlannedBill | None:
    """Plan an account's first bill; None when no whole day of it is over by ``through`` (inclusive), or was read."""
    run_end = through + timedelta(days=1)
    if supply.last_read_day is None:
        return None
    ends = [next_month(supply.first_day), run_end, supply.last_read_day + timedelta(days=1)]
    if supply.end_day is not None:
        ends.append(supply.end_day)
    end = min(ends)
    return (
        PlannedBill(BillPeriod(supply.first_day, end), prorate=True)
        if end > supply.first_day
        else None
    )


def next_bill(
    supply: Supply, *, last_period_to: date, cycle_day: int, through: date
) -> PlannedBill | None:
    """
    Plan the bill after one that ended on ``last_period_to``; None while its period is not over.

    Args:
        cycle_day: The day of the month on which the account's first bill ended; a shorter month ends it on its last.
        through: The last day that may be billed.
    """
    end = _cycle_end(last_period_to, cycle_day)
    final = supply.end_day is not None and supply.end_day <= end
    if final and supply.end_day is not None:
        end = supply.end_day
    if end <= last_period_to or end > through + timedelta(days=1):
        return None
    return PlannedBill(BillPeriod(last_period_to, end), prorate=final)


def _cycle_end(start: date, cycle_day: int) -> date:
    following = next_month(start)
    return following.replace(day=min(cycle_day, monthrange(following.year, following.month)[1]))


def make_statement(
    *,
    statement_id: str,
    account_id: str,
    currency: str,
    period: BillPeriod,
    issued_on: date,
    parts: Sequence[ServicePointBill],
    previous: StatementBody | None,
    payments: Sequence[PaymentLine],
) -> StatementBody:
    """
    Put a statement together: previous balance - payments received + new charges = amount due.

    It is issued on the day after the period and due 21 days later. ``payments`` are those not yet on a statement.
    """
    lines = [_line(line, part.service_point_id) for part in parts for line in part.bill.lines]
    total = sum(line.amount_cents for line in lines)
    received = sum(payment.amount_cents for payment in payments)
    carried = previous.amount_due_cents if previous else 0
    return StatementBody(
        statement_id=statement_id,
        account_id=account_id,
        issued_on=issued_on,
        period_from=period.start,
        period_to=period.end,
        due_date=issued_on + timedelta(days=DUE_DAYS),
        currency=currency,
        previous_balance_cents=carried,
        payments_received_cents=received,
        total_cents=total,
        amount_due_cents=carried - received + total,
        usage_wh=sum(part.bill.usage_wh for part in parts),
        estimated_wh=sum(part.bill.estimated_wh for part in parts),
        lines=lines,
        meters=[part.read for part in parts],
        tariffs=_tariff_names(parts),
        payments=list(payments),
        changes=_changes(previous, period, parts, total),
        previous_statement_id=previous.statement_id if previous else None,
        previous_total_cents=previous.total_cents if previous else None,
    )


def _line(line: RatedLine, service_point_id: str) -> StatementLine:
    return StatementLine(
        kind=line.kind,
        description=line.description,
        quantity=decimal_text(line.quantity),
        unit=line.unit,
        unit_price=decimal_text(line.unit_price),
        amount_cents=line.amount_cents,
        period_from=line.period_from,
        period_to=line.period_to,
        estimated=line.estimated,
        service_point_id=service_point_id,
    )


def _tariff_names(parts: Sequence[ServicePointBill]) -> list[TariffName]:
    tariffs: dict[tuple[str, date], Tariff] = {}
    for part in parts:
        for term in part.bill.terms:
            effective_from = term.tariff.effective_from or term.period.start
            tariffs[tariff_key(term.tariff), effective_from] = term.tariff
    return [
        TariffName(
            code=code,
            name=tariff.name,
            utility=tariff.utility,
            effective_from=effective_from,
            source=_source_text(tariff),
        )
        for (code, effective_from), tariff in tariffs.items()
    ]


def _source_text(tariff: Tariff) -> str:
    source = tariff.source
    return "" if source is None else source.url or source.title


def _changes(
    previous: StatementBody | None,
    period: BillPeriod,
    parts: Sequence[ServicePointBill],
    total: int,
) -> list[BillChange]:
    if previous is None:
        return []
    before = _summed(
        BillPeriod(previous.period_from, previous.period_to),
        [_rated_line(line) for line in previous.lines],
        previous.usage_wh,
        previous.estimated_wh,
    )
    after = _summed(
        period,
        [line for part in parts for line in part.bill.lines],
        sum(part.bill.usage_wh for part in parts),
        sum(part.bill.estimated_wh for part in parts),
    )
    changes = [
        BillChange(label=change.label, detail=change.detail, amount_cents=change.amount_cents)
        for change in compare_bills(before, after)
    ]
    assert sum(change.amount_cents for change in changes) == total - previous.total_cents
    return changes


def _summed(
    period: BillPeriod, lines: Sequence[RatedLine], usage_wh: int, estimated_wh: int
) -> RatedBill:
    return RatedBill(
        period=period,
        lines=tuple(lines),
        total_cents=sum(line.amount_cents for line in lines),
        exact_total=sum((line.exact_amount for line in lines), Decimal(0)),
        usage_wh=usage_wh,
        estimated_wh=estimated_wh,
        terms=(),
    )


def _rated_line(line: StatementLine) -> RatedLine:
    assert line.kind != "adjustment", "new charges have no adjustments"
    return RatedLine(
        kind=line.kind,
        code="",
        description=line.description,
        quantity=Decimal(line.quantity),
        unit=line.unit,
        unit_price=Decimal(line.unit_price),
        period_from=line.period_from,
        period_to=line.period_to,
        exact_amount=Decimal(line.amount_cents) / 100,
        amount_cents=line.amount_cents,
        estimated=line.estimated,
    )

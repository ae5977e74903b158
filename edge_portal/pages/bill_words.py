"""The immutable parts of a bill in words: why it changed, its lines, its meters. Built once for each bill."""

from collections import OrderedDict
from datetime import timedelta
from decimal import Decimal
from typing import Final

import msgspec

from cache_sync.documents import MeterRead, StatementBody, StatementLine
from edge_portal import words
from edge_portal.pages.visit import Visit

UNITS: Final = {"day": "day", "month": "month", "bill": "bill"}
PERCENT: Final = Decimal(100)
KEPT_MAX: Final = 256


class LineWords(msgspec.Struct, frozen=True, kw_only=True):
    """A line as it is printed."""

    description: str
    quantity: str
    price: str
    amount: str
    estimated: bool
    of: bool


class ChangeWords(msgspec.Struct, frozen=True, kw_only=True):
    """A reason for the change since the bill before; ``share`` is its bar's width in per cent."""

    label: str
    detail: str
    amount: str
    share: str


class MeterWords(msgspec.Struct, frozen=True, kw_only=True):
    """A meter with its reads; registers in kWh."""

    meter_id: str
    address: str
    begin_name: str
    begin: str
    end_name: str
    end: str
    end_estimated: bool
    used: str
    measured: str
    estimated: str
    measured_share: str
    estimated_x: str
    estimated_share: str


class BillParts(msgspec.Struct, frozen=True, kw_only=True):
    """What a bill says about itself, whatever was paid since."""

    more_or_less: str
    changes: list[ChangeWords]
    before_told: str
    difference: str
    lines: list[LineWords]
    lines_total: str
    meters: list[MeterWords]
    tariffs: list[str]


_kept: OrderedDict[tuple[str, str, int, int], BillParts] = OrderedDict()


def bill_parts(visit: Visit, statement: StatementBody) -> BillParts:
    """
    Return a bill's words, from memory when this worker showed it lately.

    Bills never change once issued; the key still holds the sums, so that a core restored from a backup is not
    answered with another history's bill. The day's year is part of the words, hence of the key.
    """
    key = (
        statement.account_id,
        f"{statement.statement_id} {statement.issued_on} {statement.usage_wh}",
        statement.amount_due_cents * 1_000_003 + statement.total_cents,
        visit.today.year,
    )
    parts = _kept.pop(key, None) or _build(visit, statement)
    _kept[key] = parts
    if len(_kept) > KEPT_MAX:
        _kept.popitem(last=False)
    return parts


def _build(visit: Visit, statement: StatementBody) -> BillParts:
    before = statement.previous_total_cents
    difference = 0 if before is None else statement.total_cents - before
    most = max([abs(change.amount_cents) for change in statement.changes], default=0) or 1
    earlier = next(
        (s for s in visit.view.statements if s.statement_id == statement.previous_statement_id),
        None,
    )
    issued = f"{visit.month_day(earlier.issued_on)} bill" if earlier else "Bill before"
    return BillParts(
        more_or_less="" if before is None else _difference_words(visit, difference),
        changes=[
            ChangeWords(
                label=change.label,
                detail=change.detail,
                amount=visit.signed_money(change.amount_cents),
                share=f"{100 * abs(change.amount_cents) / most:.1f}%",
            )
            for change in statement.changes
        ],
        before_told=""
        if before is None
        else f"{issued}: {visit.money(before)}. This bill: {visit.money(statement.total_cents)}.",
        difference=visit.signed_money(difference),
        lines=[line_words(line, visit.currency) for line in statement.lines],
        lines_total=visit.money(statement.total_cents),
        meters=[_meter_words(visit, meter) for meter in statement.meters],
        tariffs=[
            f"{tariff.name}, {tariff.utility}, prices from {words.full_date(tariff.effective_from)}"
            for tariff in statement.tariffs
        ],
    )


def _difference_words(visit: Visit, difference: int) -> str:
    if difference == 0:
        return "the same as the bill before"
    return f"{visit.money(abs(difference))} {'more' if difference > 0 else 'less'} than the bill before"


def line_words(line: StatementLine, currency: str) -> LineWords:
    """Write a line's quantity and price as people read them; a tax is a rate of a sum."""
    if line.unit == "$":
        rate = words.quantity(str(Decimal(line.unit_price) * PERCENT))
        base = words.unit_price(line.quantity, currency)
        quantity, price = f"{rate}%", f"of {base}"
    elif line.unit in UNITS:
        count = words.quantity(line.quantity)
        quantity = f"{count} {UNITS[line.unit]}{'' if count == '1' else 's'}"
        price = words.unit_price(line.unit_price, currency)
    else:
        quantity = f"{words.quantity(line.quantity)} {line.unit}"
        price = words.unit_price(line.unit_price, currency)
    return LineWords(
        description=line.description,
        quantity=quantity,
        price=price,
        amount=words.money(line.amount_cents, currency),
        estimated=line.estimated,
        of=line.unit == "$",
    )


def _meter_words(visit: Visit, meter: MeterRead) -> MeterWords:
    points = {point.service_point_id: point.address for point in visit.view.account.service_points}
    usage = max(1, meter.usage_wh)
    share = 100 * meter.estimated_wh / usage
    last = meter.read_to - timedelta(days=1)
    how = "estimated" if meter.end_read == "estimated" else "read by meter"
    return MeterWords(
        meter_id=meter.meter_id,
        address=points.get(meter.service_point_id, ""),
        begin_name=f"Start of {visit.month_day(meter.read_from)}",
        begin=words.kwh(meter.begin_register_wh),
        end_name=f"End of {visit.month_day(last)}, {how}",
        end=words.kwh(meter.end_register_wh),
        end_estimated=meter.end_read == "estimated",
        used=words.kwh(meter.usage_wh),
        measured=words.kwh(meter.usage_wh - meter.estimated_wh),
        estimated=words.part_kwh(meter.estimated_wh) if meter.estimated_wh else "",
        measured_share=f"{max(0.0, 99.4 - share):.1f}%" if meter.estimated_wh else "100%",
        estimated_x=f"{max(0.0, 100 - share):.1f}%",
        estimated_share=f"{min(100.0, share):.1f}%",
    )

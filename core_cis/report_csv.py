"""A reconciliation as CSV (RFC 4180) for spreadsheets: one line a payment, amounts with two decimals."""

import csv
import io
from collections.abc import Iterable
from datetime import datetime

from core_cis.instants import to_text
from core_cis.reconciliation import Line

_COLUMNS = (
    "edge",
    "day",
    "outage_began_at",
    "payment",
    "account",
    "amount",
    "accepted_at",
    "state",
    "verdict",
    "value_date",
    "fee_effective_on",
    "transaction",
    "ledger_amount",
    "held_by",
    "in_sums_of_its_edge",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def payments_csv(lines: Iterable[Line]) -> str:
    """Write payments; text that a spreadsheet would take for a formula begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for line in lines:
        writer.writerow(
            (
                _text(line.edge_id),
                line.day.isoformat(),
                _moment(line.outage),
                _text(line.intent_id),
                _text(line.account_id),
                _amount(line.amount),
                _moment(line.accepted_at),
                _text(line.state),
                line.verdict,
                line.value_date.isoformat() if line.value_date else "",
                line.fee_effective_on.isoformat() if line.fee_effective_on else "",
                _text(line.transaction_id or ""),
                "" if line.ledger_amount is None else _amount(line.ledger_amount),
                _text(" ".join(line.held_by)),
                "yes" if line.pruned else "",
            )
        )
    return out.getvalue()


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value


def _amount(cents: int) -> str:
    sign = "-" if cents < 0 else ""
    whole, rest = divmod(abs(cents), 100)
    return f"{sign}{whole}.{rest:02}"


def _moment(at: datetime | None) -> str:
    return to_text(at) if at else ""

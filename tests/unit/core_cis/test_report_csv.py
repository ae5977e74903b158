"""Payments as CSV: every field where it belongs, nothing that a spreadsheet would run."""

import csv
import io
from datetime import UTC, date, datetime

import msgspec

from core_cis.reconcile_groups import grouped, outage_of
from core_cis.reconciliation import Line
from core_cis.report_csv import payments_csv
from failover.peer_messages import Outage

AT = datetime(2026, 3, 10, 15, 0, tzinfo=UTC)
LINE = Line(
    intent_id="i",
    edge_id="east",
    account_id='=HYPERLINK("x")',
    amount=123456,
    accepted_at=AT,
    state="posted",
    verdict="equal",
    day=date(2026, 3, 10),
    outage=AT,
    value_date=date(2026, 3, 10),
    transaction_id="7",
    ledger_amount=-5,
    held_by=["east", "west"],
)


def test_formulas_are_text_and_amounts_are_numbers() -> None:
    """A name that begins like a formula gets an apostrophe; a negative amount stays a number; quotes are doubled."""
    written = payments_csv([LINE])
    (row,) = csv.DictReader(io.StringIO(written, newline=""))
    assert row["account"] == "'" + LINE.account_id
    assert (row["amount"], row["ledger_amount"]) == ("1234.56", "-0.05")
    assert row["outage_began_at"] == "2026-03-10T15:00:00.000000Z"
    assert written.endswith("\r\n")


def test_accepted_is_the_sum_of_its_parts() -> None:
    """Each state has its column; what was never accepted is left out; what differs is counted beside."""
    states = ("posted", "rejected", "dead_letter", "cancelled", "offered", "recorded")
    lines = [
        msgspec.structs.replace(LINE, state=state, amount=10**number)
        for number, state in enumerate(states)
    ]
    lines.append(msgspec.structs.replace(LINE, state="void", verdict="void"))
    lines.append(msgspec.structs.replace(LINE, state="void", verdict="different"))
    (group,) = grouped(lines)
    parts = (group.posted, group.rejected, group.dead_letter, group.cancelled, group.pending)
    amounts = (
        group.posted_amount,
        group.rejected_amount,
        group.dead_letter_amount,
        group.cancelled_amount,
        group.pending_amount,
    )
    assert parts == (1, 1, 1, 1, 2)
    assert amounts == (1, 10, 100, 1000, 110_000)
    assert (group.accepted, group.accepted_amount) == (sum(parts), sum(amounts))
    assert group.different == 1


def test_a_payment_belongs_to_the_outage_that_it_was_accepted_in() -> None:
    """From its first moment to before its last; one that goes on has no end."""
    first = Outage(datetime(2026, 3, 10, 14, tzinfo=UTC), AT)
    second = Outage(datetime(2026, 3, 10, 16, tzinfo=UTC))
    assert outage_of(first.began_at, [first, second]) == first.began_at
    assert outage_of(AT, [first, second]) is None
    assert outage_of(datetime(2027, 1, 1, tzinfo=UTC), [first, second]) == second.began_at

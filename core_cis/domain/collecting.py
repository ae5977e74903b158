"""
Collections: what is left of a bill on a day, and which steps follow when it was not paid in time. Pure.

The steps of a bill come in their order, each some days after the one before was taken: a late fee after the days of
grace; a past-due notice; a disconnection notice; a disconnection order. A fee is judged by what was paid through the
last day of grace, a notice or order by what was paid through the day before it is taken and is still unpaid when it is.

Payments go to the oldest bill first and to late fees last; what is left over is a credit in advance. So a fee is
reckoned on the overdue portion of its bill alone and never on fees (52 Pa. Code 56.22), and an unpaid fee leads to no
notice. Amounts are minor units, days the utility's.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import msgspec

from core_cis.domain.money import round_half_away

Step = Literal["late_fee", "past_due_notice", "disconnection_notice", "disconnection_order"]
STEPS: tuple[Step, ...] = get_args(Step)
_ONE_DAY = timedelta(days=1)
_ALL_IN_BASIS_POINTS = 10_000


class Moratorium(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Days, both included, on which nobody is given a disconnection notice or order."""

    first: date
    last: date
    reason: str


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What a utility does about bills that are not paid in time.

    The fee is ``late_fee_cents`` and ``late_fee_basis_points`` (hundredths of a percent) of the overdue portion of the
    bill, once; none where both are 0. Which fees are allowed is the regulator's word: the defaults charge none, and
    give the 5 days of grace of 52 Pa. Code 56.21 and the 10 days of notice of 52 Pa. Code 56.91.

    Args:
        late_fee_cents: The flat part of the fee.
        late_fee_basis_points: The other part; 150 are 1.5 %.
        grace_days: Days after the due date on which a payment is still in time.
        past_due_days: From the due date to the past-due notice.
        disconnection_notice_days: From that to the disconnection notice.
        disconnection_days: From that to the order.
        moratoria: When nobody may be disconnected.
    """

    late_fee_cents: int = 0
    late_fee_basis_points: int = 0
    grace_days: int = 5
    past_due_days: int = 10
    disconnection_notice_days: int = 20
    disconnection_days: int = 10
    moratoria: tuple[Moratorium, ...] = ()

    def fee_cents(self, overdue_cents: int) -> int:
        """Reckon the late fee on an overdue portion; halves are rounded away from zero."""
        part = Decimal(overdue_cents * self.late_fee_basis_points) / _ALL_IN_BASIS_POINTS
        return self.late_fee_cents + round_half_away(part) if overdue_cents > 0 else 0

    def is_held(self, day: date) -> bool:
        """Tell whether disconnections are held on a day."""
        return any(each.first <= day <= each.last for each in self.moratoria)


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one ledger transaction did to an account: ``cents`` are positive where more is owed.

    ``on`` is the day it counts: a payment's fee-effective date where it has one, else the value date. ``statement_id``
    is set on a bill's charges. Transactions that were undone, and those that undo them, are no moves.
    """

    on: date
    cents: int
    statement_id: str = ""
    is_fee: bool = False


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """A statement, as far as collections go."""

    statement_id: str
    issued_on: date
    due_on: date


class Due(msgspec.Struct, frozen=True):
    """A step whose time has come, and the last day that payments count for it."""

    step: Step
    judged_through: date


class _Owed:
    """A debt that is paid off bit by bit."""

    def __init__(self, statement_id: str, cents: int) -> None:
        self.statement_id = statement_id
        self.cents = cents

    def take(self, cents: int) -> int:
        """Pay as much as is owed; return what is left of the money."""
        paid = min(self.cents, cents)
        self.cents -= paid
        return cents - paid


def left_of_bills(moves: Iterable[Move], through: date | None = None) -> dict[str, int]:
    """
    Tell what is left unpaid of each bill, by statement id, by what counts on or before a day (None: all that is known).

    Moves come in the order of the ledger; of one day debts count before payments. A bill is there as soon as it is
    issued, so what is paid before its due date is in.
    """
    counted = [move for move in moves if through is None or move.on <= through]
    bills: list[_Owed] = []
    fees: list[_Owed] = []
    in_advance = 0
    for move in sorted(counted, key=lambda each: (each.on, each.cents < 0)):
        if move.cents < 0:
            in_advance -= move.cents
        else:
            (fees if move.is_fee else bills).append(_Owed(move.statement_id, move.cents))
        for owed in (*bills, *fees):
            in_advance = owed.take(in_advance)
    return {owed.statement_id: owed.cents for owed in bills if owed.statement_id}


def steps_due(bill: Bill, taken: Mapping[Step, date], terms: Terms, as_of: date) -> list[Due]:
    """
    Tell which steps of a bill have come, were it unpaid; at most one of notices and order.

    Args:
        bill: The bill.
        taken: The steps that stand, with the days on which they were taken.
        terms: What the utility does.
        as_of: The day of the decision.
    """
    due = []
    in_time = bill.due_on + timedelta(days=terms.grace_days)
    has_fee = terms.late_fee_cents or terms.late_fee_basis_points
    if "late_fee" not in taken and has_fee and as_of > in_time:
        due.append(Due("late_fee", in_time))
    step = _next_notice(bill, taken, terms, as_of)
    if step is not None:
        due.append(Due(step, as_of - _ONE_DAY))
    return due


def _next_notice(bill: Bill, taken: Mapping[Step, date], terms: Terms, as_of: date) -> Step | None:
    after: Sequence[tuple[Step, int]] = (
        ("past_due_notice", terms.past_due_days),
        ("disconnection_notice", terms.disconnection_notice_days),
        ("disconnection_order", terms.disconnection_days),
    )
    since = bill.due_on
    for step, days in after:
        if step in taken:
            since = taken[step]
            continue
        # The first is about a whole day past due; the others stand on the day that the one before was taken.
        is_over = as_of >= since + timedelta(days=days) and as_of > bill.due_on
        is_held = step != "past_due_notice" and terms.is_held(as_of)
        return step if is_over and not is_held else None
    return None


def end_of(day: date, timezone: str) -> datetime:
    """Tell the instant at which a day is over in a time zone."""
    return datetime.combine(day + _ONE_DAY, time(), ZoneInfo(timezone))

"""How far each bill is paid, told from the bills themselves and what is left to pay. Pure."""

from datetime import date
from typing import Literal

import msgspec

from cache_sync.documents import StatementBody
from edge_portal.pages.band import being_checked, unsettled
from edge_portal.pages.visit import Visit

Mark = Literal["posted", "held", "part", "check", "open", "none"]


class BillState(msgspec.Struct, frozen=True, kw_only=True):
    """A bill's state: the mark's name, its words, and what is left to pay of it (only the newest bill has that)."""

    mark: Mark
    told: str
    left_cents: int = 0


class BillRow(msgspec.Struct, frozen=True, kw_only=True):
    """A bill in a list; ``archived`` bills are asked of the core when they are opened."""

    statement_id: str
    issued_on: date
    period_from: date
    period_to: date
    amount_cents: int
    state: BillState
    archived: bool = False


def newest_state(visit: Visit, statement: StatementBody) -> BillState:
    """Tell the state of the newest bill: it carries everything older, so what is left to pay is left of it."""
    view = visit.view
    left = view.left_to_pay_cents
    checked = bool(being_checked(view.payments))
    waiting = bool(unsettled(view.payments)) and not checked
    if left > 0 and checked:
        return BillState(mark="check", told="Payment being checked", left_cents=left)
    if left > 0:
        told = f"{visit.money(left)} left to pay" if waiting else f"{visit.money(left)} to pay"
        untouched = left >= statement.amount_due_cents
        mark: Mark = "held" if waiting else "open" if untouched else "part"
        return BillState(mark=mark, told=told, left_cents=left)
    if statement.amount_due_cents <= 0:
        return BillState(mark="posted", told="Nothing to pay")
    if any(payment.state == "accepted" for payment in view.payments):
        return BillState(mark="held", told="Payment accepted, not posted yet")
    paid = [
        visit.paid_on(payment)
        for payment in view.payments
        if payment.state == "posted" and visit.paid_on(payment) >= statement.issued_on
    ]
    return BillState(mark="posted", told=f"Paid {visit.month_day(max(paid))}" if paid else "Paid")


def older_state(visit: Visit, statement: StatementBody, newer: StatementBody) -> BillState:
    """Tell the state of a bill that another followed: paid by then, or carried over to it."""
    remaining = newer.previous_balance_cents - newer.payments_received_cents
    if statement.amount_due_cents <= 0:
        return BillState(mark="posted", told="Nothing to pay")
    if remaining > 0:
        told = f"{visit.money(remaining)} went on the next bill"
        return BillState(mark="part", told=told)
    paid = [line.value_date for line in newer.payments if not line.description]
    return BillState(mark="posted", told=f"Paid {visit.month_day(max(paid))}" if paid else "Paid")


def state_of(visit: Visit, statement: StatementBody) -> BillState:
    """Tell the state of a bill that this node holds."""
    statements = visit.view.statements
    index = next(
        (i for i, other in enumerate(statements) if other.statement_id == statement.statement_id),
        None,
    )
    if index is None:
        return BillState(mark="posted", told="An older bill")
    if index == 0:
        return newest_state(visit, statement)
    return older_state(visit, statement, statements[index - 1])


def bill_rows(visit: Visit) -> list[BillRow]:
    """List all bills, newest first: those held here, then those that only the core has."""
    rows = [
        BillRow(
            statement_id=statement.statement_id,
            issued_on=statement.issued_on,
            period_from=statement.period_from,
            period_to=statement.period_to,
            amount_cents=statement.amount_due_cents,
            state=state_of(visit, statement),
        )
        for statement in visit.view.statements
    ]
    archive = BillState(mark="none", told="In the archive")
    rows += [
        BillRow(
            statement_id=older.statement_id,
            issued_on=older.issued_on,
            period_from=older.period_from,
            period_to=older.period_to,
            amount_cents=older.amount_due_cents,
            state=archive,
            archived=True,
        )
        for older in visit.view.archived
    ]
    return rows

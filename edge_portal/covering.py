"""
Whether what a customer is about to pay is paid already: pure, the same for pages and programs.

What counts is all that is known here: the documents of the snapshot, this edge's own journal, the copies that it holds
for its siblings, and how many more payments siblings say that they have. It only warns; the customer may know better.
"""

from datetime import date, timedelta
from typing import Final, Literal

import msgspec

from edge_portal.views import AccountView
from edge_portal.words import core_now, local_date
from failover.intents import Receipt, State

Why = Literal["nothing_left", "same_sum", "elsewhere"]

WAITING: Final[frozenset[State]] = frozenset({"accepted", "checking", "dead_letter"})
"""Not decided yet: it may be posted at any moment."""

NOT_IN_LEFT: Final[frozenset[State]] = frozenset({"checking", "dead_letter"})
"""Does not lower what is left to pay, and may still be taken."""

LATE_MAX: Final = timedelta(days=30)
"""How long before it was posted a payment may have been made: what came through an edge is never dated earlier."""


class Covering(msgspec.Struct, frozen=True, kw_only=True):
    """
    What covers a payment that is about to be made, newest first.

    ``nothing_left``: with all that was paid since the bill it would be ``over_cents`` more than is left to pay.
    ``same_sum``: something is left to pay, but the same sum was paid on the same day. ``elsewhere``: nothing that is
    known here does, but other edges may have accepted ``unseen`` payments that are not.
    """

    why: Why
    over_cents: int
    payments: list[Receipt]
    unseen: int = 0


def paid_since_bill(view: AccountView) -> list[Receipt]:
    """Return the payments that wait, or were posted since the last bill and are not counted in it; newest first."""
    counted = {line.payment_id for bill in view.statements for line in bill.payments}
    bills = view.statements or view.archived
    billed_on = bills[0].issued_on if bills else None
    return [
        payment
        for payment in view.payments
        if payment.intent_id not in counted
        and not payment.surely_not_taken
        and (payment.state in WAITING or _posted_since(view, payment, billed_on))
    ]


def covering(view: AccountView, amount_cents: int, *, but: str = "") -> Covering | None:
    """
    Tell what covers a payment of ``amount_cents`` already; None where nothing does.

    ``but`` is the id of the payment that is about to be made: where it was made already it is no second one.
    """
    paid = paid_since_bill(view)
    if any(payment.intent_id == but for payment in paid):
        return None
    unsure = sum(payment.amount_cents for payment in paid if payment.state in NOT_IN_LEFT)
    over = amount_cents - max(0, view.left_to_pay_cents - unsure)
    missed = view.may_miss
    unseen = missed.payments if missed is not None and missed.why == "waiting" else 0
    if paid and over > 0:
        return Covering(why="nothing_left", over_cents=over, payments=paid, unseen=unseen)
    today = local_date(core_now(view.freshness), view.account.timezone)
    same = [
        payment
        for payment in paid
        if payment.amount_cents == amount_cents and _day(view, payment) == today
    ]
    if same:
        return Covering(why="same_sum", over_cents=0, payments=same, unseen=unseen)
    return Covering(why="elsewhere", over_cents=0, payments=[], unseen=unseen) if unseen else None


def _posted_since(view: AccountView, payment: Receipt, billed_on: date | None) -> bool:
    if payment.state != "posted" or billed_on is None:
        return False
    paid_on = payment.value_date or _day(view, payment)
    if paid_on >= billed_on:
        return True
    decided_at = payment.decided_at or payment.accepted_at
    posted_on = local_date(decided_at, view.account.timezone)
    return posted_on >= billed_on and posted_on - paid_on <= LATE_MAX


def _day(view: AccountView, payment: Receipt) -> date:
    return local_date(payment.accepted_at, view.account.timezone)

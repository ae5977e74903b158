"""What works now and what waits for the core, in words for customers."""

from datetime import timedelta

import msgspec

from edge_portal import words
from edge_portal.pages.band import being_checked, unsettled
from edge_portal.pages.visit import Visit
from failover.intents import Receipt

DAY = timedelta(days=1)


class Works(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer can do now, and what only when the main system is back."""

    can: list[str]
    later: list[str]


def counted(visit: Visit) -> list[Receipt]:
    """Return what counts against the limits: not posted yet, of the past 24 hours."""
    since = visit.now - DAY
    return [payment for payment in unsettled(visit.view.payments) if payment.accepted_at > since]


def room_cents(visit: Visit) -> int:
    """
    Tell how much can still be paid while the core cannot be asked.

    What is accepted and not posted yet counts against the sum; the edge has the last word when it is paid.
    """
    limits = visit.view.mode.limits
    waiting = counted(visit)
    room = limits.per_account_day_cents - sum(payment.amount_cents for payment in waiting)
    full = len(waiting) >= limits.per_account_day_count
    return 0 if full else max(0, min(room, limits.per_payment_cents))


def works_now(visit: Visit, last_day: str | None) -> Works:
    """Tell what works while the core is away; ``last_day`` is the last day with usage."""
    can = []
    room = room_cents(visit) if visit.can_pay else 0
    by_phone = bool(visit.site.utility_phone)
    if room:
        can.append(f"Pay up to {visit.money(room)} now")
    elif visit.can_pay and by_phone:
        can.append(
            "Pay by phone: you have reached the limit for paying online while our main system is down"
        )
    if visit.can_pay:
        can.append("Send a meter reading or report an outage")
    can.append("Read and download your bills")
    if last_day:
        can.append(f"See your usage up to {last_day}")
    if by_phone:
        can.append("Report lights out or a wire down by phone")
    later = []
    waiting = [payment for payment in visit.view.payments if payment.state == "accepted"]
    if being_checked(visit.view.payments):
        later.append(f"We find out about {visit.checked_words}")
    if waiting:
        total = visit.money(sum(payment.amount_cents for payment in waiting))
        what = "payment posts" if len(waiting) == 1 else f"{len(waiting)} payments post"
        later.append(f"Your {what} to your account ({total})")
    if not visit.can_pay:
        later.append("Pay online")
    elif not room and not by_phone:
        later.append("Pay more online: you have reached the limit for now")
    if visit.view.archived:
        months = words.count_of(visit.site.retention_months, "month")
        later.append(f"Open bills older than {months}")
    later.append("New bills and new usage appear")
    return Works(can=can, later=later)

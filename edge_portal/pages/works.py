"""What works now and what waits for the core, in words for customers."""

from datetime import timedelta
from typing import get_args

import msgspec

from cache_sync.documents import PaymentMethod
from edge_portal import words
from edge_portal.pages.band import being_checked, unsettled
from edge_portal.pages.visit import Visit
from failover.intents import Receipt
from failover.standin import Exceeded, Exposure, MethodType, exceeded

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
    if in_the_way(visit) is not None:
        return 0
    standing = visit.view.mode.standing
    limits = standing.limits
    room = limits.account_day_cents - sum(payment.amount_cents for payment in counted(visit))
    return min(room, limits.per_payment_cents, standing.left_cents)


def in_the_way(
    visit: Visit, *, amount_cents: int = 1, method: PaymentMethod | None = None
) -> Exceeded | None:
    """Name the limit that this customer's next payment would exceed while the core cannot be asked."""
    standing, freshness, waiting = visit.view.mode.standing, visit.view.freshness, counted(visit)
    known = standing.outstanding_cents
    usable = method_types(visit)
    return exceeded(
        standing.limits,
        Exposure(
            account_day_count=len(waiting),
            account_day_cents=sum(payment.amount_cents for payment in waiting),
            edge_outstanding_cents=known or 0,
        ),
        amount_cents=amount_cents,
        method_verified=True,
        method_type=method.type if method else next(iter(usable), "card"),
        snapshot_age_seconds=None if freshness.at_least else freshness.age_seconds,
        outage_seconds=standing.outage_seconds,
        edge_share_known=known is not None,
    )


def method_types(visit: Visit) -> tuple[MethodType, ...]:
    """Tell which kinds of methods may be used now: all of them while the core is asked."""
    mode = visit.view.mode
    return mode.standing.limits.method_types if mode.mode == "degraded" else get_args(MethodType)


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
    if visit.can_send:
        can.append("Send a meter reading, report an outage or request a service")
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

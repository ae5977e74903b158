"""Payments that other edges may have accepted and this one does not show, in words."""

from edge_portal import words
from edge_portal.views import AccountView
from edge_portal.words import core_now, local_date
from failover.sibling_news import MayMiss

LOOK_FIRST = "Please look at your receipts before you pay again."


def elsewhere_told(view: AccountView) -> str:
    """Say what of this account's payments may not be shown; empty when all that is known anywhere is."""
    if view.may_miss is None:
        return ""
    if view.may_miss.why == "waiting":
        return f"{unseen_told(view.may_miss.payments)} {LOOK_FIRST}"
    return f"{_unheard_told(view, view.may_miss)} Payments with a receipt number are not lost."


def unseen_told(payments: int) -> str:
    """Say how many payments may be waiting elsewhere."""
    if payments == 1:
        return "We may have accepted a payment from you that is not shown here yet."
    return f"We may have accepted {payments} payments from you that are not shown here yet."


def _unheard_told(view: AccountView, missed: MayMiss) -> str:
    """Name the time where the day is known that it was."""
    if missed.since is None or view.freshness.at_least:
        return "Payments that you made in the last days may not all be shown here yet."
    zone = view.account.timezone
    today = local_date(core_now(view.freshness), zone)
    since = words.moment_short(missed.since, zone, today)
    return f"Payments that you made after {since} may not all be shown here yet."

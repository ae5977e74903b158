"""
What a customer is told where a stand-in limit is in the way: which, and what to do next.

Two moments: a payment was tried and not taken (`over_limit`), or none can be made and the form stays away (`closed`).
"""

from typing import Final, NamedTuple

from edge_portal import words
from edge_portal.pages.problem import Problem
from edge_portal.pages.visit import Visit
from edge_portal.pages.works import counted, room_cents

_NOT_TAKEN: Final = "We did not take your payment."
_BACK: Final = "You can pay online again when our main system is back."
_OF_THE_METHOD: Final = frozenset({"method_not_verified", "method_type"})
OF_THE_ACCOUNT: Final = frozenset({"account_day_count", "account_day_sum"})
_METHOD_NAMES: Final = {"card": "by card", "bank_account": "from a bank account"}


class Closed(NamedTuple):
    """The heading of a page that offers no payment, and why in a sentence or two."""

    heading: str
    lead: str


def over_limit(visit: Visit, which: str, method_type: str = "") -> Problem:
    """Tell of a payment that was not taken; ``method_type`` is what it was tried with."""
    room = room_cents(visit)
    now = f"You can pay up to {visit.money(room)} now." if room else _BACK
    if which == "method_not_verified":
        told = "We cannot use this payment method until it is verified. Choose another one."
    elif which == "method_type" and room:
        told = f"{not_now(method_type)} Choose another way to pay."
    elif which in {"per_payment", "account_day_sum", "edge_outstanding"}:
        told = f"{_limit(visit, which)} {now}"
    else:
        told = closed(visit, which).lead
    return Problem(
        field="" if not room else "method-1" if which in _OF_THE_METHOD else "other",
        told=f"{_NOT_TAKEN} {told}",
        call="more" if room and which not in _OF_THE_METHOD else "now",
    )


def not_now(method_type: str) -> str:
    """Tell that a kind of method cannot be used for now."""
    how = _METHOD_NAMES.get(method_type, "with this payment method")
    return f"We cannot accept payments {how} while our main system is down."


def closed(visit: Visit, which: str) -> Closed:
    """Tell why no payment can be made, and when one can be made again."""
    if which in OF_THE_ACCOUNT:
        return Closed(
            "You have reached the limit for now",
            f"{_limit(visit, which)} What we accepted is safe. You can pay more when our main system is back.",
        )
    why = {
        "edge_outstanding": _limit(visit, which),
        "snapshot_age": "What we know of your account is too old to accept a payment without our main system.",
        "outage_length": "Our main system has been down for too long to accept payments without it.",
    }.get(which, "We do not accept online payments while our main system is down.")
    return Closed("You cannot pay online right now", f"{why} {_BACK}")


def _limit(visit: Visit, which: str) -> str:
    """Name a limit and how far it is used."""
    limits, waiting = visit.view.mode.standing.limits, counted(visit)
    if which == "per_payment":
        return f"While our main system is down, one payment can be up to {visit.money(limits.per_payment_cents)}."
    if which == "account_day_count":
        most = words.count_of(limits.account_day_count, "payment")
        return f"While our main system is down, we can accept {most} from one account in one day."
    if which == "account_day_sum":
        paid = sum(payment.amount_cents for payment in waiting)
        used = f" {visit.money(paid)} of that are used." if paid else ""
        most = visit.money(limits.account_day_cents)
        return f"While our main system is down, we can accept {most} from one account in one day.{used}"
    nearly = "nearly " if visit.view.mode.standing.left_cents else ""
    return f"While our main system is down, this website can accept only so much in all, and that is {nearly}used up."

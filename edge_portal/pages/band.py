"""
What the band at the top of a page says about the node's mode, and which line it draws. Pure.

The words follow one rule: a message appears only while something differs from what the customer is used to, it says
what still works, and it never promises when the rest comes back.
"""

from typing import Literal

import msgspec

from edge_portal import words
from edge_portal.views import AccountView, Freshness, ModeView
from failover.intents import Receipt

BandState = Literal["live", "riding", "catching", "reading"]
PageKind = Literal["account", "pay", "door"]

UNSETTLED: frozenset[str] = frozenset({"accepted", "checking"})
# Older than this while the core answers: the figures are not current, and the page says so.
FRESH_SECONDS = 10.0


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """
    The service message and the line.

    ``as_of`` is the long form for the message, ``as_of_label`` the short one for headings and the line. ``heading``
    is empty when there is no message; the labels are empty when the figures are current. ``promise`` may stand further
    down on a narrow screen.
    """

    state: BandState
    heading: str = ""
    lead: str = ""
    as_of: str = ""
    body: str = ""
    promise: str = ""
    as_of_label: str = ""
    call: bool = False

    @property
    def in_title(self) -> str:
        """What titles and headings gain: `` as of 9:42 a.m.``, nothing while the figures are current."""
        return f" as of {self.as_of_label}" if self.as_of_label else ""


def unsettled(payments: list[Receipt]) -> list[Receipt]:
    """Return the payments that still wait for the core's outcome."""
    return [payment for payment in payments if payment.state in UNSETTLED]


def being_checked(payments: list[Receipt]) -> list[Receipt]:
    """Return the payments that nobody has confirmed yet: they may be taken, and must not be made again."""
    return [payment for payment in payments if payment.state == "checking"]


def checked_words(payments: list[Receipt], currency: str) -> str:
    """Name the payments that are being checked: ``your payment of $50.00``; empty when there are none."""
    checked = being_checked(payments)
    if not checked:
        return ""
    total = words.money(sum(payment.amount_cents for payment in checked), currency)
    if len(checked) == 1:
        return f"your payment of {total}"
    return f"{len(checked)} of your payments, {total} in all"


def as_of_words(freshness: Freshness, timezone: str) -> tuple[str, str]:
    """
    Tell the as-of time long and short.

    When the age is only a lower bound, nobody knows what day it is now: the day is named, never called today.
    """
    if freshness.at_least:
        told = words.moment_words(freshness.as_of, timezone, None)
        ago = words.age(freshness.age_seconds, at_least=True)
        day = words.full_date(words.local_date(freshness.as_of, timezone))
        return f"{told}, {ago} ago", f"{words.clock_time(freshness.as_of, timezone)} on {day}"
    today = words.local_date(words.core_now(freshness), timezone)
    return (
        words.moment_words(freshness.as_of, timezone, today),
        words.moment_label(freshness.as_of, timezone, today),
    )


def band_of(view: AccountView, kind: PageKind) -> Band:
    """Choose the band of a page that shows an account."""
    return choose_band(
        view.mode,
        view.freshness,
        view.account.timezone,
        kind=kind,
        waiting=len(unsettled(view.payments)) - len(being_checked(view.payments)),
        checked=checked_words(view.payments, view.account.currency),
        behind=view.catching_up,
    )


def choose_band(
    mode: ModeView,
    freshness: Freshness,
    timezone: str,
    *,
    kind: PageKind,
    waiting: int = 0,
    checked: str = "",
    behind: bool = False,
) -> Band:
    """
    Choose the band from the mode, the age of the data and this customer's payments.

    ``waiting`` counts those accepted and not posted yet, ``checked`` names those that nobody has confirmed.
    """
    long, short = as_of_words(freshness, timezone)
    if mode.mode == "degraded":
        can_pay = mode.can_pay(freshness)
        return _down(mode, kind, (long, short), _not_again(checked), can_pay=can_pay, behind=behind)
    if behind:
        return Band(
            state="catching",
            heading="We are bringing your account up to date.",
            lead="You have already seen newer figures than this page has. It shows your account as it was at ",
            as_of=long,
            body=". Look again in a moment.",
            as_of_label=short,
        )
    stale = freshness.at_least or freshness.age_seconds > FRESH_SECONDS
    if mode.mode == "recovering" and (waiting or checked):
        return _posting(waiting, _not_again(checked), long if stale else "", short if stale else "")
    if mode.mode == "recovering" and stale:
        return Band(
            state="catching",
            heading="Our main system is back. We are bringing your account up to date.",
            lead="You see your account as it was at ",
            as_of=long,
            body=". You do not need to do anything.",
            as_of_label=short,
        )
    return Band(state="live") if mode.can_pay(freshness) else _closed(_not_again(checked))


def what_is_away(reason: str) -> str:
    """Say what is not there, by the mode's reason: not every outage is the core's."""
    return {
        "forced": "We are working on our main system.",
        "breaker_held": "We are working on our main system.",
        "lease_expired": "Part of our system is down.",
        "not_registered": "Part of our system is down.",
    }.get(reason, "Our main system is down.")


def _closed(not_again: str) -> Band:
    """Say that this node takes no payment although the core answers: its disk is full, or fails."""
    return Band(
        state="live",
        heading="Part of our system is down. You cannot pay online right now.",
        body=f"{not_again} To pay {'anything else' if not_again else 'now'},".strip(),
        promise="Payments with a receipt number are not lost.",
        call=True,
    )


def _not_again(checked: str) -> str:
    if not checked:
        return ""
    it = "them" if checked[0].isdigit() else "it"
    return f" We are checking {checked}: please do not pay {it} again."


def _posting(waiting: int, not_again: str, long: str, short: str) -> Band:
    verb = "is" if waiting == 1 else "are"
    told = f"{waiting} of your payments {verb} waiting." if waiting else ""
    told = (told + (not_again or " You do not need to do anything.")).strip()
    doing = "posting the payments we accepted" if waiting else "finding out about your payment"
    return Band(
        state="catching",
        heading=f"Our main system is back. We are {doing}.",
        lead="You see your account as it was at "
        if long
        else "Your balance may change for a few minutes. ",
        as_of=long,
        body=f". {told}" if long else told,
        as_of_label=short,
    )


def _down(
    mode: ModeView,
    kind: PageKind,
    as_of: tuple[str, str],
    not_again: str,
    *,
    can_pay: bool,
    behind: bool,
) -> Band:
    long, short = as_of
    what = what_is_away(mode.reason)
    seen = {
        "account": "You see your account as it was at ",
        "pay": "Amounts on this page are as of ",
        "door": "You will see your account as it was at ",
    }[kind]
    older = " You have already seen newer figures elsewhere." if behind else ""
    if not can_pay:
        door = (
            "You can still sign in and read your bills."
            if kind == "door"
            else "You can read your bills."
        )
        return Band(
            state="reading",
            heading=f"{what} {door} You cannot pay online right now.",
            lead=seen,
            as_of=long,
            body=f".{older}{not_again} To pay {'anything else' if not_again else 'now'},",
            # No more than this: a payment made at an edge that is cut off from this one is not known here.
            promise="Payments with a receipt number are not lost.",
            as_of_label=short,
            call=True,
        )
    can = {
        "account": "You can still read your bills and pay.",
        "pay": "You can still pay.",
        "door": "You can still sign in, read your bills and pay.",
    }[kind]
    promise = {
        "account": "Payments you make now are safe. We accept them now and post them when the system is back.",
        "pay": "We accept your payment now and post it when the system is back. It counts as paid today.",
        "door": "",
    }[kind]
    return Band(
        state="riding",
        heading=f"{what} {can}",
        lead=seen,
        as_of=long,
        body=f".{older}{not_again}",
        promise=promise,
        as_of_label=short,
    )

"""A payment that others cover already, in words: what they are, and what the customer confirms to go on."""

from typing import Final

import msgspec

from edge_portal.covering import Covering
from edge_portal.pages.elsewhere import LOOK_FIRST, unseen_told
from edge_portal.pages.payment_words import SHORT, Mark
from edge_portal.pages.problem import Problem
from edge_portal.pages.visit import Visit
from failover.intents import receipt_number

FIELD: Final = "again"
"""The box that a customer ticks to pay nevertheless; its value names the payments that were shown beside it."""
SHOWN_MAX: Final = 5
NAMES_CHARACTERS_MAX: Final = 10_000


class CoveringLine(msgspec.Struct, frozen=True, kw_only=True):
    """One of the payments that cover it."""

    sum: str
    when: str
    mark: Mark
    word: str
    address: str


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """
    The warning of a review.

    ``names`` is what the box sends: the numbers of all payments that were shown. ``ticked`` says that the customer
    has confirmed these already. ``more`` is how many are not listed; ``unseen`` how many others may have been made.
    """

    heading: str
    lines: list[CoveringLine]
    more: int
    told: str
    box: str
    names: str
    ticked: bool
    unseen: int


def covered(visit: Visit, found: Covering, amount_cents: int, known: str) -> Covered:
    """Put what covers a payment of ``amount_cents`` into words; ``known`` is what the box sent the last time."""
    sum_ = visit.money(amount_cents)
    if found.why == "same_sum":
        heading, told = f"You already made a payment of {sum_} today.", ""
    elif found.why == "elsewhere":
        heading, told = "You may have paid this already.", ""
    else:
        heading = "You may be paying this twice."
        told = f"With {sum_} more you pay {visit.money(found.over_cents)} more than is left to pay."
    if found.unseen:
        told = f"{told} {unseen_told(found.unseen)} {LOOK_FIRST}".strip()
    return Covered(
        heading=heading,
        lines=[
            CoveringLine(
                sum=visit.money(payment.amount_cents),
                when=visit.event_time(payment.accepted_at),
                mark=SHORT[payment.state][0],
                word=SHORT[payment.state][1],
                address=f"/payments/{payment.intent_id}",
            )
            for payment in found.payments[:SHOWN_MAX]
        ],
        more=len(found.payments[SHOWN_MAX:]),
        told=told,
        box=f"Pay {sum_} all the same",
        names=" ".join(sorted(_names(found))),
        ticked=confirmed(found, known),
        unseen=found.unseen,
    )


def confirmed(found: Covering, known: str) -> bool:
    """Tell whether the customer was shown all that covers it, and said to pay nevertheless."""
    return _names(found) <= set(known[:NAMES_CHARACTERS_MAX].split())


def to_confirm(visit: Visit, amount_cents: int) -> Problem:
    """Ask for the box to be ticked."""
    sum_ = visit.money(amount_cents)
    return Problem(
        field=FIELD,
        told=f"We have not taken this payment yet. To pay {sum_} all the same, tick the box and press the button.",
    )


def _names(found: Covering) -> set[str]:
    names = {receipt_number(payment.intent_id) for payment in found.payments}
    return names | {f"unseen-{number}" for number in range(1, found.unseen + 1)}

"""What a customer is told of a payment in each of its states. Pure; the sentences of ``Payment states``."""

from typing import Final, Literal

import msgspec

from edge_portal.pages.band import UNSETTLED
from edge_portal.pages.visit import Visit
from failover.intents import ASKING_BANK, Receipt, receipt_number

Mark = Literal["posted", "held", "check", "no", "part"]

# Only accepted money has a receipt number; before that it is a payment number.
HAS_RECEIPT: Final = frozenset({"posted", "accepted"})

SHORT: Final[dict[str, tuple[Mark, str]]] = {
    "posted": ("posted", "posted"),
    "accepted": ("held", "accepted, not posted yet"),
    "checking": ("check", "being checked"),
    "rejected": ("no", "not accepted"),
    "dead_letter": ("check", "under review"),
    "void": ("no", "not taken"),
    "cancelled": ("no", "cancelled"),
    "declined_limit": ("no", "not taken"),
}

REJECTED_BECAUSE: Final = {
    "unknown_account": "We could not find the account.",
    "account_closed": "The account is closed.",
    "method_unknown": "The payment method is not saved with us any more.",
    "method_unverified": "The payment method is not verified.",
    "method_expired": "The payment method has expired.",
    "currency_mismatch": "It was not in the currency of your account.",
    "amount_out_of_range": "We cannot take this amount online.",
    "past_not_after": "It reached our main system too late to be taken.",
    "refused_by_operator": "We reviewed it and could not take it.",
    "id_conflict": "Another payment was made from the same form first.",
    "declined": "Your bank said no.",
    "declined_insufficient_funds": "Your bank said no: there is not enough money.",
    "declined_expired": "Your bank said no: the card has expired.",
    "declined_needs_confirmation": "Your bank said no: it wants you to confirm the payment.",
    "declined_method_unusable": "Your bank cannot be asked with this payment method any more.",
    "not_captured": "We could not ask your bank.",
}
REFUND: Final = "refund_"
"""What reasons begin with where the money was taken and goes back; the rest is a reason of `REJECTED_BECAUSE`."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step in time: ``css`` is the trail's class for its mark and for the line to the next."""

    name: str
    when: str
    css: str = ""


class PaymentWords(msgspec.Struct, frozen=True, kw_only=True):
    """
    A payment as its receipt tells it.

    ``slip`` is the paper's edge: dashed while it is on its way. ``strong`` is the part of the sentence that must not
    be overlooked. ``settled`` says that nothing more will change.
    """

    mark: Mark
    word: str
    slip: str
    heading: str
    before: str
    strong: str
    after: str
    steps: list[Step]
    number_name: str
    number: str
    settled: bool
    pay_again: bool

    @property
    def told(self) -> str:
        """Heading and sentence as one text, for programs."""
        return f"{self.heading}. {self.before}{self.strong}{self.after}"


def number_of(payment: Receipt) -> tuple[str, str]:
    """Return what a payment's number is called, and the number."""
    name = "Receipt number" if payment.state in HAS_RECEIPT else "Payment number"
    return name, receipt_number(payment.intent_id)


def payment_words(visit: Visit, payment: Receipt) -> PaymentWords:
    """Find the words for a payment, in the mode the node is in now."""
    state = payment.state
    tell = {
        "posted": _posted,
        "accepted": _accepted,
        "checking": _checking,
        "rejected": _rejected,
        "dead_letter": _review,
        "cancelled": _cancelled,
    }.get(state, _not_taken)
    mark, slip, word, heading, sentence, steps = tell(visit, payment)
    before, strong, after = sentence
    name, number = number_of(payment)
    return PaymentWords(
        mark=mark,
        word=word,
        slip=slip,
        heading=heading,
        before=before,
        strong=strong,
        after=after,
        steps=steps,
        number_name=name,
        number=number,
        settled=state not in UNSETTLED and state != "dead_letter",
        pay_again=state in {"rejected", "void", "declined_limit", "cancelled"},
    )


Told = tuple[Mark, str, str, str, tuple[str, str, str], list[Step]]


def _recorded(visit: Visit, payment: Receipt, css: str = "then") -> Step:
    return Step(name="Sent", when=visit.event_time(payment.accepted_at), css=css)


def _decided(visit: Visit, payment: Receipt) -> str:
    return visit.event_time(payment.decided_at or payment.accepted_at)


def _posted(visit: Visit, payment: Receipt) -> Told:
    amount = visit.money(payment.amount_cents)
    day = visit.month_day(visit.paid_on(payment))
    steps = [
        Step(name="Accepted", when=visit.event_time(payment.accepted_at)),
        Step(name="Posted", when=_decided(visit, payment)),
    ]
    sentence = (f"It is on your account, dated {day}, the day you paid.", "", "")
    return "posted", "", "Posted", f"We have posted your payment of {amount}", sentence, steps


def _accepted(visit: Visit, payment: Receipt) -> Told:
    amount, paid = visit.money(payment.amount_cents), visit.paid_on(payment)
    today = "today, " if paid == visit.today else "on "
    down = visit.view.mode.mode == "degraded"
    when = "when our main system is back" if down else "in a moment"
    steps = [
        Step(name="Accepted", when=visit.event_time(payment.accepted_at), css="then"),
        Step(name="Posted", when=when[0].upper() + when[1:], css="wait"),
    ]
    sentence = (
        f"It counts as paid {today}{visit.month_day(paid)}. We will post it {when}. You do not need to do anything.",
        "",
        "",
    )
    heading = f"We have accepted your payment of {amount}"
    return "held", "way", "Accepted, not posted yet", heading, sentence, steps


def _checking(visit: Visit, payment: Receipt) -> Told:
    amount = visit.money(payment.amount_cents)
    steps = [
        _recorded(visit, payment),
        Step(name="Accepted or not", when="As soon as we know, this page says so", css="wait then"),
        Step(name="Posted", when="After that", css="wait"),
    ]
    why = "We could not confirm it yet. "
    if payment.reason == ASKING_BANK:
        why = "Your bank has not told us yet if it will pay. "
    sentence = (why, "Please do not pay again.", "")
    return (
        "check",
        "way chk",
        "Being checked",
        f"We are checking your payment of {amount}",
        sentence,
        steps,
    )


def _review(visit: Visit, payment: Receipt) -> Told:
    amount = visit.money(payment.amount_cents)
    steps = [
        _recorded(visit, payment),
        Step(name="Under review", when=_decided(visit, payment), css="wait"),
    ]
    case = f" Your case number is {payment.case_number}." if payment.case_number else ""
    sentence = (f"A person is looking at it.{case} ", "Please do not pay again.", "")
    return (
        "check",
        "way chk",
        "Under review",
        f"We are checking your payment of {amount}",
        sentence,
        steps,
    )


def _rejected(visit: Visit, payment: Receipt) -> Told:
    amount = visit.money(payment.amount_cents)
    steps = [
        _recorded(visit, payment),
        Step(name="Not accepted", when=_decided(visit, payment), css="stop"),
    ]
    because = REJECTED_BECAUSE.get(payment.reason.removeprefix(REFUND), "")
    returned = payment.reason.startswith(REFUND)
    sentence = (
        f"{because} " if because else "",
        "We are giving the money back" if returned else "We did not take any money",
        " the way that you paid." if returned else " and your balance has not changed.",
    )
    heading = f"Your payment of {amount} was not accepted"
    return "no", "nope", "Not accepted", heading, sentence, steps


def _cancelled(visit: Visit, payment: Receipt) -> Told:
    amount = visit.money(payment.amount_cents)
    steps = [
        _recorded(visit, payment),
        Step(name="Cancelled", when=_decided(visit, payment), css="stop"),
    ]
    sentence = ("", "We did not take any money", " and your balance has not changed.")
    return "no", "nope", "Cancelled", f"Your payment of {amount} is cancelled", sentence, steps


def _not_taken(visit: Visit, payment: Receipt) -> Told:
    amount = visit.money(payment.amount_cents)
    steps = [Step(name="Not taken", when=_decided(visit, payment), css="stop")]
    limit = payment.state == "declined_limit"
    because = "It was over the limit that holds while our main system is down. " if limit else ""
    sentence = (because, "We did not take any money", " and your balance has not changed.")
    return "no", "nope", "Not taken", f"We did not take your payment of {amount}", sentence, steps

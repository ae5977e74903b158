"""Receipts: one payment in its state, settling by itself; and the list of all payments."""

import hashlib
from typing import Any, Final

import msgspec
from litestar import Response, get
from litestar.params import FromPath

from edge_portal.cookies import AnyRequest
from edge_portal.errors import NotFound
from edge_portal.overlay import NOT_TAKEN_STATES, as_told
from edge_portal.pages.overview import events
from edge_portal.pages.payment_words import REFUND, payment_words
from edge_portal.pages.visit import Visit, answer, carry, open_visit
from edge_portal.receipt_desk import as_download, desk_of
from failover.intents import Receipt
from failover.own_pages import PERSONAL, SECURITY_HEADERS

MARK_CHARACTERS: Final = 16


class PaymentState(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a waiting receipt asks for again and again.

    ``words`` is another whenever the page would say something else.
    """

    state: str
    settled: bool
    words: str


def mark_of_words(visit: Visit, *told: Any) -> str:
    """Mark all that a receipt says, with the message above it: equal as long as every word is."""
    said = msgspec.json.encode((told, visit.band, visit.can_pay, visit.can_send))
    return hashlib.sha256(said).hexdigest()[:MARK_CHARACTERS]


def tell_state(visit: Visit, told: PaymentState) -> Response[Any]:
    """Answer the script of a waiting receipt. That it asks is no sign of a customer: the session is not renewed."""
    headers = {**SECURITY_HEADERS, "Cache-Control": PERSONAL}
    content = msgspec.json.encode(told)
    response = Response(content, media_type="application/json", headers=headers)
    return carry(visit, response, renew=False)


@get("/payments", sync_to_thread=False, include_in_schema=False)
def payments(request: AnyRequest) -> Response[bytes]:
    """List all payments of the account."""
    visit = open_visit(request)
    made = [event for event in events(visit) if event.address.startswith("/payments/")]
    title = f"Your payments{visit.band.in_title}"
    return answer(visit, "payments.html", title=title, current="Pay", events=made)


@get("/payments/{payment_id:str}", include_in_schema=False)
async def receipt(request: AnyRequest, payment_id: FromPath[str]) -> Response[bytes]:
    """Show a payment in its state."""
    visit = open_visit(request, "pay")
    payment = await find_payment(visit, payment_id)
    told = payment_words(visit, payment)
    facts = _facts(visit, payment)
    return answer(
        visit,
        "receipt.html",
        title=told.heading,
        current="Pay",
        payment=payment,
        told=told,
        facts=facts,
        mark=mark_of_words(visit, told, facts),
        method=visit.method_label(payment.method_id),
        provable=payment.state not in NOT_TAKEN_STATES,
    )


@get("/payments/{payment_id:str}/state", include_in_schema=False)
async def receipt_state(request: AnyRequest, payment_id: FromPath[str]) -> Response[Any]:
    """Tell only a payment's state, for the script of a waiting receipt."""
    visit = open_visit(request, "pay")
    payment = await find_payment(visit, payment_id)
    told = payment_words(visit, payment)
    words = mark_of_words(visit, told, _facts(visit, payment))
    return tell_state(visit, PaymentState(state=payment.state, settled=told.settled, words=words))


@get("/payments/{payment_id:str}/receipt", include_in_schema=False)
async def receipt_file(request: AnyRequest, payment_id: FromPath[str]) -> Response[Any]:
    """Give a payment's receipt as a file that the customer can prove."""
    visit = open_visit(request, "pay")
    payment = await find_payment(visit, payment_id)
    signed = await desk_of(request).sign(visit.view.account, payment, visit.view.freshness)
    return carry(visit, as_download(signed))


async def find_payment(visit: Visit, payment_id: str) -> Receipt:
    """
    Return a payment of this account, from here or from a sibling that took it.

    Raises:
        NotFound: Nobody asked knows it.
    """
    for payment in visit.view.payments:
        if payment.intent_id == payment_id:
            return payment
    found = await visit.portal.payment(visit.view.account.account_id, payment_id)
    if found.account_id != visit.view.account.account_id:
        raise NotFound(payment_id)
    return as_told(found)


def _facts(visit: Visit, payment: Receipt) -> list[tuple[str, str, bool]]:
    """Tell the balances beside a payment: name, value, and whether it is the one that matters."""
    view = visit.view
    label = visit.band.as_of_label
    left = visit.money(max(0, view.left_to_pay_cents))
    facts = []
    if payment.state in {"accepted", "posted"}:
        if label or view.pending_cents:
            name = f"Balance as of {label}" if label else "Balance"
            facts.append((name, visit.money(view.balance_cents), False))
    elif payment.state == "checking":
        facts.append(("Counted in left to pay", "Not until we know", False))
    elif payment.reason.startswith(REFUND):
        facts.append(("Being given back to you", visit.money(payment.amount_cents), False))
    elif payment.state in {"rejected", "void", "declined_limit", "cancelled"}:
        facts.append(("Taken from you", visit.money(0), False))
    facts.append(("Left to pay", left, True))
    if view.left_to_pay_cents < 0:
        facts.append(("Credit on your account", visit.money(-view.left_to_pay_cents), False))
    return facts

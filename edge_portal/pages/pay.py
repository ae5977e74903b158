"""
Paying, in two steps: how much and with what, then a review whose button names the sum.

The form's key is made when the first step is shown, travels in the review's address, and becomes the payment's
idempotency key. So a double click, a reload and the back button all name the same payment, which is taken once.
"""

from typing import Final

import msgspec
from litestar import Response, get, post

from cache_sync.documents import PaymentMethod
from edge_portal import words
from edge_portal.cookies import AnyRequest
from edge_portal.covering import Covering, covering, paid_since_bill
from edge_portal.csrf import form_is_ours
from edge_portal.errors import InvalidPayment, KeyReused, NotTaken, OverLimit, PaymentUnknown
from edge_portal.pages import limit_words
from edge_portal.pages.covered import FIELD, confirmed, covered, to_confirm
from edge_portal.pages.failures import FORM_BYTES_MAX
from edge_portal.pages.problem import Problem
from edge_portal.pages.visit import Visit, answer, open_visit
from edge_portal.pages.works import counted, in_the_way, method_types, room_cents
from edge_portal.payment_checks import AMOUNT_MAX_CENTS
from failover.intents import Receipt, intent_id
from failover.own_pages import read_form, see_other

TAKEN: Final = frozenset({"posted", "accepted", "checking", "dead_letter", "rejected", "cancelled"})
# Within what a form may say: what is over the portal's limit is told apart from what is no amount.
READABLE_MAX_CENTS: Final = 10**9
TOO_OLD: Final = "This form was too old. We did not take any money. Please choose again."
NOT_TAKEN: Final = (
    "We could not take your payment just now. Nothing was paid. "
    "Press the button again: it will not pay twice."
)
UNKNOWN: Final = (
    "We could not confirm it yet. Press the button again to ask: it will not pay twice. "
    "Please do not pay in another way until you know."
)


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """An amount that can be chosen without typing."""

    value: str
    name: str
    sum: str
    told: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a customer chose: how much, with what, and the form's key with the idempotency key inside.

    ``again`` names the payments that were shown as covering it, when the customer said to pay nevertheless.
    """

    amount_cents: int
    method: PaymentMethod
    form_key: str
    idempotency_key: str
    again: str = ""


@get("/pay", sync_to_thread=False, include_in_schema=False)
def pay(request: AnyRequest) -> Response[bytes]:
    """Ask how much and with what; while nothing can be paid here, say so and how else."""
    return pay_form(open_visit(request, "pay"))


@get("/pay/review", sync_to_thread=False, include_in_schema=False)
def review(request: AnyRequest) -> Response[bytes]:
    """Show what will be paid before it is paid; a form that was already used leads to its receipt."""
    visit = open_visit(request, "pay")
    form = dict(request.query_params.items())
    # First of all: with the form's payment made, its "left to pay" may not even be a choice any more.
    done = _paid_with(visit, form.get("key", ""))
    if done is not None:
        return see_other(f"/payments/{done.intent_id}")
    wanted = read_choice(visit, form)
    if isinstance(wanted, Problem):
        return pay_form(visit, wanted, status=422)
    if visit.view.mode.mode == "degraded":
        # The press would be refused; a repeated press is not asked here, for the edge may have it already.
        which = in_the_way(visit, amount_cents=wanted.amount_cents, method=wanted.method)
        if which is not None:
            problem = limit_words.over_limit(visit, which, wanted.method.type)
            return pay_form(visit, problem, status=422)
    return review_page(visit, wanted)


@post("/pay", status_code=200, include_in_schema=False, request_max_body_size=FORM_BYTES_MAX)
async def confirm(request: AnyRequest) -> Response[bytes]:
    """Pay. Every way out names what is known: the receipt, or what to do now."""
    visit = open_visit(request, "pay")
    form = await read_form(request)
    if not form_is_ours(request, visit.session, form.get("csrf", "")):
        return pay_form(visit, Problem(field="", told=TOO_OLD), status=403)
    done = None if visit.can_pay else _paid_with(visit, form.get("key", ""))
    if done is not None:
        # Nothing more can be taken, and this form's payment was: "we did not take any money" would be untrue.
        return see_other(f"/payments/{done.intent_id}")
    wanted = read_choice(visit, form)
    if isinstance(wanted, Problem):
        return pay_form(visit, wanted, status=422)
    found = _covering(visit, wanted)
    if found is not None and not confirmed(found, wanted.again):
        # What covers it may have come since the review was shown, from another window or edge.
        return review_page(visit, wanted, to_confirm(visit, wanted.amount_cents), status=422)
    return await _take(visit, wanted)


async def _take(visit: Visit, wanted: Wanted) -> Response[bytes]:
    account_id = visit.view.account.account_id
    try:
        receipt = await visit.portal.pay(
            account_id,
            idempotency_key=wanted.idempotency_key,
            amount_cents=wanted.amount_cents,
            method_id=wanted.method.method_id,
        )
    except InvalidPayment as error:
        return pay_form(visit, _invalid(error), status=422)
    except OverLimit as error:
        problem = limit_words.over_limit(visit, error.which, wanted.method.type)
        return pay_form(visit, problem, status=422)
    except KeyReused:
        return pay_form(visit, _reused(visit, wanted), status=409)
    except NotTaken:
        return review_page(visit, wanted, Problem(field="", told=NOT_TAKEN), status=503)
    except PaymentUnknown:
        return review_page(visit, wanted, Problem(field="", told=UNKNOWN), status=504)
    return see_other(f"/payments/{receipt.intent_id}")


def pay_form(visit: Visit, problem: Problem | None = None, status: int = 200) -> Response[bytes]:
    """Show the first step, with what was wrong the last time."""
    limited = visit.view.mode.mode == "degraded"
    room = room_cents(visit) if limited else None
    which = in_the_way(visit) if room == 0 and visit.can_send else None
    closed = not visit.can_pay or room == 0
    usable = method_types(visit)
    saved = visit.view.account.payment_methods
    methods = [m for m in saved if m.status == "verified" and m.type in usable]
    choices = amount_choices(visit, room)
    chosen = visit.request.query_params.get("amount", "")
    return answer(
        visit,
        "pay.html",
        title="Error: Pay" if problem else "Pay",
        current="Pay",
        status=status,
        closed=closed,
        over=limit_words.closed(visit, which) if which else None,
        used_up=which in limit_words.OF_THE_ACCOUNT,
        methods=methods,
        unusable=[f"{m.label} {_why_unusable(m)}" for m in saved if m not in methods],
        choices=choices,
        chosen=chosen if chosen in {"left", "bill", "other"} else "",
        typed=visit.request.query_params.get("other", "")[:20],
        method=visit.request.query_params.get("method", ""),
        form_key="" if closed else visit.portal.new_form_key(visit.view.account.account_id),
        limits=limit_rows(visit) if limited else None,
        room=visit.money(room) if room else "",
        most=f"Up to {visit.money(room)} for now."
        if room
        else f"Up to {visit.money(AMOUNT_MAX_CENTS)}.",
        left_out=over_room(visit, room),
        least=visit.money(1),
        symbol=words.currency_symbol(visit.currency),
        dollars=words.currency_name(visit.currency),
        problem=problem,
    )


def _why_unusable(method: PaymentMethod) -> str:
    return {
        "expired": "has expired and cannot be used.",
        "unverified": "is not verified yet and cannot be used.",
    }.get(method.status, "cannot be used while our main system is down.")


def amount_choices(visit: Visit, room: int | None) -> list[Choice]:
    """Offer what is left to pay and the bill; not what is over the limit of now."""
    view = visit.view
    due = view.account.due_date
    when = f"Due {visit.day_name(due)}." if due else ""
    stale = visit.band.as_of_label
    balance = visit.money(view.balance_cents)
    if view.pending_cents > 0:
        label = f" as of {stale}" if stale else ""
        told = f"{balance}{label}, less the {visit.money(view.pending_cents)} we accepted."
    else:
        told = f"{words.stop(f'As of {stale}')} {when}" if stale else when
    name = "What is left to pay" if stale or view.pending_cents else "The amount due"
    found = []
    if view.left_to_pay_cents > 0:
        sum_ = visit.money(view.left_to_pay_cents)
        found.append(
            ("left", view.left_to_pay_cents, Choice(value="left", name=name, sum=sum_, told=told))
        )
    if view.statements and view.billed_cents > 0 and view.billed_cents != view.left_to_pay_cents:
        issued = visit.month_day(view.statements[0].issued_on)
        since = sum(payment.amount_cents for payment in paid_since_bill(view))
        bill = Choice(
            value="bill",
            name=f"Your bill of {issued}",
            sum=visit.money(view.billed_cents),
            told=f"The whole bill. You made payments of {visit.money(since)} since."
            if since
            else "The whole bill, whatever was paid since.",
        )
        found.append(("bill", view.billed_cents, bill))
    return [choice for _, cents, choice in found if room is None or cents <= room]


def over_room(visit: Visit, room: int | None) -> str:
    """Say why what is left to pay is not among the amounts offered; empty when it is, or when nothing is left."""
    left = visit.view.left_to_pay_cents
    if room is None or left <= room:
        return ""
    return (
        f"The {visit.money(left)} left to pay are more than we can accept at once right now. "
        f"Pay up to {visit.money(room)} here"
    )


def limit_rows(visit: Visit) -> list[tuple[str, str]]:
    """Tell the limits that hold while the core cannot be asked, as a sum."""
    limits = visit.view.mode.standing.limits
    waiting = sum(payment.amount_cents for payment in counted(visit))
    return [
        ("Limit for one payment", visit.money(limits.per_payment_cents)),
        (
            "Limit for one day",
            visit.money(limits.account_day_cents),
        ),
        (
            "Accepted or being checked in the last 24 hours"
            if visit.checked
            else "Accepted in the last 24 hours, not posted yet",
            visit.money(-waiting) if waiting else visit.money(0),
        ),
    ]


def read_choice(visit: Visit, form: dict[str, str]) -> Wanted | Problem:
    """Read the chosen amount, method and form key; a problem names the input that it is about."""
    if not visit.can_send:
        return Problem(field="", told="You cannot pay online right now. We did not take any money.")
    account = visit.view.account
    form_key = form.get("key", "")
    idempotency_key = visit.portal.check_form_key(account.account_id, form_key)
    if idempotency_key is None:
        return Problem(
            field="",
            told="This form was made for another account or is damaged. Please choose again.",
        )
    method = next((m for m in account.payment_methods if m.method_id == form.get("method")), None)
    if method is None or method.status != "verified":
        return Problem(field="method-1", told="Choose what to pay with.")
    amount = _amount(visit, form)
    if isinstance(amount, Problem):
        return amount
    if amount > AMOUNT_MAX_CENTS:
        return _over_the_most(visit, form.get("amount", ""))
    return Wanted(
        amount_cents=amount,
        method=method,
        form_key=form_key,
        idempotency_key=idempotency_key,
        again=form.get(FIELD, ""),
    )


def _amount(visit: Visit, form: dict[str, str]) -> int | Problem:
    choice = form.get("amount", "")
    if choice == "other":
        typed = words.parse_amount(form.get("other", ""), visit.currency)
        if typed is None or typed <= 0 or typed > READABLE_MAX_CENTS:
            example = words.plain_amount(5000, visit.currency)
            return Problem(
                field="other", told=f"Write the amount as a number, for example {example}."
            )
        return typed
    if choice == "cents" and form.get("cents", "").isascii() and form.get("cents", "").isdigit():
        # The review's own sum: what was shown is what is paid, even when the balance has changed meanwhile.
        cents = int(form["cents"][:14])
        return (
            cents
            if 0 < cents <= READABLE_MAX_CENTS
            else Problem(field="", told="Choose how much to pay.")
        )
    fixed = {"left": visit.view.left_to_pay_cents, "bill": visit.view.billed_cents}.get(choice, 0)
    if fixed <= 0:
        return Problem(field="amount-1", told="Choose how much to pay.")
    return fixed


def review_page(
    visit: Visit, wanted: Wanted, problem: Problem | None = None, status: int = 200
) -> Response[bytes]:
    """Show the second step. Its form carries the sum that it shows."""
    view, amount = visit.view, wanted.amount_cents
    after = view.left_to_pay_cents - amount
    parts = [visit.money(view.balance_cents)]
    if visit.band.as_of_label:
        parts[0] += f" as of {visit.band.as_of_label}"
    if view.pending_cents > 0:
        parts.append(f"less {visit.money(view.pending_cents)} accepted earlier")
    parts.append("less this payment")
    found = _covering(visit, wanted)
    return answer(
        visit,
        "review.html",
        title="Error: Check your payment" if problem else "Check your payment",
        current="Pay",
        status=status,
        wanted=wanted,
        amount=visit.money(amount),
        after=visit.money(max(0, after)),
        credit=visit.money(-after) if after < 0 else "",
        arithmetic=f"{', '.join(parts)}.",
        counts=words.day_name(visit.today, visit.today) + f", {visit.today.year}",
        down=view.mode.mode == "degraded",
        address=view.account.service_points[0].address if view.account.service_points else "",
        problem=problem,
        cover=covered(visit, found, amount, wanted.again) if found else None,
    )


def _paid_with(visit: Visit, form_key: str) -> Receipt | None:
    account_id = visit.view.account.account_id
    idempotency_key = visit.portal.check_form_key(account_id, form_key)
    if idempotency_key is None:
        return None
    id_ = intent_id(account_id, idempotency_key)
    return next((p for p in visit.view.payments if p.intent_id == id_ and p.state in TAKEN), None)


def _covering(visit: Visit, wanted: Wanted) -> Covering | None:
    """Find what covers this payment already; the form's own payment, made before, does not."""
    id_ = intent_id(visit.view.account.account_id, wanted.idempotency_key)
    return covering(visit.view, wanted.amount_cents, but=id_)


def _invalid(error: InvalidPayment) -> Problem:
    if error.field == "method_id":
        return Problem(field="method-1", told="We cannot use this payment method. Choose another.")
    return Problem(
        field="other",
        told="We cannot take this amount. We did not take any money. Choose another amount.",
    )


def _over_the_most(visit: Visit, choice: str) -> Problem:
    return Problem(
        field="other" if choice == "other" else "amount-1",
        told=f"We did not take any money. The most you can pay online at once is {visit.money(AMOUNT_MAX_CENTS)}.",
        call="more",
    )


def _reused(visit: Visit, wanted: Wanted) -> Problem:
    id_ = intent_id(visit.view.account.account_id, wanted.idempotency_key)
    return Problem(
        field="",
        told="You already paid with this form, and a form pays once. We did not take any more money.",
        link="See that payment",
        address=f"/payments/{id_}",
    )

"""``/api/v1``: the same rights as the pages, for programs."""

from typing import Annotated, Any

import msgspec
from litestar import Response, Router, delete, get, post
from litestar.params import FromPath, QueryParameter

from edge_portal.api.access import (
    BODY_BYTES_MAX,
    EDGE_ERRORS,
    answer,
    answer_payment,
    answer_view,
    decode_form,
    open_view,
    signed_in,
)
from edge_portal.api.bodies import (
    AccountAnswer,
    PaymentAnswer,
    PaymentForm,
    PaymentList,
    SessionAnswer,
    SignInForm,
    StatementAnswer,
    StatementList,
    SwitchForm,
    UsageAnswer,
    account_answer,
    may_miss_answer,
    payment_answer,
    statement_answer,
    statement_items,
    usage_answer,
)
from edge_portal.api.checks import check_payment
from edge_portal.api.describing import described_body
from edge_portal.api.messages import MESSAGE_ROUTES
from edge_portal.api.taking import NOTHING_TAKEN, IdempotencyKey, required_key, status_of_taken
from edge_portal.cookies import AnyRequest, end_session, label, portal_of, seen_by
from edge_portal.errors import NotFound
from edge_portal.overlay import as_told
from edge_portal.pages.payment_words import payment_words
from edge_portal.pages.visit import visit_of
from edge_portal.pdf import statement_pdf
from edge_portal.portal import Portal
from edge_portal.receipt_desk import as_download, desk_of
from edge_portal.views import AccountView
from failover.intents import Receipt
from failover.web import read_body


@post("/session", status_code=201, operation_class=described_body(SignInForm), summary="Sign in")
async def sign_in(request: AnyRequest) -> Response[bytes]:
    """Check e-mail and password, also while the core is away; the token is valid at every edge."""
    form = decode_form(await read_body(request, max_bytes=BODY_BYTES_MAX), SignInForm)
    portal = portal_of(request)
    client = request.client.host if request.client else ""
    token = await portal.sign_in(form.email, form.password, client)
    return _session(portal, token, 201)


@post(
    "/session/account",
    status_code=200,
    operation_class=described_body(SwitchForm),
    summary="Look at another account",
)
async def switch_account(request: AnyRequest) -> Response[bytes]:
    """Get a token that looks at another of the customer's accounts."""
    session = signed_in(request)
    form = decode_form(await read_body(request, max_bytes=BODY_BYTES_MAX), SwitchForm)
    portal = portal_of(request)
    return _session(portal, portal.switch_account(session, form.account_id), 200)


@delete("/session", status_code=204, summary="Sign out")
async def sign_out(request: AnyRequest) -> Response[None]:
    """End a browser's session. A bearer token is forgotten by its holder; it ends by itself within hours."""
    signed_in(request)
    response = Response(content=None, status_code=204)
    end_session(response)
    return response


@get("/account", sync_to_thread=False, summary="The account")
def account(request: AnyRequest) -> Response[AccountAnswer]:
    """Balances, due date and saved ways to pay."""
    view = open_view(request)
    return _view(account_answer(view), view)


@get("/statements", sync_to_thread=False, summary="All statements")
def statements(request: AnyRequest) -> Response[StatementList]:
    """List statements, newest first; those that only the core holds are marked ``archived``."""
    view = open_view(request, statements=True)
    return _view(StatementList(statement_items(view)), view)


@get("/statements/{statement_id:str}", summary="One statement")
async def statement(request: AnyRequest, statement_id: FromPath[str]) -> Response[StatementAnswer]:
    """Tell one statement line by line; 503 `archive_unavailable` where only the core has it and is away."""
    view = open_view(request, statements=False)
    portal = portal_of(request)
    body = portal.statement(view.account.account_id, statement_id)
    archived = body is None
    if body is None:
        body = await portal.archived_statement(view.account.account_id, statement_id)
    return _view(statement_answer(body, archived=archived), view)


@get(
    "/statements/{statement_id:str}/pdf",
    media_type="application/pdf",
    summary="One statement as PDF",
)
async def statement_as_pdf(request: AnyRequest, statement_id: FromPath[str]) -> Response[bytes]:
    """Typeset one statement."""
    view = open_view(request)
    portal = portal_of(request)
    body = portal.statement(view.account.account_id, statement_id)
    if body is None:
        body = await portal.archived_statement(view.account.account_id, statement_id)
    content = await statement_pdf(view.account, body)
    name = f"bill-{body.issued_on.isoformat()}.pdf"
    response = Response(
        content,
        media_type="application/pdf",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
    label(response, view.freshness, view.mode.mode)
    return response


@get("/usage", sync_to_thread=False, summary="Usage by day and hour")
def usage(
    request: AnyRequest,
    month: Annotated[str | None, QueryParameter(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")] = None,
) -> Response[UsageAnswer]:
    """List months of usage, or one ``month`` (``YYYY-MM``)."""
    view = open_view(request, usage=True)
    return _view(usage_answer(view, month), view)


@get("/payments", sync_to_thread=False, summary="All payments")
def payments(request: AnyRequest) -> Response[PaymentList]:
    """List the payments known here, newest first, each once."""
    view = open_view(request)
    items = [payment_answer(receipt) for receipt in view.payments]
    return _view(PaymentList(items, may_miss_answer(view)), view)


@get("/payments/{payment_id:str}", summary="One payment")
async def payment(request: AnyRequest, payment_id: FromPath[str]) -> Response[PaymentAnswer]:
    """Tell what became of a payment, in words too; asks sibling edges when it is not known here."""
    session = signed_in(request)
    receipt = await portal_of(request).payment(session.account_id, payment_id)
    if receipt.state in NOTHING_TAKEN:
        raise NotFound("nothing was taken")
    view = portal_of(request).view(
        session.account_id, seen_by(request), statements=False, usage=False
    )
    words = payment_words(visit_of(request, session, view, "pay"), as_told(receipt))
    return _payment(request, receipt, 200, words.told)


@get("/payments/{payment_id:str}/receipt", summary="A payment's signed receipt")
async def payment_receipt(request: AnyRequest, payment_id: FromPath[str]) -> Response[Any]:
    """Give what is known of a payment as a file that the customer can prove; 404 where nothing was taken."""
    view = open_view(request)
    receipt = await portal_of(request).payment(view.account.account_id, payment_id)
    signed = await desk_of(request).sign(view.account, receipt, view.freshness)
    response = as_download(signed)
    label(response, view.freshness, view.mode.mode)
    return response


@post("/payments", status_code=201, operation_class=described_body(PaymentForm), summary="Pay")
async def pay(
    request: AnyRequest,
    idempotency_key: IdempotencyKey = None,
) -> Response[PaymentAnswer]:
    """
    Pay with a saved method; ``amount`` in minor units. Repeat with the same key as often as you like.

    201 `posted`, 202 `accepted` or `checking`, 200 when the core has decided otherwise, 409 another body under this
    key, 422 over a limit, 503 not taken here, 504 unknown: for the last two, repeat with the same key.
    """
    session = signed_in(request)
    raw = await read_body(request, max_bytes=BODY_BYTES_MAX)
    key = required_key(idempotency_key)
    form = decode_form(raw, PaymentForm)
    receipt = await portal_of(request).pay(
        session.account_id,
        idempotency_key=key,
        amount_cents=form.amount,
        method_id=form.method_id,
    )
    return _payment(request, receipt, status_of_taken(receipt))


def api_router() -> Router:
    """Return the routes of ``/api/v1``."""
    return Router(
        path="/api/v1",
        route_handlers=[
            sign_in,
            switch_account,
            sign_out,
            account,
            statements,
            statement,
            statement_as_pdf,
            usage,
            payments,
            payment,
            payment_receipt,
            pay,
            check_payment,
            *MESSAGE_ROUTES,
        ],
        exception_handlers=EDGE_ERRORS,
        request_max_body_size=None,
        tags=["customers"],
    )


def _session(portal: Portal, token: str, status: int) -> Response[bytes]:
    session = portal.authenticate(token)
    body = SessionAnswer(
        token=token,
        account_id=session.account_id,
        account_ids=session.account_ids,
        expires_at=session.expires_at,
    )
    return answer(body, portal.freshness(), portal.mode().mode, status=status)


# The handlers' annotations describe the bodies for OpenAPI; what is sent is encoded already.


def _view(body: msgspec.Struct, view: AccountView) -> Response[Any]:
    return answer_view(body, view)


def _payment(
    request: AnyRequest, receipt: Receipt, status: int, told: str | None = None
) -> Response[Any]:
    return answer_payment(request, payment_answer(receipt, told), receipt, status=status)

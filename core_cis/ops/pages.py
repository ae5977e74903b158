"""The console's pages: the door, the queue, orders to the drain, the dry run, the audit log."""

import secrets
from typing import Any, Final

from litestar import Request, Response, get, post
from litestar.params import FromQuery
from litestar.types import ExceptionHandlersMap

from core_cis.audit import Act
from core_cis.drain_orders import FLEET, PACE_MAX, DrainOrder
from core_cis.errors import UnknownCase, UnknownEdge, UnknownTicket
from core_cis.ops.api import REASON_LENGTH_MAX, action_of
from core_cis.ops.case_pages import CASE_PAGES
from core_cis.ops.limit_pages import LIMIT_PAGES
from core_cis.ops.rendering import look_file, render
from core_cis.ops.session import operator_name
from core_cis.ops.ticket_pages import TICKET_PAGES
from core_cis.ops.visit import (
    NotOurForm,
    NotSignedIn,
    Visit,
    at_the_door,
    cookie,
    open_form,
    open_visit,
)
from failover.own_pages import AnyRequest, from_own_page, page, read_form, see_other

FORM_BYTES_MAX: Final = 16_384
_SHOWN: Final = 200
_LINES: Final = 50


@get("/ops/sign-in", include_in_schema=False)
async def sign_in_form(request: AnyRequest) -> Response[bytes]:
    """Show the door."""
    visit = await at_the_door(request)
    if visit.session is not None:
        return see_other("/ops")
    return visit.answer(request, "sign_in.html", title="Sign in", told="", operator="")


@post(
    "/ops/sign-in", status_code=200, include_in_schema=False, request_max_body_size=FORM_BYTES_MAX
)
async def sign_in(request: AnyRequest) -> Response[bytes]:
    """Check the operators' token; the name is written into the audit log with everything that follows."""
    visit = (await at_the_door(request))._replace(session=None)
    form = await read_form(request)
    operator = operator_name(form.get("operator", ""))
    told, status = "", 200
    if not from_own_page(request):
        told, status = "Please send the form again.", 403
    elif not operator:
        told, status = "Please give your name.", 422
    elif not request.app.state.services.is_operator(form.get("token", "").strip()):
        told, status = "This is not the operators’ token.", 401
    if told:
        return visit.answer(
            request,
            "sign_in.html",
            status,
            title="Error: Sign in",
            told=told,
            operator=operator,
        )
    response = see_other("/ops")
    visit.keep(request, response, operator, visit.now)
    return response


@post(
    "/ops/sign-out", status_code=200, include_in_schema=False, request_max_body_size=FORM_BYTES_MAX
)
async def sign_out(request: AnyRequest) -> Response[bytes]:
    """End the sign-in in this browser."""
    await open_form(request)
    response = see_other("/ops/sign-in")
    response.set_cookie(cookie(request, "", 0))
    return response


@get("/ops", include_in_schema=False)
async def queue_page(request: AnyRequest) -> Response[bytes]:
    """Show what waits at which edge."""
    visit = await open_visit(request)
    seen = await visit.desk.overview()
    return visit.answer(request, "overview.html", title="Queue", current="Queue", seen=seen)


@get("/ops/drain", include_in_schema=False)
async def order_form(request: AnyRequest, edge: FromQuery[str] = FLEET) -> Response[bytes]:
    """Ask for an order to the drain."""
    visit = await open_visit(request)
    order = (await visit.desk.orders()).of(edge)
    return _order_form(request, visit, edge, order)


def _order_form(
    request: AnyRequest,
    visit: Visit,
    edge: str,
    order: DrainOrder,
    *,
    reason: str = "",
    told: str = "",
) -> Response[bytes]:
    title = f"The drain of {edge or 'all edges'}"
    return visit.answer(
        request,
        "order.html",
        422 if told else 200,
        title=f"Error: {title}" if told else title,
        edge=edge,
        order=order,
        reason=reason,
        told=told,
    )


def _read_order(form: dict[str, str]) -> tuple[DrainOrder, str, str]:
    """Read an order and its reason, and say what is wrong with them; empty when nothing is."""
    reason = form.get("reason", "").strip()[:REASON_LENGTH_MAX]
    pace_text = form.get("pace", "").strip()
    held = form.get("held") == "yes"
    pace = int(pace_text) if pace_text.isascii() and pace_text.isdigit() else None
    if pace_text and (pace is None or not 1 <= pace <= PACE_MAX):
        return DrainOrder(held=held), reason, f"The pace is a number from 1 to {PACE_MAX:,}."
    told = "" if reason else "Please say why."
    return DrainOrder(held=held, pace=pace), reason, told


@post(
    "/ops/drain/review",
    status_code=200,
    include_in_schema=False,
    request_max_body_size=FORM_BYTES_MAX,
)
async def review_order(request: AnyRequest) -> Response[bytes]:
    """Show an order before it is given."""
    visit, form = await open_form(request)
    order, reason, told = _read_order(form)
    edge = form.get("edge", FLEET)
    if told:
        return _order_form(request, visit, edge, order, reason=reason, told=told)
    pace = f"at most {order.pace} a second" if order.pace else "the core’s own"
    return visit.answer(
        request,
        "review.html",
        title="Check the order",
        action="/ops/drain",
        back="/ops",
        button="Hold the drain" if order.held else "Give the order",
        facts=[
            ("Edge", edge or "all"),
            ("Queued payments", "held" if order.held else "taken"),
            ("Pace", pace),
            ("Why", reason),
        ],
        fields={
            "edge": edge,
            "held": "yes" if order.held else "no",
            "pace": order.pace or "",
            "reason": reason,
            "key": secrets.token_urlsafe(16),
        },
    )


@post("/ops/drain", status_code=200, include_in_schema=False, request_max_body_size=FORM_BYTES_MAX)
async def give_order(request: AnyRequest) -> Response[bytes]:
    """Give an order that was checked; sent twice, it is given once."""
    visit, form = await open_form(request)
    order, reason, told = _read_order(form)
    edge = form.get("edge", FLEET)
    if told:
        return _order_form(request, visit, edge, order, reason=reason, told=told)
    act = Act(
        operator=visit.operator,
        via="console",
        action=action_of(order.held, order.pace),
        subject=edge,
        reason=reason,
        request_key=f"console {form.get('key', '')}"[:128],
    )
    await visit.desk.order(act, order)
    return see_other("/ops")


@post(
    "/ops/rehearsal", status_code=200, include_in_schema=False, request_max_body_size=FORM_BYTES_MAX
)
async def rehearsal_page(request: AnyRequest) -> Response[bytes]:
    """Show what the drain would do; nothing of it is kept."""
    visit, _ = await open_form(request)
    made = await visit.desk.rehearse(
        Act(operator=visit.operator, via="console", action="drain.rehearse")
    )
    return visit.answer(
        request, "rehearsal.html", title="Dry run", current="Queue", made=made, shown=_SHOWN
    )


@get("/ops/audit", include_in_schema=False)
async def audit_page(request: AnyRequest, before: FromQuery[int | None] = None) -> Response[bytes]:
    """Verify the audit log and show its newest lines."""
    visit = await open_visit(request)
    found = await visit.desk.verify()
    lines = await visit.desk.log(limit=_LINES, before=before)
    older = lines[-1].number if lines and lines[-1].number > 1 else None
    return visit.answer(
        request,
        "audit.html",
        title="Audit log",
        current="Audit",
        found=found,
        lines=lines,
        older=older,
    )


def _to_the_door(_: Request[Any, Any, Any], error: NotSignedIn) -> Response[bytes]:
    del error
    return see_other("/ops/sign-in")


def _not_ours(_: Request[Any, Any, Any], error: NotOurForm) -> Response[bytes]:
    del error
    told = "It was not sent by a page of this console, or by one from before you signed in."
    return _told(403, "The form was not taken", told)


def _unknown(
    _: Request[Any, Any, Any], error: UnknownCase | UnknownEdge | UnknownTicket
) -> Response[bytes]:
    told = str(error)
    return _told(404, "Not found", f"{told[0].upper()}{told[1:]}.")


def _told(status: int, title: str, told: str) -> Response[bytes]:
    content = render("failure.html", {"title": title, "told": told})
    return page(content, status)


PAGES = [
    sign_in_form,
    sign_in,
    sign_out,
    queue_page,
    order_form,
    review_order,
    give_order,
    rehearsal_page,
    audit_page,
    look_file,
    *CASE_PAGES,
    *LIMIT_PAGES,
    *TICKET_PAGES,
]
PAGE_HANDLERS: ExceptionHandlersMap = {
    NotSignedIn: _to_the_door,
    NotOurForm: _not_ours,
    UnknownCase: _unknown,
    UnknownEdge: _unknown,
    UnknownTicket: _unknown,
}

"""The console's pages of tickets: the list, one with all that was said of it, closing it, checked before it is done."""

import secrets
from typing import Annotated, Final

from litestar import Response, get, post
from litestar.params import FromPath, QueryParameter

from core_cis.audit import Act
from core_cis.errors import TicketRefused
from core_cis.ops.api import REASON_LENGTH_MAX
from core_cis.ops.rendering import moment
from core_cis.ops.ticket_api import CLOSE
from core_cis.ops.visit import Visit, open_form, open_visit
from core_cis.ticket_history import TicketHistory
from core_cis.ticket_words import became, said_lines
from core_cis.tickets import Ticket
from failover.own_pages import AnyRequest, see_other

FORM_BYTES_MAX: Final = 16_384
_SHOWN: Final = 500
_TYPES: Final = {"outage": "Outage", "service": "Service request"}


def _is_shown(ticket: Ticket, which: str, type_: str) -> bool:
    return (which != "closed" or ticket.closed_at is not None) and type_ in {"", ticket.type}


@get("/ops/tickets", include_in_schema=False)
async def tickets_page(
    request: AnyRequest,
    which: Annotated[str, QueryParameter(name="state", max_length=20)] = "",
    kind: Annotated[str, QueryParameter(max_length=20)] = "",
) -> Response[bytes]:
    """List tickets: the open ones, or as was chosen."""
    visit = await open_visit(request)
    found = await visit.desk.tickets(everything=which in {"closed", "all"})
    shown = [ticket for ticket in found if _is_shown(ticket, which, kind)]
    return visit.answer(
        request,
        "tickets.html",
        title="Tickets",
        current="Tickets",
        tickets=shown[:_SHOWN],
        more=len(shown[_SHOWN:]),
        state=which,
        kind=kind,
        types=_TYPES,
    )


@get("/ops/tickets/{ticket_number:str}", include_in_schema=False)
async def ticket_page(request: AnyRequest, ticket_number: FromPath[str]) -> Response[bytes]:
    """Show a ticket; raises `UnknownTicket`."""
    visit = await open_visit(request)
    return _ticket_page(request, visit, await visit.desk.ticket(ticket_number))


def _ticket_page(
    request: AnyRequest, visit: Visit, found: TicketHistory, *, told: str = "", reason: str = ""
) -> Response[bytes]:
    ticket, zone = found.ticket, visit.utility.timezone
    title = f"Ticket {ticket.ticket_number}"
    return visit.answer(
        request,
        "ticket.html",
        422 if told else 200,
        title=f"Error: {title}" if told else title,
        current="Tickets",
        ticket=ticket,
        found=found,
        told=told,
        reason=reason,
        became=became,
        said_lines=said_lines,
        facts=[
            ("Kind", _TYPES[ticket.type]),
            ("Account", ticket.account_id),
            *([("Service point", ticket.service_point_id)] if ticket.service_point_id else []),
            ("First heard", moment(ticket.opened_at, zone)),
            ("Last heard", moment(ticket.reported_at, zone)),
            *([("Closed", moment(ticket.closed_at, zone))] if ticket.closed_at else []),
        ],
    )


@post(
    "/ops/tickets/{ticket_number:str}/review",
    status_code=200,
    include_in_schema=False,
    request_max_body_size=FORM_BYTES_MAX,
)
async def review_ticket(request: AnyRequest, ticket_number: FromPath[str]) -> Response[bytes]:
    """Show that a ticket will be closed before it is."""
    visit, form = await open_form(request)
    found = await visit.desk.ticket(ticket_number)
    reason = _reason(form)
    if not reason:
        return _ticket_page(request, visit, found, told="Please say why.")
    address = f"/ops/tickets/{ticket_number}"
    return visit.answer(
        request,
        "review.html",
        title="Check the action",
        current="Tickets",
        action=address,
        back=address,
        button="Close the ticket",
        facts=[
            ("Ticket", ticket_number),
            ("Action", "Close it: what is reported after is another event"),
            ("Why", reason),
        ],
        fields={"reason": reason, "key": secrets.token_urlsafe(16)},
    )


@post(
    "/ops/tickets/{ticket_number:str}",
    status_code=200,
    include_in_schema=False,
    request_max_body_size=FORM_BYTES_MAX,
)
async def close_ticket(request: AnyRequest, ticket_number: FromPath[str]) -> Response[bytes]:
    """Close a ticket as was checked; sent twice, it is closed once."""
    visit, form = await open_form(request)
    reason = _reason(form)
    act = Act(
        operator=visit.operator,
        via="console",
        action=CLOSE,
        subject=ticket_number,
        reason=reason,
        request_key=f"console {form.get('key', '')}"[:128],
    )
    told = "" if reason else "Please say why."
    try:
        if not told:
            await visit.desk.close_ticket(act)
            return see_other(f"/ops/tickets/{ticket_number}")
    except TicketRefused as error:
        told = f"{str(error)[0].upper()}{str(error)[1:]}."
    found = await visit.desk.ticket(ticket_number)
    return _ticket_page(request, visit, found, told=told, reason=reason)


def _reason(form: dict[str, str]) -> str:
    return form.get("reason", "").strip()[:REASON_LENGTH_MAX]


TICKET_PAGES = [tickets_page, ticket_page, review_ticket, close_ticket]

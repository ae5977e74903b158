"""Tickets for programs: listed, shown with their history, closed."""

from typing import Final

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery

from core_cis.api.guards import operator_guard
from core_cis.api.problems import problems
from core_cis.audit import AuditLine
from core_cis.errors import TicketRefused, UnknownTicket
from core_cis.ops.api import AnyRequest, OperatorName, ReasonText, act_of, desk
from core_cis.ticket_history import TicketHistory
from core_cis.tickets import Ticket
from failover.web import Problem, decode_json

CLOSE: Final = "ticket.close"


class CloseBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who closes a ticket, and why."""

    operator: OperatorName
    reason: ReasonText


@get("/ops/v1/tickets", guards=[operator_guard], summary="Tickets", responses=problems(401))
async def list_tickets(
    request: AnyRequest,
    everything: FromQuery[bool] = False,  # noqa: FBT002 - a query parameter
) -> list[Ticket]:
    """List the open tickets, with `everything` the closed ones too. For operators (`Authorization: Bearer`)."""
    return await desk(request).tickets(everything=everything)


@get(
    "/ops/v1/tickets/{ticket_number:str}",
    guards=[operator_guard],
    summary="One ticket, with all that was said and done",
    responses=problems(401, 404),
)
async def show_ticket(request: AnyRequest, ticket_number: FromPath[str]) -> TicketHistory:
    """Tell everything about a ticket, the oldest first. For operators (`Authorization: Bearer`)."""
    try:
        return await desk(request).ticket(ticket_number)
    except UnknownTicket as error:
        raise _unknown() from error


@post(
    "/ops/v1/tickets/{ticket_number:str}",
    guards=[operator_guard],
    status_code=200,
    summary="Close a ticket",
    responses=problems(401, 404, 409, 422),
)
async def close_ticket(request: AnyRequest, ticket_number: FromPath[str]) -> AuditLine:
    """
    Close a ticket (`CloseBody`); answer the line of the audit log.

    For operators (`Authorization: Bearer`). With an `Idempotency-Key` the same request is done once. 404
    `unknown_ticket`, 409 `ticket_refused` when it is closed already.
    """
    body = decode_json(await request.body(), CloseBody)
    act = act_of(request, body.operator, CLOSE, ticket_number, body.reason)
    try:
        return await desk(request).close_ticket(act)
    except UnknownTicket as error:
        raise _unknown() from error
    except TicketRefused as error:
        raise Problem(
            "ticket_refused", status=409, title="This cannot be done", detail=str(error)
        ) from error


def _unknown() -> Problem:
    return Problem("unknown_ticket", status=404, title="There is no such ticket")


TICKET_ROUTES = [list_tickets, show_ticket, close_ticket]

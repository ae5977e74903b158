"""Reporting an outage."""

from typing import Literal

from litestar import Response, get, post

from edge_portal.cookies import AnyRequest
from edge_portal.errors import InvalidMessage
from edge_portal.pages.failures import FORM_BYTES_MAX
from edge_portal.pages.happenings import earlier_event
from edge_portal.pages.message_words import EXTENTS
from edge_portal.pages.problem import Problem
from edge_portal.pages.sending import MessageForm
from edge_portal.pages.visit import Visit, open_visit
from edge_portal.pages.works import DAY
from failover.message_bodies import MessageBody, OutageReport
from failover.own_pages import read_form


@get("/outage", sync_to_thread=False, include_in_schema=False)
def outage(request: AnyRequest) -> Response[bytes]:
    """Ask what is out, and where."""
    return _form(open_visit(request), {}).page()


@post("/outage", status_code=200, include_in_schema=False, request_max_body_size=FORM_BYTES_MAX)
async def report_outage(request: AnyRequest) -> Response[bytes]:
    """Take a report."""
    visit = open_visit(request)
    form = await read_form(request)
    return await _form(visit, form).send(form, _read, _explain)


def _form(visit: Visit, typed: dict[str, str]) -> MessageForm:
    context = {
        "points": visit.view.account.service_points,
        "extents": EXTENTS,
        "earlier": earlier_event(visit, "outage", within=DAY),
    }
    return MessageForm(visit, "outage.html", "Report an outage", typed, context)


def _read(form: dict[str, str]) -> MessageBody | Problem:
    extents: dict[str, Literal["all", "part"]] = {"all": "all", "part": "part"}
    extent = extents.get(form.get("extent", ""))
    if extent is None:
        return Problem(field="extent-1", told="Choose what is out.")
    return OutageReport(salt="", service_point_id=form.get("point", ""), extent=extent)


def _explain(_: InvalidMessage) -> Problem:
    return Problem(field="point-1", told="Choose the address where the lights are out.")

"""Asking for a service."""

from datetime import date, timedelta
from typing import Final, get_args

from litestar import Response, get, post

from edge_portal.cookies import AnyRequest
from edge_portal.errors import InvalidMessage
from edge_portal.pages.failures import FORM_BYTES_MAX
from edge_portal.pages.happenings import earlier_event
from edge_portal.pages.message_words import SERVICES
from edge_portal.pages.problem import Problem
from edge_portal.pages.sending import MessageForm
from edge_portal.pages.visit import Visit, open_visit
from failover.message_bodies import MessageBody, ServiceKind, ServiceRequest
from failover.own_pages import read_form
from failover.service_request_rules import DAYS_AHEAD_MAX, TEXT_LENGTH_MAX

_AHEAD: Final = timedelta(days=DAYS_AHEAD_MAX)
_TOLD: Final = {
    "day_passed": ("wished-on", "This day has passed. Choose today or a later day."),
    "day_too_far": ("wished-on", f"Choose a day in the next {DAYS_AHEAD_MAX} days."),
    "text_missing": ("text", "Write what you need."),
    "text_too_long": ("text", f"Write at most {TEXT_LENGTH_MAX} characters."),
    "text_unreadable": ("text", "Write letters, numbers and line breaks only."),
}


@get("/request", sync_to_thread=False, include_in_schema=False)
def service_request(request: AnyRequest) -> Response[bytes]:
    """Ask which service is needed, and for when."""
    return _form(open_visit(request), {}).page()


@post("/request", status_code=200, include_in_schema=False, request_max_body_size=FORM_BYTES_MAX)
async def request_service(request: AnyRequest) -> Response[bytes]:
    """Take a request."""
    visit = open_visit(request)
    form = await read_form(request)
    return await _form(visit, form).send(form, _read, _explain)


def _form(visit: Visit, typed: dict[str, str]) -> MessageForm:
    context = {
        "services": SERVICES,
        "text_max": TEXT_LENGTH_MAX,
        "days_max": DAYS_AHEAD_MAX,
        "today": visit.today.isoformat(),
        "last_day": (visit.today + _AHEAD).isoformat(),
        "earlier": earlier_event(visit, "service", within=_AHEAD),
    }
    return MessageForm(visit, "request.html", "Request a service", typed, context)


def _read(form: dict[str, str]) -> MessageBody | Problem:
    kinds: dict[str, ServiceKind] = {kind: kind for kind in get_args(ServiceKind)}
    kind = kinds.get(form.get("kind", ""))
    if kind is None:
        return Problem(field="kind-1", told="Choose what you need.")
    day = form.get("wished_on", "").strip()
    try:
        wished_on = date.fromisoformat(day) if day else None
    except ValueError:
        return Problem(field="wished-on", told="Choose a day, or leave the day empty.")
    # Browsers send the end of a line as two characters, and tabs come with what is pasted.
    text = form.get("text", "").replace("\r\n", "\n").replace("\t", " ").strip()
    return ServiceRequest(salt="", kind=kind, wished_on=wished_on, text=text)


def _explain(error: InvalidMessage) -> Problem:
    field, told = _TOLD.get(error.reason, ("kind-1", "Choose what you need."))
    return Problem(field=field, told=told)

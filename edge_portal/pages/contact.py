"""Changing how the utility reaches a customer."""

from typing import Final

from litestar import Response, get, post

from edge_portal.cookies import AnyRequest
from edge_portal.errors import InvalidMessage
from edge_portal.pages.failures import FORM_BYTES_MAX
from edge_portal.pages.problem import Problem
from edge_portal.pages.sending import MessageForm
from edge_portal.pages.visit import Visit, open_visit
from failover.message_bodies import ContactChange, MessageBody
from failover.own_pages import read_form

_TOLD: Final = {
    "email_invalid": ("email", "Write the whole email address, for example name@example.com."),
    "phone_invalid": ("phone", "Write the whole phone number, for example 555-010-0100."),
}


@get("/contact", sync_to_thread=False, include_in_schema=False)
def contact(request: AnyRequest) -> Response[bytes]:
    """Ask how to reach the customer; shows what is known."""
    visit = open_visit(request)
    return _form(visit, _known(visit)).page()


@post("/contact", status_code=200, include_in_schema=False, request_max_body_size=FORM_BYTES_MAX)
async def change_contact(request: AnyRequest) -> Response[bytes]:
    """Take a change: of what is not as it was shown."""
    visit = open_visit(request)
    form = await read_form(request)
    return await _form(visit, form).send(form, _read, _explain)


def _form(visit: Visit, typed: dict[str, str]) -> MessageForm:
    context = {"known": _known(visit), "sign_in": visit.view.account.email}
    return MessageForm(visit, "contact_change.html", "Change how we reach you", typed, context)


def _known(visit: Visit) -> dict[str, str]:
    account = visit.view.account
    return {
        "email": account.contact_email or "",
        "phone": account.contact_phone or "",
    }


def _read(form: dict[str, str]) -> MessageBody | Problem:
    typed = {field: form.get(field, "").strip() for field in ("email", "phone")}
    # What was shown and left as it was is no wish: a change of it elsewhere must not be undone.
    changed = {
        field: value
        for field, value in typed.items()
        if value and value != form.get(f"was_{field}", "")
    }
    if not changed:
        return Problem(field="email", told="You have changed nothing.")
    return ContactChange(salt="", email=changed.get("email"), phone=changed.get("phone"))


def _explain(error: InvalidMessage) -> Problem:
    field, told = _TOLD.get(error.reason, ("email", "We cannot take this."))
    return Problem(field=field, told=told)

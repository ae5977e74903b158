"""Sending a meter reading."""

import re
from datetime import date
from typing import Final

import msgspec
from litestar import Response, get, post

from edge_portal import words
from edge_portal.cookies import AnyRequest
from edge_portal.errors import InvalidMessage
from edge_portal.message_checks import last_read
from edge_portal.pages.failures import FORM_BYTES_MAX
from edge_portal.pages.problem import Problem
from edge_portal.pages.sending import MessageForm
from edge_portal.pages.visit import Visit, open_visit
from failover.message_bodies import MessageBody, MeterReading
from failover.own_pages import read_form

_REGISTER: Final = re.compile(r"[0-9]{1,9}|[0-9]{1,3}(?:,[0-9]{3}){1,2}")
_WH_A_KWH: Final = 1000
_TOO_HIGH: Final = (
    "This is more than can have been used since the last reading. Please look again: "
    "leave out red numbers and numbers after a point."
)
_TOO_LOW: Final = "This is lower than the last reading of this meter. Please look again."
_TOLD: Final = {
    "register_out_of_range": ("register", "No meter shows this number. Please look again."),
    "read_in_future": ("read-on", "This day has not come yet. Choose today or a day before."),
    "reading_decreased": ("register", _TOO_LOW),
    "reading_too_high": ("register", _TOO_HIGH),
}


class MeterChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A meter that can be read; ``last`` tells its last reading, empty where none is known."""

    meter_id: str
    address: str
    last: str


@get("/reading", sync_to_thread=False, include_in_schema=False)
def reading(request: AnyRequest) -> Response[bytes]:
    """Ask for a reading."""
    visit = open_visit(request)
    return _form(visit, {"read_on": visit.today.isoformat()}).page()


@post("/reading", status_code=200, include_in_schema=False, request_max_body_size=FORM_BYTES_MAX)
async def send_reading(request: AnyRequest) -> Response[bytes]:
    """Take a reading."""
    visit = open_visit(request)
    form = await read_form(request)
    return await _form(visit, form).send(form, lambda typed: _read(visit, typed), _explain)


def _form(visit: Visit, typed: dict[str, str]) -> MessageForm:
    view = visit.view
    meters = []
    for point in view.account.service_points:
        last = last_read(point.meter_id, statements=view.statements, messages=view.messages)
        told = (
            f"{words.kwh(last.register_wh)} kWh on {visit.month_day(last.read_on)}" if last else ""
        )
        meters.append(MeterChoice(meter_id=point.meter_id, address=point.address, last=told))
    known = [meter for meter in meters if meter.meter_id]
    context = {"meters": known, "today": visit.today.isoformat()}
    return MessageForm(visit, "reading.html", "Send a meter reading", typed, context)


def _read(visit: Visit, form: dict[str, str]) -> MessageBody | Problem:
    points = {point.meter_id: point for point in visit.view.account.service_points}
    point = points.get(form.get("meter", ""))
    if point is None:
        return Problem(field="meter-1", told="Choose the meter that you read.")
    register = form.get("register", "").strip()
    if not _REGISTER.fullmatch(register):
        return Problem(
            field="register", told="Write the numbers on the meter only, for example 12345."
        )
    try:
        read_on = date.fromisoformat(form.get("read_on", "").strip())
    except ValueError:
        return Problem(field="read-on", told="Choose the day on which you read the meter.")
    return MeterReading(
        salt="",
        service_point_id=point.service_point_id,
        meter_id=point.meter_id,
        read_on=read_on,
        register_wh=int(register.replace(",", "")) * _WH_A_KWH,
    )


def _explain(error: InvalidMessage) -> Problem:
    field, told = _TOLD.get(error.reason, ("meter-1", "Choose the meter that you read."))
    return Problem(field=field, told=told)

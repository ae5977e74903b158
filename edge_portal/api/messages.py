"""What customers send besides payments, over ``/api/v1``: taken like payments, with the same states and statuses."""

from typing import Any, Final

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from edge_portal.api.access import (
    BODY_BYTES_MAX,
    T,
    answer_payment,
    answer_view,
    decode_form,
    open_view,
    signed_in,
)
from edge_portal.api.describing import described_body
from edge_portal.api.message_bodies import (
    ContactForm,
    MessageAnswer,
    MessageList,
    OutageForm,
    ReadingForm,
    ServiceRequestForm,
    message_answer,
)
from edge_portal.api.taking import NOTHING_TAKEN, IdempotencyKey, required_key, status_of_taken
from edge_portal.cookies import AnyRequest, portal_of
from edge_portal.errors import InvalidMessage, NotFound
from failover.intents import Receipt
from failover.message_bodies import (
    ContactChange,
    MessageBody,
    MeterReading,
    OutageReport,
    ServiceRequest,
)
from failover.web import read_body


@get("/messages", sync_to_thread=False, summary="All messages")
def messages(request: AnyRequest) -> Response[MessageList]:
    """List what was sent besides payments and is known here, newest first, each once."""
    view = open_view(request)
    answered: Response[Any] = answer_view(
        MessageList([message_answer(receipt) for receipt in view.messages]), view
    )
    return answered


@get("/messages/{message_id:str}", summary="One message")
async def message(request: AnyRequest, message_id: FromPath[str]) -> Response[MessageAnswer]:
    """Tell what became of a message; asks sibling edges when it is not known here."""
    session = signed_in(request)
    receipt = await portal_of(request).message(session.account_id, message_id)
    if receipt.state in NOTHING_TAKEN:
        raise NotFound("nothing was taken")
    return _told(request, receipt, 200)


@post(
    "/readings",
    status_code=201,
    operation_class=described_body(ReadingForm),
    summary="Send a meter reading",
)
async def send_reading(
    request: AnyRequest, idempotency_key: IdempotencyKey = None
) -> Response[MessageAnswer]:
    """
    Send what a meter's register showed at the beginning of a local day, in Wh.

    Answers as `POST /payments` does. A reading older than one that is known is kept as history (`kept_as_history`).
    """
    form = await _form(request, ReadingForm)
    view = open_view(request)
    points = {point.meter_id: point for point in view.account.service_points}
    point = points.get(form.meter_id)
    if point is None:
        raise InvalidMessage("meter_id", "must be one of the account's meters")
    content = MeterReading(
        salt="",
        service_point_id=point.service_point_id,
        meter_id=form.meter_id,
        read_on=form.read_on,
        register_wh=form.register_wh,
    )
    return await _send(request, idempotency_key, content)


@post(
    "/outage-reports",
    status_code=201,
    operation_class=described_body(OutageForm),
    summary="Report an outage",
)
async def report_outage(
    request: AnyRequest, idempotency_key: IdempotencyKey = None
) -> Response[MessageAnswer]:
    """
    Report that lights are out at a service point.

    Answers as `POST /payments` does. `case_number` of a posted one is the ticket; `joined_ticket` says that there was
    one of this event already.
    """
    form = await _form(request, OutageForm)
    content = OutageReport(salt="", service_point_id=form.service_point_id, extent=form.extent)
    return await _send(request, idempotency_key, content)


@post(
    "/service-requests",
    status_code=201,
    operation_class=described_body(ServiceRequestForm),
    summary="Request a service",
)
async def request_service(
    request: AnyRequest, idempotency_key: IdempotencyKey = None
) -> Response[MessageAnswer]:
    """
    Ask for a service: moving out or in, a check of the meter, work on a tree, or something else in words.

    Answers as `POST /payments` does. `case_number` of a posted one is the ticket, one for each kind that is open;
    `later_wish` says that there was one and this counts for it now, `superseded` that a later one counts.
    """
    form = await _form(request, ServiceRequestForm)
    content = ServiceRequest(salt="", kind=form.kind, wished_on=form.wished_on, text=form.text)
    return await _send(request, idempotency_key, content)


@post(
    "/contact-changes",
    status_code=201,
    operation_class=described_body(ContactForm),
    summary="Change how to be reached",
)
async def change_contact(
    request: AnyRequest, idempotency_key: IdempotencyKey = None
) -> Response[MessageAnswer]:
    """
    Change the e-mail address, the phone number or both that the utility reaches the customer by; not the sign-in.

    Answers as `POST /payments` does. `superseded` says that a later change counts instead.
    """
    form = await _form(request, ContactForm)
    content = ContactChange(salt="", email=form.email, phone=form.phone)
    return await _send(request, idempotency_key, content)


MESSAGE_ROUTES: Final[list[HTTPRouteHandler]] = [
    messages,
    message,
    send_reading,
    report_outage,
    request_service,
    change_contact,
]


async def _form(request: AnyRequest, form: type[T]) -> T:
    signed_in(request)
    return decode_form(await read_body(request, max_bytes=BODY_BYTES_MAX), form)


async def _send(
    request: AnyRequest, idempotency_key: str | None, content: MessageBody
) -> Response[MessageAnswer]:
    session = signed_in(request)
    receipt = await portal_of(request).send(
        session.account_id, idempotency_key=required_key(idempotency_key), content=content
    )
    return _told(request, receipt, status_of_taken(receipt))


def _told(request: AnyRequest, receipt: Receipt, status: int) -> Response[Any]:
    return answer_payment(request, message_answer(receipt), receipt, status=status)

"""All pages, with what becomes of the errors that they may raise."""

from typing import Any

from litestar import Request, Response, Router

from edge_portal.errors import NoSnapshot, NotFound, NotHeldHere, NotSignedIn, PaymentUnknown
from edge_portal.pages.assets import static_file
from edge_portal.pages.bills import bill, bill_pdf, bills
from edge_portal.pages.contact import change_contact, contact
from edge_portal.pages.failures import failure_page
from edge_portal.pages.messages import message, message_state, messages
from edge_portal.pages.outage import outage, report_outage
from edge_portal.pages.overview import overview
from edge_portal.pages.pay import confirm, pay, review
from edge_portal.pages.reading import reading, send_reading
from edge_portal.pages.receipts import payments, receipt, receipt_file, receipt_state
from edge_portal.pages.rendering import warm_up
from edge_portal.pages.request import request_service, service_request
from edge_portal.pages.service import accessibility, help_page, privacy, service
from edge_portal.pages.sign_in import (
    accounts,
    sign_in,
    sign_in_form,
    sign_out,
    switch_account,
    to_sign_in,
)
from edge_portal.pages.usage import usage

START_UP_SECONDS = 5


def page_handlers() -> list[Router]:
    """
    Return the routes of all pages; compiles the templates.

    The application must carry ``state.portal``, ``state.site`` and ``state.secure_cookies``.
    """
    warm_up()
    handlers = [
        overview,
        bills,
        bill,
        bill_pdf,
        usage,
        pay,
        review,
        confirm,
        payments,
        receipt,
        receipt_state,
        receipt_file,
        messages,
        message,
        message_state,
        reading,
        send_reading,
        outage,
        report_outage,
        service_request,
        request_service,
        contact,
        change_contact,
        sign_in_form,
        sign_in,
        sign_out,
        accounts,
        switch_account,
        service,
        help_page,
        accessibility,
        privacy,
        static_file,
    ]
    return [
        Router(
            path="/",
            route_handlers=handlers,
            exception_handlers={
                NotSignedIn: _not_signed_in,
                NotFound: _not_found,
                NotHeldHere: _not_held_here,
                NoSnapshot: _no_snapshot,
                PaymentUnknown: _unknown,
            },
        )
    ]


AnyRequest = Request[Any, Any, Any]


def _not_signed_in(request: AnyRequest, _: NotSignedIn) -> Response[bytes]:
    return to_sign_in(request)


def _not_found(request: AnyRequest, _: NotFound) -> Response[bytes]:
    return failure_page(request, 404)


def _not_held_here(request: AnyRequest, _: NotHeldHere) -> Response[bytes]:
    return failure_page(request, 421)


def _no_snapshot(request: AnyRequest, _: NoSnapshot) -> Response[bytes]:
    return failure_page(request, 503, START_UP_SECONDS)


def _unknown(request: AnyRequest, _: PaymentUnknown) -> Response[bytes]:
    return failure_page(request, 504)

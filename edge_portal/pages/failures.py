"""Pages for what went wrong, in the same look, and the reading of forms."""

from collections.abc import Callable
from typing import Any, Final

from litestar import Request, Response
from litestar.types import ExceptionHandlersMap

from edge_portal import words
from edge_portal.errors import NoSnapshot, NotFound, NotHeldHere, NotSignedIn
from edge_portal.pages.band import Band
from edge_portal.pages.rendering import render
from edge_portal.pages.site import site_of
from edge_portal.pages.visit import Visit, open_visit
from failover.own_pages import page

AnyHandler = Callable[[Request[Any, Any, Any], Any], Response[Any]]

FORM_BYTES_MAX: Final = 16 * 1024
FOR_MACHINES: Final = ("/api/", "/schema", "/healthz", "/readyz", "/status", "/metrics")
SERVER_ERRORS: Final = 500

TOLD: Final = {
    400: (
        "We could not read that",
        "Something in the address or the form was not as it should be.",
    ),
    403: ("This form was too old", "Nothing was changed. Please go back and send it again."),
    404: ("We could not find that page", "It may have moved, or it may belong to another account."),
    405: ("That does not work here", "This address is not for that."),
    413: ("That was too much at once", "What you sent is larger than any of our forms."),
    421: (
        "Your account is kept at another address",
        "This address serves other customers. Please sign in where you usually do.",
    ),
    429: ("Too many tries", "Please wait a moment and try again."),
    500: (
        "Something went wrong on our side",
        "Nothing was changed by what you just did, unless a receipt says so.",
    ),
    503: (
        "We cannot show your account right now",
        "This part of our site has just started and has no bills yet.",
    ),
    504: (
        "That took too long",
        "Please try again. A payment is never taken twice from the same form.",
    ),
}


def failure_page(
    request: Request[Any, Any, Any], status: int, retry_after: int | None = None
) -> Response[bytes]:
    """Answer with a page that says what went wrong and what to do now; works without session and snapshot."""
    heading, told = TOLD.get(status, TOLD[500 if status >= SERVER_ERRORS else 400])
    wait = ""
    if retry_after:
        wait = f"Please try again in {words.count_of(retry_after, 'second')}."
    visit = _visit(request) if status < SERVER_ERRORS else None
    content = render(
        "failure.html",
        {
            "site": site_of(request),
            "visit": visit,
            "band": visit.band if visit else Band(state="live"),
            "session": visit.session if visit else None,
            "title": heading,
            "current": "",
            "heading": heading,
            "told": told,
            "wait": wait,
        },
    )
    response = page(content, status)
    if retry_after:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _visit(request: Request[Any, Any, Any]) -> Visit | None:
    """Who is signed in keeps the navigation; nobody is asked to sign in for being told that something is missing."""
    try:
        return open_visit(request)
    except (NotSignedIn, NotFound, NotHeldHere, NoSnapshot):
        return None


def with_pages(handlers: ExceptionHandlersMap) -> ExceptionHandlersMap:
    """
    Let what goes wrong at a customer's address be told by a page.

    The given handlers still choose the status and write the log; machines' addresses keep their answers.
    """
    return {kind: _told_by_page(handler) for kind, handler in handlers.items()}


def _told_by_page(handler: AnyHandler) -> AnyHandler:
    def handle(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        plain = handler(request, error)
        if request.url.path.startswith(FOR_MACHINES):
            return plain
        told = failure_page(request, plain.status_code or 500)
        allowed = {name.lower(): value for name, value in plain.headers.items()}.get("allow")
        if allowed:
            told.headers["Allow"] = allowed
        return told

    return handle

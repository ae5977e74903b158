"""Signing in and out, and choosing between several accounts."""

from urllib.parse import quote, unquote

from litestar import Response, get, post

from edge_portal import words
from edge_portal.cookies import (
    SESSION_COOKIE,
    AnyRequest,
    end_session,
    keep_session,
    label,
    portal_of,
)
from edge_portal.csrf import form_is_ours
from edge_portal.errors import (
    NotFound,
    NotHeldHere,
    NotSignedIn,
    SignInBusy,
    SignInThrottled,
    WrongCredentials,
)
from edge_portal.pages.band import choose_band
from edge_portal.pages.failures import FORM_BYTES_MAX
from edge_portal.pages.rendering import render
from edge_portal.pages.site import site_of
from edge_portal.pages.visit import answer, open_visit
from failover.own_pages import from_own_page, page, read_form, see_other

HOME = "/"
ADDRESS_LENGTH_MAX = 300


@get("/sign-in", sync_to_thread=False, include_in_schema=False)
def sign_in_form(request: AnyRequest) -> Response[bytes]:
    """Show the door; who is signed in already goes on."""
    try:
        portal_of(request).authenticate(request.cookies.get(SESSION_COOKIE))
    except NotSignedIn:
        return door(request, onward=safe_address(request.query_params.get("next", "")))
    return see_other(safe_address(request.query_params.get("next", "")))


@post("/sign-in", status_code=200, include_in_schema=False, request_max_body_size=FORM_BYTES_MAX)
async def sign_in(request: AnyRequest) -> Response[bytes]:
    """Check e-mail and password; the same sentence for an unknown address and a wrong password."""
    form = await read_form(request)
    onward = safe_address(form.get("next", ""))
    email = form.get("email", "").strip()[:254]
    if not from_own_page(request):
        return door(
            request, onward=onward, email=email, status=403, told="Please send the form again."
        )
    client = request.client.host if request.client else ""
    try:
        token = await portal_of(request).sign_in(email, form.get("password", ""), client)
    except WrongCredentials:
        told = "The email or the password is not right. Check both and try again."
        return door(request, onward=onward, email=email, status=401, told=told)
    except SignInThrottled as error:
        wait = words.count_of(error.retry_after_seconds, "second")
        told = f"That was wrong several times. Please wait {wait}, then try again. Your account is not locked."
        return door(request, onward=onward, email=email, status=429, told=told)
    except SignInBusy as error:
        wait = words.count_of(error.retry_after_seconds, "second")
        told = f"Many people are signing in right now. Please try again in {wait}."
        return door(request, onward=onward, email=email, status=503, told=told)
    response = see_other(onward)
    keep_session(request, response, token)
    return response


def door(
    request: AnyRequest, *, onward: str, email: str = "", status: int = 200, told: str = ""
) -> Response[bytes]:
    """Show the sign-in page, with what was wrong the last time. Raises `NoSnapshot`."""
    portal, site = portal_of(request), site_of(request)
    freshness, mode = portal.freshness(), portal.mode()
    band = choose_band(mode, freshness, site.timezone, kind="door")
    content = render(
        "sign_in.html",
        {
            "site": site,
            "band": band,
            "session": None,
            "title": "Error: Sign in" if told else "Sign in",
            "current": "",
            "onward": onward,
            "email": email,
            "told": told,
            "down": mode.mode == "degraded",
            "payments_open": mode.can_pay(freshness),
        },
    )
    response = page(content, status)
    label(response, freshness, mode.mode)
    return response


@post("/sign-out", status_code=200, include_in_schema=False, request_max_body_size=FORM_BYTES_MAX)
async def sign_out(request: AnyRequest) -> Response[bytes]:
    """End the session in this browser."""
    visit = open_visit(request)
    form = await read_form(request)
    if not form_is_ours(request, visit.session, form.get("csrf", "")):
        return see_other(HOME)
    response = see_other("/sign-in")
    end_session(response)
    return response


@get("/accounts", sync_to_thread=False, include_in_schema=False)
def accounts(request: AnyRequest) -> Response[bytes]:
    """List the customer's accounts to choose from."""
    visit = open_visit(request)
    listed = []
    for account_id in visit.session.account_ids:
        try:
            other = visit.portal.view(account_id, (), statements=False, usage=False)
        except (NotFound, NotHeldHere):
            continue
        points = other.account.service_points
        listed.append(
            {
                "id": account_id,
                "address": points[0].address if points else "",
                "left": words.money(other.left_to_pay_cents, other.account.currency),
                "here": account_id == visit.session.account_id,
            }
        )
    title = f"Your accounts{visit.band.in_title}"
    return answer(visit, "accounts.html", title=title, current="", accounts=listed)


@post("/accounts", status_code=200, include_in_schema=False, request_max_body_size=FORM_BYTES_MAX)
async def switch_account(request: AnyRequest) -> Response[bytes]:
    """Look at another of the customer's accounts. Raises `NotFound` for anybody else's."""
    visit = open_visit(request)
    form = await read_form(request)
    if not form_is_ours(request, visit.session, form.get("csrf", "")):
        return see_other("/accounts")
    token = visit.portal.switch_account(visit.session, form.get("account", ""))
    response = see_other(HOME)
    keep_session(request, response, token)
    return response


def to_sign_in(request: AnyRequest) -> Response[bytes]:
    """Send who is not signed in to the door, and back here afterwards when it was a page that can be read again."""
    if request.method != "GET":
        return see_other("/sign-in")
    address = request.url.path
    if request.url.query:
        address += f"?{request.url.query}"
    if address == HOME or len(address) > ADDRESS_LENGTH_MAX:
        return see_other("/sign-in")
    return see_other(f"/sign-in?next={quote(address, safe='/')}")


def safe_address(address: str) -> str:
    """Return an address of this site, or the overview for anything that could lead elsewhere."""
    plain = unquote(address)
    ours = plain.startswith("/") and not plain.startswith(("//", "/\\", "/sign-"))
    tame = plain.isprintable() and "\\" not in plain and len(plain) <= ADDRESS_LENGTH_MAX
    return address if ours and tame and address.isascii() else HOME

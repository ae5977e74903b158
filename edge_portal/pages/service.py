"""The service status page and the short pages of information; they need no account and no core."""

from litestar import Response, get

from edge_portal import words
from edge_portal.cookies import SESSION_COOKIE, AnyRequest, AnyResponse, label, portal_of
from edge_portal.errors import NotFound, NotHeldHere, NotSignedIn
from edge_portal.pages.band import FRESH_SECONDS, as_of_words, choose_band, what_is_away
from edge_portal.pages.rendering import render
from edge_portal.pages.site import site_of
from edge_portal.pages.visit import Visit, open_visit
from edge_portal.pages.works import Works
from failover.own_pages import page

NAMES = {
    "live": "Everything works",
    "riding": "You can read your bills and pay.",
    "catching": "Our main system is back. We are catching up.",
    "reading": "You can read your bills. You cannot pay online right now.",
}


@get("/service", sync_to_thread=False, include_in_schema=False)
def service(request: AnyRequest) -> Response[bytes]:
    """Tell what works now, since when, and how old the figures are."""
    portal, site = portal_of(request), site_of(request)
    mode, freshness = portal.mode(), portal.freshness()
    today = words.local_date(words.core_now(freshness), site.timezone)
    limits, can_pay = mode.standing.limits, mode.can_pay(freshness)
    state = _state(mode.mode, payments_open=can_pay)
    since = mode.since
    return _plain(
        request,
        "service.html",
        "Service status",
        state=state,
        name=f"{what_is_away(mode.reason)} {NAMES[state]}"
        if mode.mode == "degraded"
        else NAMES[state]
        if can_pay
        else f"Part of our system is down. {NAMES['reading']}",
        as_of=as_of_words(freshness, site.timezone)[0],
        age=words.age(freshness.age_seconds, at_least=freshness.at_least),
        since=words.moment_short(since, site.timezone, today) if since else "",
        works=_works(payments_open=can_pay, normal=mode.mode != "degraded"),
        closed=not can_pay and mode.mode == "normal",
        archive_open=mode.archive_open,
        per_payment=words.money(limits.per_payment_cents, site.currency),
        all_payments=words.money(limits.account_day_cents, site.currency),
        zone=words.zone_name(site.timezone),
    )


def _state(mode: str, *, payments_open: bool) -> str:
    if mode == "degraded":
        return "riding" if payments_open else "reading"
    return "catching" if mode == "recovering" else "live"


def _works(*, payments_open: bool, normal: bool) -> Works:
    can = ["Sign in", "Read and download your bills", "See your usage"]
    later = []
    if payments_open:
        can.append(
            "Pay. We post your payment at once" if normal else "Pay. We accept your payment now"
        )
    else:
        later.append("Pay online")
    if not normal:
        later += [
            "Payments post to your account",
            "Bills from the archive open",
            "New bills appear",
        ]
    return Works(can=can, later=later)


@get("/help", sync_to_thread=False, include_in_schema=False)
def help_page(request: AnyRequest) -> Response[bytes]:
    """Answer the questions that people call about."""
    return _plain(request, "help.html", "Help")


@get("/accessibility", sync_to_thread=False, include_in_schema=False)
def accessibility(request: AnyRequest) -> Response[bytes]:
    """Tell what these pages do for people who read, hear or steer differently."""
    return _plain(request, "accessibility.html", "Accessibility")


@get("/privacy", sync_to_thread=False, include_in_schema=False)
def privacy(request: AnyRequest) -> Response[bytes]:
    """Tell what is stored and what is not."""
    return _plain(request, "privacy.html", "Privacy")


def _plain(request: AnyRequest, template: str, title: str, **context: object) -> AnyResponse:
    """Render a page for anybody; who is signed in keeps the navigation."""
    portal, site = portal_of(request), site_of(request)
    visit = _visit(request)
    freshness, mode = portal.freshness(), portal.mode()
    band = visit.band if visit else choose_band(mode, freshness, site.timezone, kind="door")
    shared = {
        "visit": visit,
        "site": site,
        "band": band,
        "session": visit.session if visit else None,
        "title": f"{title}{band.in_title}",
        "current": "",
        "fresh": freshness.age_seconds <= FRESH_SECONDS and not freshness.at_least,
    }
    response = page(render(template, {**shared, **context}))
    label(response, freshness, mode.mode)
    return response


def _visit(request: AnyRequest) -> Visit | None:
    if SESSION_COOKIE not in request.cookies:
        return None
    try:
        return open_visit(request)
    except (NotSignedIn, NotFound, NotHeldHere):
        return None

"""
The cookies and headers that travel between a customer and the edges, read and written in one place.

Pages and API use the same functions, so that both carry the same labels.
"""

import math
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, Final

from litestar import Request, Response
from litestar.datastructures import Cookie

from cache_sync.frames import Position
from edge_portal.portal import Portal
from edge_portal.session import Session
from edge_portal.views import Freshness, Mode

SESSION_COOKIE: Final = "ridethrough_session"
POSITIONS_MAX: Final = 8
"""Customers with accounts in more shards than this are rare; the cookie stays small."""

POSITION_COOKIE: Final = "ridethrough_position"
SESSION_COOKIE_SECONDS: Final = 8 * 3600
POSITION_COOKIE_SECONDS: Final = 30 * 86400

AnyRequest = Request[Any, Any, Any]
AnyResponse = Response[Any]


def portal_of(request: AnyRequest) -> Portal:
    """Return the worker's portal."""
    portal = request.app.state.portal
    assert isinstance(portal, Portal)
    return portal


def session_of(request: AnyRequest) -> Session:
    """
    Authenticate a page request by its session cookie.

    Raises:
        NotSignedIn: Send the customer to the sign-in page.
    """
    return portal_of(request).authenticate(request.cookies.get(SESSION_COOKIE))


def seen_by(request: AnyRequest) -> tuple[Position, ...]:
    """
    Return the furthest position that this customer has seen of each shard, by header or cookie.

    The cookie is signed: one left behind by another installation on the same host name is not believed.
    """
    header = request.headers.get("Ridethrough-Position")
    cookie = request.cookies.get(POSITION_COOKIE)
    named = Position.parse(header) if header else None
    return furthest(
        *(portal_of(request).read_positions(cookie) if cookie else ()),
        *((named,) if named is not None else ()),
    )


def furthest(*positions: Position) -> tuple[Position, ...]:
    """Return of each shard the position that has seen the most, of the shards that were named last."""
    newest: dict[str, Position] = {}
    for position in positions:
        other = newest.pop(position.shard, position)
        newest[position.shard] = max(other, position, key=lambda one: (one.epoch, one.seq))
    return tuple(newest.values())[-POSITIONS_MAX:]


def label(response: AnyResponse, freshness: Freshness, mode: Mode) -> None:
    """Put the labels of a read on its response: Age, Ridethrough-As-Of, -Mode, -Position."""
    response.headers["Age"] = str(math.ceil(freshness.age_seconds))
    response.headers["Ridethrough-As-Of"] = rfc3339(freshness.as_of)
    response.headers["Ridethrough-Mode"] = mode
    response.headers["Ridethrough-Position"] = str(freshness.position)


def rfc3339(moment: datetime) -> str:
    """Write an instant as RFC 3339 in UTC with microseconds."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def keep_position(request: AnyRequest, response: AnyResponse, shown: Position) -> None:
    """Let the browser carry the furthest positions seen to whichever edge answers next."""
    value = portal_of(request).write_positions(furthest(*seen_by(request), shown))
    secure = bool(request.app.state.secure_cookies)
    response.set_cookie(_position_cookie(value, secure=secure))


def keep_session(request: AnyRequest, response: AnyResponse, token: str) -> None:
    """Sign a browser in, or renew its session."""
    secure = bool(request.app.state.secure_cookies)
    response.set_cookie(
        _cookie(Cookie, SESSION_COOKIE, token, SESSION_COOKIE_SECONDS, secure=secure)
    )


def end_session(response: AnyResponse) -> None:
    """Sign a browser out."""
    response.delete_cookie(SESSION_COOKIE)


class _WrittenCookie(Cookie):
    """A cookie that is written as a header once, however many answers bear it."""

    @cached_property
    def _header(self) -> tuple[bytes, bytes]:
        return super().to_encoded_header()

    def to_encoded_header(self) -> tuple[bytes, bytes]:
        """Return it as a header."""
        return self._header


@lru_cache(256)
def _position_cookie(value: str, *, secure: bool) -> Cookie:
    """Make the cookie of a position: between two commits of the core, nearly every answer bears the same."""
    return _cookie(_WrittenCookie, POSITION_COOKIE, value, POSITION_COOKIE_SECONDS, secure=secure)


def _cookie(kind: type[Cookie], key: str, value: str, max_age: int, *, secure: bool) -> Cookie:
    return kind(
        key=key,
        value=value,
        max_age=max_age,
        path="/",
        httponly=True,
        samesite="lax",
        secure=secure,
    )

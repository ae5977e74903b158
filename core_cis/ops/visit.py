"""A signed-in operator's request: who it is, that a form is ours, and how a page is answered."""

import hmac
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from litestar import Response
from litestar.datastructures import Cookie

from core_cis.ops import rendering
from core_cis.ops.desk import OperationsDesk
from core_cis.ops.session import SECONDS, Session, Sessions
from core_cis.settings import Utility
from failover.own_pages import AnyRequest, from_own_page, page, read_form

COOKIE: Final = "ridethrough_operator"
MARKS: Final = {
    "open": "check",
    "posted": "posted",
    "rejected": "no",
    "dead_letter": "check",
    "refused": "no",
}


class NotSignedIn(Exception):
    """Nobody is signed in: to the door."""


class NotOurForm(Exception):
    """A form that our pages did not send, or not in this sign-in."""


class Visit(NamedTuple):
    """An operator at the console; ``session`` is None at the door."""

    desk: OperationsDesk
    sessions: Sessions
    session: Session | None
    utility: Utility
    now: datetime

    @property
    def operator(self) -> str:
        """Name the operator."""
        return self.session.operator if self.session else ""

    def answer(
        self, request: AnyRequest, template: str, /, status: int = 200, **context: Any
    ) -> Response[bytes]:
        """Render a page, and let the sign-in go on."""
        currency, timezone = self.utility.currency, self.utility.timezone
        content = rendering.render(
            template,
            {
                "utility": self.utility,
                "session": self.session,
                "current": "",
                "marks": MARKS,
                "money": lambda cents: rendering.money(cents, currency),
                "moment": partial(rendering.moment, timezone=timezone),
                **context,
            },
        )
        response = page(content, status)
        if self.session is not None:
            self.keep(request, response, self.session.operator, self.session.began_at)
        return response

    def keep(
        self, request: AnyRequest, response: Response[bytes], operator: str, began_at: datetime
    ) -> None:
        """Give the browser the sign-in."""
        value = self.sessions.issue(operator, began_at, self.now)
        response.set_cookie(cookie(request, value, SECONDS))


def cookie(request: AnyRequest, value: str, seconds: int) -> Cookie:
    """Make the console's cookie: no script reads it, no other site sends it."""
    return Cookie(
        key=COOKIE,
        value=value,
        max_age=seconds,
        path="/ops",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


async def at_the_door(request: AnyRequest) -> Visit:
    """Open a visit of whoever it is."""
    state = request.app.state
    now = state.services.clock.now()
    session = state.sessions.read(request.cookies.get(COOKIE), now)
    return Visit(state.desk, state.sessions, session, await state.services.utility(), now)


async def open_visit(request: AnyRequest) -> Visit:
    """
    Open a signed-in operator's visit.

    Raises:
        NotSignedIn: There is no sign-in, or it has ended.
    """
    visit = await at_the_door(request)
    if visit.session is None:
        raise NotSignedIn
    return visit


async def open_form(request: AnyRequest) -> tuple[Visit, dict[str, str]]:
    """
    Open the visit of a posted form, and read it.

    Raises:
        NotSignedIn: There is no sign-in, or it has ended.
        NotOurForm: Another site sent it, or another sign-in's page.
    """
    visit = await open_visit(request)
    form = await read_form(request)
    assert visit.session is not None, "a visit that is open is signed in"
    ours = hmac.compare_digest(visit.session.csrf.encode(), form.get("csrf", "").encode())
    if not (ours and from_own_page(request)):
        raise NotOurForm
    return visit, form

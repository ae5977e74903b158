"""Which requests may be answered before the framework, and how they are read."""

from typing import Any

import pytest

from cache_sync.frames import Position
from edge_portal.cookies import POSITION_COOKIE, SESSION_COOKIE
from edge_portal.hot_questions import HotQuestions, Question

SEEN = Position(1, "0", 7)
BILL = "/bills/st_1"
ACCOUNT = "/api/v1/account"
COOKIE = (b"cookie", f"a=b; {SESSION_COOKIE}=token; {POSITION_COOKIE}=1.0.7~mac".encode())
BEARER = (b"authorization", b"Bearer token")


class Asking:
    """Reads requests, and counts how often a cookie is read."""

    def __init__(self) -> None:
        self.cookies_read = 0
        self.questions = HotQuestions(self._positions)

    def _positions(self, text: str) -> tuple[Position, ...]:
        self.cookies_read += 1
        return (SEEN,) if text == "1.0.7~mac" else ()

    def ask(self, path: str, *headers: tuple[bytes, bytes], **changes: Any) -> Question | None:
        """Read a request."""
        scope: Any = {"type": "http", "method": "GET", "query_string": b""}
        return self.questions.read(
            scope | {"path": path, "headers": [(b"host", b"x"), *headers]} | changes
        )


def test_an_account_is_asked_for_with_a_bearer_token() -> None:
    """Whatever the case of its scheme."""
    for scheme in (b"Bearer", b"bearer", b"BEARER"):
        found = Asking().ask(ACCOUNT, (b"authorization", scheme + b" token"))
        assert found == Question((ACCOUNT, "token"), page=False, seen=())


def test_a_page_is_asked_for_with_cookies() -> None:
    """The bill's id is what is behind the address."""
    found = Asking().ask(BILL, COOKIE)
    assert found == Question((BILL, "token"), page=True, seen=(SEEN,))
    assert found.token == "token"
    assert found.statement_id == "st_1"


def test_a_header_s_position_counts_too() -> None:
    """Beside the cookie's, and alone."""
    header = (b"ridethrough-position", b"1.0.9")
    account, page = Asking().ask(ACCOUNT, BEARER, header), Asking().ask(BILL, COOKIE, header)
    assert account
    assert account.seen == (Position(1, "0", 9),)
    assert page
    assert page.seen == (SEEN, Position(1, "0", 9))


def test_the_same_request_is_read_once() -> None:
    """But not where one byte is another, nor where it is long."""
    asking = Asking()
    assert asking.ask(BILL, COOKIE) == asking.ask(BILL, COOKIE)
    assert asking.cookies_read == 1
    other = asking.ask(BILL, (b"cookie", COOKIE[1].replace(b"token", b"tokem")))
    assert other
    assert other.token == "tokem"
    assert asking.cookies_read == 2
    long = (b"cookie", COOKIE[1] + b"; x=" + b"y" * 3000)
    assert asking.ask(BILL, long) == asking.ask(BILL, long)
    assert asking.cookies_read == 4


@pytest.mark.parametrize(
    ("path", "headers", "changes"),
    [
        ("/bills", [COOKIE], {}),
        ("/bills/st_1/pdf", [COOKIE], {}),
        (BILL, [], {}),
        (BILL, [COOKIE, COOKIE], {}),
        (BILL, [(b"cookie", COOKIE[1] + b"; " + COOKIE[1])], {}),
        (BILL, [(b"cookie", f'{SESSION_COOKIE}="token"'.encode())], {}),
        (BILL, [COOKIE], {"query_string": b"x=1"}),
        (BILL, [COOKIE], {"method": "POST"}),
        (BILL, [COOKIE], {"type": "websocket"}),
        (ACCOUNT, [], {}),
        (ACCOUNT, [COOKIE], {}),
        (ACCOUNT, [BEARER, COOKIE], {}),
        (ACCOUNT, [BEARER, BEARER], {}),
        (ACCOUNT, [(b"authorization", b""), BEARER], {}),
        (ACCOUNT, [(b"authorization", b"Node a:b")], {}),
    ],
)
def test_everything_else_is_the_frameworks(
    path: str, headers: list[tuple[bytes, bytes]], changes: dict[str, Any]
) -> None:
    """Other addresses, methods and ways to sign in, and whatever is doubled; the second time as well."""
    asking = Asking()
    assert asking.ask(path, *headers, **changes) is None
    assert asking.ask(path, *headers, **changes) is None

"""What both applications answer: problem details whatever went wrong, strict bodies, known nodes only."""

from typing import Any

import msgspec
import pytest
from litestar import Litestar, Request, get, post
from litestar.datastructures import State
from litestar.params import FromPath
from litestar.testing import TestClient

from failover import web
from failover.signing import secret_hash

BODY_MAX = 1_200_000


class Payment(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A strict body."""

    amount: int
    method_id: str = ""


@get("/number/{number:int}")
async def number(number: FromPath[int]) -> dict[str, int]:
    """Take a typed parameter."""
    return {"number": number}


@get("/broken")
async def broken() -> None:
    """Fail as a bug would."""
    raise ValueError("jane@example.com owes 12.34")


@post("/payments")
async def payments(request: Request[Any, Any, Any]) -> dict[str, int]:
    """Read a strict body."""
    payment = web.decode_json(
        await web.read_body(request, max_bytes=BODY_MAX), Payment, max_bytes=BODY_MAX
    )
    return {"amount": payment.amount}


@get("/teapot")
async def teapot() -> None:
    """Raise a problem with everything that one can carry."""
    raise web.Problem(
        "teapot",
        status=418,
        title="Short and stout",
        detail="Tip me over.",
        errors=[web.FieldError("spout", "must be open")],
        retry="same",
        headers={"Retry-After": "3"},
        limit="per_payment",
    )


@get("/node", guards=[web.node_guard])
async def node(request: Request[Any, Any, Any]) -> dict[str, str]:
    """Tell who calls."""
    return {"caller": web.caller(request)}


@pytest.fixture(scope="module")
def client() -> TestClient[Litestar]:
    """Return a client of an application with our handlers."""
    app = Litestar(
        [number, broken, payments, teapot, node],
        exception_handlers=web.exception_handlers,
        request_max_body_size=None,
        state=State({"node_keys": web.NodeKeys({"east": secret_hash("s3cret")})}),
    )
    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/number/abc", 404, "not_found"),
        ("DELETE", "/payments", 405, "method_not_allowed"),
        ("GET", "/broken", 500, "internal_error"),
        ("GET", "/node", 401, "not_a_known_node"),
    ],
)
def test_every_error_is_a_problem_detail(
    client: TestClient[Litestar], method: str, path: str, status: int, slug: str
) -> None:
    """With our media type, a type, a title and the status, and nothing of what was inside."""
    response = client.request(method, path)
    body = response.json()
    assert response.status_code == status
    assert response.headers["content-type"] == web.PROBLEM_JSON
    assert body["type"] == f"urn:ridethrough:problem:{slug}"
    assert body["status"] == status
    assert body["title"]
    assert "jane" not in response.text


def test_a_bug_is_logged_without_what_it_said(
    client: TestClient[Litestar], capsys: pytest.CaptureFixture[str]
) -> None:
    """Type, route and place: messages and variables may hold what belongs to customers."""
    client.get("/broken")
    logged = "".join(capsys.readouterr())
    assert "ValueError" in logged
    assert "/broken" in logged
    assert "jane" not in logged


def test_a_problem_carries_its_members_and_headers(client: TestClient[Litestar]) -> None:
    """Errors by field, retry, and what the raiser adds."""
    response = client.get("/teapot")
    assert response.json() == {
        "type": "urn:ridethrough:problem:teapot",
        "title": "Short and stout",
        "status": 418,
        "detail": "Tip me over.",
        "errors": [{"field": "spout", "rule": "must be open"}],
        "retry": "same",
        "limit": "per_payment",
    }
    assert response.headers["retry-after"] == "3"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"amount": 12}', 201, None),
        (b'{"amount": "12"}', 422, "amount"),
        (b'{"amount": 1.5}', 422, "amount"),
        (b'{"amount": 1.0}', 422, "amount"),
        (b'{"amount": 1e3}', 422, "amount"),
        (b'{"amount": true}', 422, "amount"),
        (b'{"amount": null}', 422, "amount"),
        (b"{}", 422, "amount"),
        (b'{"amount": 1, "colour": "red"}', 422, "colour"),
        (b"[]", 422, ""),
        (b"", 400, None),
        (b"{", 400, None),
        (b'{"amount": \xff}', 400, None),
        (b"[" * 100_000, 422, ""),
        (b" " * 1_200_001, 413, None),
        (b" " * 20_000_000, 413, None),
    ],
)
def test_bodies_are_read_strictly(
    client: TestClient[Litestar], body: bytes, status: int, field: str | None
) -> None:
    """Only an integer is an integer; what is wrong is named by field and rule."""
    response = client.post("/payments", content=body)
    assert response.status_code == status
    if field is not None:
        (error,) = response.json()["errors"]
        assert error["field"] == field
        assert error["rule"]


def test_nesting_is_bounded_whatever_is_asked_for() -> None:
    """A hundred thousand brackets are a client's error, not ours."""
    for body in (b"[" * 100_000, b'{"a":' * 100_000):
        with pytest.raises(web.Problem) as refused:
            web.decode_json(body, object, max_bytes=BODY_MAX)
        assert refused.value.status == 400


def test_msgpack_is_read_as_strictly() -> None:
    """The same rules on the wire between nodes."""
    assert web.decode_msgpack(msgspec.msgpack.encode({"amount": 5}), Payment).amount == 5
    with pytest.raises(web.Problem) as refused:
        web.decode_msgpack(msgspec.msgpack.encode({"amount": "5"}), Payment)
    assert refused.value.status == 422
    with pytest.raises(web.Problem) as refused:
        web.decode_msgpack(b"\xc1", Payment)
    assert refused.value.status == 400


def test_a_known_node_is_let_in(client: TestClient[Litestar]) -> None:
    """And the handler knows which."""
    headers = {"Authorization": web.authorization_header("east", "s3cret")}
    assert client.get("/node", headers=headers).json() == {"caller": "east"}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Node",
        "Node east",
        "Node east:",
        "Node east:wrong",
        "Node west:s3cret",
        "Bearer east:s3cret",
        "Node :",
    ],
)
def test_anybody_else_is_not(client: TestClient[Litestar], header: str) -> None:
    """An unknown node looks like a wrong secret."""
    response = client.get("/node", headers={"Authorization": header})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Node"


def test_bearer_tokens() -> None:
    """Taken out of the header, whatever the case of the scheme."""
    assert web.bearer_token("Bearer abc") == "abc"
    assert web.bearer_token("bearer abc") == "abc"
    assert web.bearer_token("Bearer ") is None
    assert web.bearer_token("Basic abc") is None
    assert web.bearer_token(None) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250", 0.25),
        ("0", 0.0),
        ("999999", 5.0),
        ("", 1.0),
        ("-5", 1.0),
        ("1.5", 1.0),
        ("9" * 5000, 1.0),
        ("²", 1.0),
    ],
)
def test_a_deadline_is_read_and_capped(text: str, seconds: float) -> None:
    """Relative milliseconds; nonsense means the default."""
    headers = {web.DEADLINE_HEADER: text}
    assert web.remaining_seconds(headers, default=1.0, maximum=5.0) == seconds


def test_a_deadline_travels() -> None:
    """What one node writes the next one reads; a passed one is zero, not negative."""
    headers = {web.DEADLINE_HEADER: web.deadline_header(0.25)}
    assert web.remaining_seconds(headers, default=9, maximum=9) == 0.25
    assert web.deadline_header(-1) == "0"

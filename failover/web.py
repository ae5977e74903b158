"""
What both applications need of HTTP: problem details, strict bodies, node authentication, deadlines.

Errors are problem details (RFC 9457) whatever went wrong, also where the framework would answer otherwise.
"""

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
import structlog
from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, MethodNotAllowedException
from litestar.handlers import BaseRouteHandler
from litestar.types import ExceptionHandlersMap, Send

from failover.allowed_values import allowed_values
from failover.errors import where
from failover.signing import secret_hash

PROBLEM_JSON = "application/problem+json"
MSGPACK = "application/msgpack"
DEADLINE_HEADER = "Ridethrough-Deadline-Ms"
BODY_BYTES_MAX = 65_536
CERTIFIED_NODE = "certified_node"
"""In a request's state, where nodes speak TLS: whom the caller's certificate is made out to."""

_TYPE_PREFIX = "urn:ridethrough:problem:"
_DRAINED_BYTES_MAX = 64 * 1024 * 1024
_ERROR_PATH = re.compile(r"^(?P<rule>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_NOT_ALLOWED = "Invalid enum value"
_MISSING_FIELD = re.compile(r"(?:missing required|contains unknown) field `(?P<field>[^`]*)`")

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class FieldError(msgspec.Struct, frozen=True):
    """One field of a request and the rule that it breaks."""

    field: str
    rule: str


class Problem(Exception):
    """
    A problem detail, raised anywhere below a route.

    ``slug`` makes the type ``urn:ridethrough:problem:<slug>``; ``retry`` is ``same`` where repeating with the same
    idempotency key is the right thing to do; further keyword arguments become members of the answer.
    """

    def __init__(
        self,
        slug: str,
        *,
        status: int,
        title: str,
        detail: str = "",
        errors: Iterable[FieldError] = (),
        retry: str | None = None,
        headers: Mapping[str, str] | None = None,
        **members: object,
    ) -> None:
        super().__init__(f"{status} {slug}: {detail or title}")
        self.slug = slug
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.retry = retry
        self.headers = dict(headers or {})
        self.members = members

    def body(self) -> dict[str, object]:
        """Return the members of the answer, in the order of RFC 9457."""
        members: dict[str, object] = {
            "type": _TYPE_PREFIX + self.slug,
            "title": self.title,
            "status": self.status,
        }
        if self.detail:
            members["detail"] = self.detail
        if self.errors:
            members["errors"] = self.errors
        if self.retry is not None:
            members["retry"] = self.retry
        return members | self.members


def problem_response(problem: Problem) -> Response[bytes]:
    """Build the answer for a problem."""
    return Response(
        content=msgspec.json.encode(problem.body()),
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers={"Cache-Control": "no-store"} | problem.headers,
    )


async def send_response(response: Response[bytes], send: Send) -> None:
    """Send an answer of a few headers and whole content, from before the framework."""
    headers = {
        "Content-Type": response.media_type or "application/octet-stream",
        "Content-Length": str(len(response.content)),
        **response.headers,
    }
    await send(
        {
            "type": "http.response.start",
            "status": response.status_code or HTTPStatus.OK,
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in headers.items()
            ],
        }
    )
    await send({"type": "http.response.body", "body": response.content, "more_body": False})


def _phrase_slug(status: int) -> tuple[str, str]:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Error"
    return phrase.lower().replace(" ", "_").replace("-", "_"), phrase


def _handle_problem(_: Request[Any, Any, Any], error: Problem) -> Response[bytes]:
    return problem_response(error)


def _field_errors(extra: object) -> list[FieldError]:
    """Turn litestar's own list of what is wrong with parameters into ours."""
    if not isinstance(extra, list):
        return []
    return [
        FieldError(str(item.get("key", "")), str(item.get("message", "")))
        for item in extra
        if isinstance(item, dict)
    ]


def _handle_http(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    slug, phrase = _phrase_slug(error.status_code)
    # The framework's detail may quote what was sent; below 500 only its validation list is worth repeating.
    return problem_response(
        Problem(
            slug,
            status=error.status_code,
            title=phrase,
            errors=_field_errors(error.extra),
            headers=error.headers if isinstance(error, MethodNotAllowedException) else None,
        )
    )


def _handle_recursion(_: Request[Any, Any, Any], error: RecursionError) -> Response[bytes]:
    del error
    return problem_response(_too_deep())


def _handle_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    # The path's template, not the path, and frames without messages or variables: what belongs to customers stays out
    # of logs.
    _log.error(
        "request failed",
        route=request.scope.get("path_template", ""),
        error=type(error).__name__,
        frames=where(error),
    )
    return problem_response(
        Problem(
            "internal_error",
            status=500,
            title="Something went wrong here",
            detail="This is our fault, not yours. Repeating the same request is safe.",
        )
    )


exception_handlers: ExceptionHandlersMap = {
    Problem: _handle_problem,
    HTTPException: _handle_http,
    RecursionError: _handle_recursion,
    Exception: _handle_unexpected,
}
"""For ``Litestar(exception_handlers=…)``."""


def _too_deep() -> Problem:
    return Problem(
        "bad_body", status=400, title="The body cannot be read", detail="It is nested too deeply."
    )


def _too_large(max_bytes: int) -> Problem:
    return Problem(
        "body_too_large",
        status=413,
        title="The body is too large",
        detail=f"At most {max_bytes} bytes are read.",
    )


def _field_error(error: msgspec.ValidationError, type_: Any) -> FieldError:
    found = _ERROR_PATH.match(str(error))
    rule, path = (found["rule"], found["path"] or "") if found else (str(error), "")
    missing = _MISSING_FIELD.search(rule)
    field = (
        path.removeprefix(".")
        + ("." if path and missing else "")
        + (missing["field"] if missing else "")
    )
    if rule.startswith(_NOT_ALLOWED):
        # The library repeats what was sent; what helps is what may be.
        rule = f"must be one of {', '.join(allowed_values(type_, field))}"
    return FieldError(field, rule)


def _decode(
    body: bytes, type_: type[T], decode: Callable[[bytes], T], max_bytes: int, language: str
) -> T:
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        wrong = _field_error(error, type_)
        raise Problem(
            "invalid_body",
            status=422,
            title="The body is not what is asked for",
            detail=wrong.rule,
            errors=[wrong],
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(
            "bad_body",
            status=400,
            title="The body cannot be read",
            detail=f"It is not valid {language}.",
        ) from error
    except RecursionError as error:
        raise _too_deep() from error


def decode_json(body: bytes, type_: type[T], *, max_bytes: int = BODY_BYTES_MAX) -> T:
    """
    Decode a JSON body strictly: ``"12"``, ``1.0`` and ``true`` are no integers.

    Unknown fields are refused where the struct says ``forbid_unknown_fields=True``.

    Raises:
        Problem: 400 not JSON or nested too deeply, 413 too large, 422 with the field and rule otherwise.
    """
    return _decode(body, type_, lambda raw: msgspec.json.decode(raw, type=type_), max_bytes, "JSON")


def decode_msgpack(body: bytes, type_: type[T], *, max_bytes: int = 8 * BODY_BYTES_MAX) -> T:
    """Decode a msgpack body strictly; raises as `decode_json`."""
    return _decode(
        body, type_, lambda raw: msgspec.msgpack.decode(raw, type=type_), max_bytes, "msgpack"
    )


async def read_body(request: Request[Any, Any, Any], *, max_bytes: int = BODY_BYTES_MAX) -> bytes:
    """
    Read a request's body, and no more of it than asked for.

    What is beyond ``max_bytes`` is taken off the wire and dropped (within reason), because a client that is still
    sending when the connection closes never sees the answer. Needs ``Litestar(request_max_body_size=None)``.

    Raises:
        Problem: 413.
    """
    parts: list[bytes] = []
    received = 0
    async for part in request.stream():
        received += len(part)
        if received > _DRAINED_BYTES_MAX:
            break
        if received <= max_bytes:
            parts.append(part)
    if received > max_bytes:
        raise _too_large(max_bytes)
    return b"".join(parts)


# -- who calls ---------------------------------------------------------------------------------------------------------


def authorization_header(node_id: str, secret: str) -> str:
    """Write the header with which a node shows who it is."""
    return f"Node {node_id}:{secret}"


def bearer_token(header: str | None) -> str | None:
    """Take the token out of ``Authorization: Bearer …``; None when it is not there."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


class NodeKeys:
    """
    Knows the hashes of other nodes' secrets.

    Args:
        hashes: node id → hex SHA-256 of its secret; a function where nodes come and go.
    """

    def __init__(self, hashes: Mapping[str, str] | Callable[[str], str | None]) -> None:
        self._find = hashes if callable(hashes) else hashes.get

    def check(self, header: str | None) -> str:
        """
        Return the id of the node that sent this ``Authorization`` header.

        Raises:
            Problem: 401 for anything but the right secret; does not tell unknown nodes from wrong secrets.
        """
        scheme, _, credentials = (header or "").partition(" ")
        node_id, _, secret = credentials.partition(":")
        # An unknown node costs the same comparison as a known one.
        expected = (self._find(node_id) if scheme.lower() == "node" else None) or ""
        if not hmac.compare_digest(secret_hash(secret).encode(), expected.encode()):
            raise unknown_node()
        return node_id


def unknown_node() -> Problem:
    """Make the refusal of whoever is no node of the fleet, or is none any more."""
    return Problem(
        "not_a_known_node",
        status=401,
        title="This is for nodes of the fleet",
        headers={"WWW-Authenticate": "Node"},
    )


def node_guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """
    Let only nodes of the fleet in, and only while they still wait for an answer; a litestar guard.

    Needs `NodeKeys` at ``app.state.node_keys``; leaves the caller's id for `caller`. Where nodes speak TLS the secret
    must come with its own node's certificate: stolen from one node it opens nothing at another.

    Raises:
        Problem: 401, 403 `wrong_certificate`, and 503 `too_late` where the caller's deadline has passed.
    """
    keys: NodeKeys = connection.app.state.node_keys
    header = connection.headers.get("authorization")
    connection.state.node_id = let_in(keys, header, connection.state.get(CERTIFIED_NODE))
    refuse_late(connection.headers)


def let_in(keys: NodeKeys, header: str | None, certified: str | None) -> str:
    """
    Return the id of the node that sent an ``Authorization`` header, `certified` where nodes speak TLS.

    Raises:
        Problem: As `node_guard`.
    """
    node_id = keys.check(header)
    if certified not in {None, node_id}:
        raise Problem(
            "wrong_certificate",
            status=403,
            title="This secret is not of the node whose certificate was shown",
        )
    return node_id


def caller(request: Request[Any, Any, Any]) -> str:
    """Return the node id that `node_guard` let in."""
    return str(request.state.node_id)


# -- deadlines ---------------------------------------------------------------------------------------------------------


def deadline_header(seconds: float) -> str:
    """Write how long the caller will still wait, in whole milliseconds; relative, because clocks differ."""
    return str(max(0, int(seconds * 1000)))


def refuse_late(headers: Mapping[str, str]) -> None:
    """
    Let nobody in who does not wait for the answer.

    Raises:
        Problem: 503 `too_late`.
    """
    if remaining_seconds(headers, default=1.0, maximum=1.0) <= 0:
        raise Problem(
            "too_late",
            status=503,
            title="The caller does not wait any more",
            detail="Nothing was done.",
            retry="same",
        )


def remaining_seconds(headers: Mapping[str, str], *, default: float, maximum: float) -> float:
    """Read how long the caller will still wait, capped by ``maximum``; ``default`` when it does not say sensibly."""
    text = headers.get(DEADLINE_HEADER) or headers.get(DEADLINE_HEADER.lower()) or ""
    # Ten digits are 115 days: more is nonsense, and int() of a megabyte of digits is slow.
    if not (text.isascii() and text.isdigit() and len(text) <= 10):  # noqa: PLR2004 — said above
        return min(default, maximum)
    return min(int(text) / 1000, maximum)

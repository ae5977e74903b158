"""Who calls the API, the labels on its answers, and what its errors are on the wire."""

import json
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request, Response
from litestar.types import ExceptionHandlersMap

from cache_sync.frames import Position
from edge_portal.api.limit_details import limit_detail
from edge_portal.cookies import (
    SESSION_COOKIE,
    AnyRequest,
    furthest,
    label,
    portal_of,
    seen_by,
)
from edge_portal.errors import (
    ArchiveUnavailable,
    EdgeError,
    InvalidMessage,
    InvalidPayment,
    KeyReused,
    NoSnapshot,
    NotFound,
    NotHeldHere,
    NotSignedIn,
    NotTaken,
    OverLimit,
    PaymentError,
    SignInBusy,
    SignInThrottled,
    WrongCredentials,
)
from edge_portal.session import Session
from edge_portal.views import AccountView, Freshness, Mode
from failover.intents import Receipt
from failover.own_pages import from_own_page
from failover.web import FieldError, Problem, bearer_token, decode_json, problem_response

JSON: Final = "application/json"
BODY_BYTES_MAX: Final = 256 * 1024
BRACKETS_MAX: Final = 64
T = TypeVar("T")

_SAFE: Final = frozenset({"GET", "HEAD"})
_ENCODER: Final = msgspec.json.Encoder()


def signed_in(request: AnyRequest) -> Session:
    """
    Authenticate a caller by bearer token, else by the session cookie.

    A cookie comes along from other sites' pages too: what changes something must then come from ours.
    """
    token = bearer_token(request.headers.get("Authorization"))
    if token is None:
        token = request.cookies.get(SESSION_COOKIE)
        if token is not None and request.method not in _SAFE and not from_own_page(request):
            raise Problem("foreign_page", status=403, title="This came from another site's page")
    return portal_of(request).authenticate(token)


def decode_form(body: bytes, form: type[T]) -> T:
    """
    Decode a body strictly. Raises `Problem` 400, 422.

    Our forms are flat: what is full of brackets is refused before anything descends into it.
    """
    if body.count(b"[") + body.count(b"{") > BRACKETS_MAX:
        raise Problem(
            "bad_body",
            status=400,
            title="The body cannot be read",
            detail="It is nested too deeply.",
        )
    decoded = decode_json(body, form, max_bytes=BODY_BYTES_MAX)
    json.loads(body, object_pairs_hook=_each_once)
    return decoded


def _each_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that names a member twice: readers differ in which one counts, and it may be an amount."""
    found = dict(members)
    if len(found) < len(members):
        raise Problem(
            "bad_body",
            status=400,
            title="The body cannot be read",
            detail="A member is named twice.",
        )
    return found


def open_view(request: AnyRequest, *, statements: bool = False, usage: bool = False) -> AccountView:
    """Authenticate a caller and read the account that the token looks at."""
    session = signed_in(request)
    return portal_of(request).view(
        session.account_id, seen_by(request), statements=statements, usage=usage
    )


def answer(
    body: msgspec.Struct, freshness: Freshness, mode: Mode, *, status: int = 200
) -> Response[bytes]:
    """Answer with JSON under the labels of the read that it came from."""
    response = Response(_ENCODER.encode(body), status_code=status, media_type=JSON)
    label(response, freshness, mode)
    return response


def answer_view(body: msgspec.Struct, view: AccountView) -> Response[bytes]:
    """Answer with JSON under a view's labels."""
    return answer(body, view.freshness, view.mode.mode)


def answer_payment(
    request: AnyRequest, body: msgspec.Struct, receipt: Receipt, *, status: int = 200
) -> Response[bytes]:
    """Answer with a payment; the position covers what the core decided, so that other edges know they are behind."""
    portal = portal_of(request)
    freshness = portal.freshness(receipt.account_id)
    decided = receipt_position(receipt)
    known = (freshness.position,) if decided is None else (freshness.position, decided)
    shown = msgspec.structs.replace(freshness, position=furthest(*known)[-1])
    return answer(body, shown, portal.mode().mode, status=status)


def receipt_position(receipt: Receipt) -> Position | None:
    """Return the position at which the core's decision stands; None before there is one."""
    if receipt.epoch is None or receipt.shard is None or receipt.seq is None:
        return None
    return Position(receipt.epoch, receipt.shard, receipt.seq)


def problem_of(error: EdgeError) -> Problem:  # noqa: PLR0911 - one answer an error
    """Say an error of the portal as a problem detail."""
    match error:
        case NotSignedIn():
            return _unauthorized(error)
        case WrongCredentials():
            return Problem(
                "wrong_credentials", status=401, title="The e-mail or the password is not right"
            )
        case SignInThrottled():
            return Problem(
                "sign_in_throttled",
                status=429,
                title="Too many wrong attempts",
                detail=f"Wait {error.retry_after_seconds} s. The account is not locked.",
                headers={"Retry-After": str(error.retry_after_seconds)},
            )
        case SignInBusy():
            return Problem(
                "sign_in_busy",
                status=503,
                title="Many people are signing in right now",
                retry="same",
                headers={"Retry-After": str(error.retry_after_seconds)},
            )
        case NotFound():
            return Problem("not_found", status=404, title="There is no such thing in this account")
        case NotHeldHere():
            return Problem(
                "not_held_here", status=421, title="This account is served at another address"
            )
        case NoSnapshot():
            return Problem(
                "no_snapshot",
                status=503,
                title="This edge has just started and holds no data yet",
                retry="same",
                headers={"Retry-After": "1"},
            )
        case ArchiveUnavailable():
            return Problem(
                "archive_unavailable",
                status=503,
                title="This statement is in the archive, which cannot be reached now",
                detail="Newer statements can be read as always. Try again when billing is back.",
                retry="same",
                headers={"Retry-After": "5"},
            )
        case PaymentError():
            return _payment_problem(error)
        case _:
            return Problem("edge_error", status=503, title="This edge cannot do that now")


def _unauthorized(error: NotSignedIn) -> Problem:
    titles = {
        "missing": "Sign in first",
        "forged": "This token is not valid",
        "expired": "This token has expired",
        "revoked": "This token is no longer valid",
    }
    return Problem(
        "not_signed_in" if error.reason == "missing" else f"token_{error.reason}",
        status=401,
        title=titles[error.reason],
        headers={"WWW-Authenticate": "Bearer"},
    )


def _payment_problem(error: PaymentError) -> Problem:
    id_: dict[str, Any] = {} if error.intent_id is None else {"id": error.intent_id}
    match error:
        case InvalidPayment(field="idempotency_key"):
            return Problem(
                "idempotency_key_invalid",
                status=400,
                title="The Idempotency-Key cannot be used",
                errors=[FieldError("Idempotency-Key", error.rule)],
            )
        case InvalidPayment() | InvalidMessage():
            payment = isinstance(error, InvalidPayment)
            return Problem(
                "invalid_payment" if payment else "invalid_message",
                status=422,
                title="This payment cannot be taken" if payment else "This cannot be taken",
                detail=f"{error.field} {error.rule}.",
                errors=[FieldError(error.field, error.rule)],
            )
        case KeyReused():
            return Problem(
                "key_reused",
                status=409,
                title="This key was used for something else",
                detail="Other content needs another Idempotency-Key.",
                **id_,
            )
        case OverLimit():
            field, detail = limit_detail(error.which)
            return Problem(
                "over_limit",
                status=422,
                title="More than can be taken while billing is away",
                detail=f"Nothing was taken. {detail}",
                errors=[FieldError(field, error.which)],
                **id_,
            )
        case NotTaken():
            return Problem(
                "not_taken",
                status=503,
                title="Not taken here",
                detail="Nothing was taken. Repeat with the same key, here or at another edge.",
                retry="same",
                headers={"Retry-After": "1"},
                **id_,
            )
        case _:
            return Problem(
                "payment_unknown",
                status=504,
                title="Whether this was taken is not known",
                detail="Repeat with the same key: it is never taken twice.",
                retry="same",
                **id_,
            )


def _handle(_: Request[Any, Any, Any], error: EdgeError) -> Response[bytes]:
    return problem_response(problem_of(error))


EDGE_ERRORS: Final[ExceptionHandlersMap] = {EdgeError: _handle}
"""For the API's router."""

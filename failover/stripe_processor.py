"""
A payment processor that speaks Stripe's API.

A token is ``pm_...``, or ``cus_.../pm_...`` where the method is attached to a customer. The intent's id travels as the
idempotency key, which the processor forgets, and as metadata, which it keeps and by which a charge is found again.
"""

import asyncio
from datetime import datetime
from typing import Any, Final, NamedTuple

import httpx
import msgspec
import structlog

from failover.processor import (
    Captured,
    Charge,
    ChargeAnswer,
    DeclineCode,
    Declined,
    FoundCharge,
    FoundRefund,
    KeyTaken,
    Nothing,
    RefundAnswer,
    Refunded,
    RefundRefused,
    Unknown,
)

REFERENCE: Final = "intent_id"
"""The name of the metadata that holds the intent's id."""

_PAGE_MAX: Final = 100
_PAGES_MAX: Final = 20
_BYTES_MAX: Final = 4_000_000
_OK, _DECLINED, _BAD_REQUEST, _NOT_FOUND, _SERVER_ERROR = 200, 402, 400, 404, 500
_DECLINE_CODES: Final[dict[str, DeclineCode]] = {
    "insufficient_funds": "insufficient_funds",
    "expired_card": "expired",
    "authentication_required": "needs_confirmation",
    "payment_intent_authentication_failure": "needs_confirmation",
}

_log = structlog.get_logger(__name__)


class _Reply(NamedTuple):
    status: int
    body: dict[str, Any]


class StripeProcessor:
    """
    Calls one processor's account.

    Args:
        url: The API's address, without a path.
        secret: The account's key; in no log and no error.
        calls_max: How many calls may be under way.
        transport: How bytes travel; tests pass their own.
    """

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        calls_max: int = 16,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._slots = asyncio.Semaphore(calls_max)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=calls_max)
        self._client = httpx.AsyncClient(
            base_url=url,
            auth=(secret, ""),
            transport=transport
            or httpx.AsyncHTTPTransport(limits=limits, retries=0, trust_env=False),
            trust_env=False,
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    # -- charges -------------------------------------------------------------------------------------------------------

    async def charge(self, charge: Charge, *, deadline_seconds: float) -> ChargeAnswer:
        """See `PaymentProcessor.charge`."""
        customer, method = _split(charge.token)
        form = {
            "amount": str(charge.amount_cents),
            "currency": charge.currency.lower(),
            "payment_method": method,
            "confirm": "true",
            "off_session": "true",
            f"metadata[{REFERENCE}]": charge.key,
        }
        if customer:
            form["customer"] = customer
        reply = await self._call(
            "POST", "/v1/payment_intents", form=form, key=charge.key, seconds=deadline_seconds
        )
        if isinstance(reply, Unknown):
            return reply
        try:
            return _charge_answer(reply)
        except (KeyError, TypeError, ValueError):
            return Unknown("answered with half a payment")

    async def find(
        self, key: str, *, token: str | None, since: datetime, deadline_seconds: float
    ) -> FoundCharge:
        """See `PaymentProcessor.find`: goes through the charges since then, of the token's customer if it has one."""
        params = {"limit": str(_PAGE_MAX), "created[gt]": str(int(since.timestamp()) - 1)}
        customer = _split(token)[0] if token else ""
        if customer:
            params["customer"] = customer
        best: FoundCharge = Nothing()
        try:
            async with asyncio.timeout(deadline_seconds):
                for _ in range(_PAGES_MAX):
                    reply = await self._call(
                        "GET", "/v1/charges", params=params, seconds=deadline_seconds
                    )
                    if isinstance(reply, Unknown):
                        return reply
                    if reply.status != _OK:
                        return Unknown(f"answered a search with {reply.status}")
                    listed = _items(reply.body)
                    for item in listed:
                        if await self._is_of(item, key, deadline_seconds):
                            best = _better(best, found_charge(item))
                    if not reply.body.get("has_more") or not listed:
                        return best
                    params["starting_after"] = str(listed[-1].get("id", ""))
        except TimeoutError:
            return Unknown("a search took too long")
        except (_NoAnswer, KeyError, TypeError, ValueError):
            return Unknown("a search was not answered whole")
        return Unknown("more charges than are searched through")

    async def _is_of(self, item: dict[str, Any], key: str, seconds: float) -> bool:
        reference = _metadata(item).get(REFERENCE)
        intent = item.get("payment_intent")
        if reference is not None or not isinstance(intent, str):
            return bool(reference == key)
        # Not every processor of this kind copies what the payment was marked with onto its charge.
        reply = await self._call("GET", f"/v1/payment_intents/{intent}", seconds=seconds)
        if isinstance(reply, Unknown) or reply.status != _OK:
            raise _NoAnswer
        return bool(_metadata(reply.body).get(REFERENCE) == key)

    # -- refunds -------------------------------------------------------------------------------------------------------

    async def refund(
        self, charge_id: str, amount_cents: int, *, key: str, deadline_seconds: float
    ) -> RefundAnswer:
        """See `PaymentProcessor.refund`."""
        form = {"charge": charge_id, "amount": str(amount_cents)}
        reply = await self._call(
            "POST", "/v1/refunds", form=form, key=key, seconds=deadline_seconds
        )
        if isinstance(reply, Unknown):
            return reply
        if reply.status == _OK and _is_made(reply.body):
            return Refunded(reply.body["id"])
        code = _error(reply.body).get("code") or ""
        if reply.status in {_BAD_REQUEST, _NOT_FOUND} and code != "charge_already_refunded":
            return RefundRefused(str(code) or f"answered with {reply.status}")
        return Unknown(f"answered a refund with {reply.status}")

    async def find_refund(self, charge_id: str, *, deadline_seconds: float) -> FoundRefund:
        """See `PaymentProcessor.find_refund`."""
        params = {"charge": charge_id, "limit": str(_PAGE_MAX)}
        reply = await self._call("GET", "/v1/refunds", params=params, seconds=deadline_seconds)
        if isinstance(reply, Unknown):
            return reply
        if reply.status != _OK:
            return Unknown(f"answered a search with {reply.status}")
        try:
            made = next((item["id"] for item in _items(reply.body) if _is_made(item)), None)
        except TypeError:
            return Unknown("a search was not answered whole")
        return Nothing() if made is None else Refunded(made)

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _call(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        form: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
        key: str = "",
    ) -> _Reply | Unknown:
        sent = False

        async def trace(event: str, _: dict[str, Any]) -> None:
            nonlocal sent
            sent = sent or event.endswith("send_request_headers.started")

        try:
            async with asyncio.timeout(seconds), self._slots:
                request = self._client.build_request(
                    method,
                    path,
                    data=form,
                    params=params,
                    headers={"Idempotency-Key": key} if key else {},
                    timeout=seconds,
                    extensions={"trace": trace},
                )
                response = await self._client.send(request, stream=True)
                try:
                    # A transport that does not trace has sent all the same.
                    sent = True
                    body = await _read(response)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            return Unknown(type(error).__name__, sent=sent)
        if response.status_code >= _SERVER_ERROR:
            return Unknown(f"answered with {response.status_code}")
        try:
            return _Reply(response.status_code, msgspec.json.decode(body, type=dict[str, Any]))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Unknown("answered with something else")


class _NoAnswer(Exception):
    """A part of a search was not answered."""


async def _read(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    received = 0
    async for part in response.aiter_bytes():
        received += len(part)
        if received > _BYTES_MAX:
            raise httpx.ReadError("an answer larger than any of theirs")
        parts.append(part)
    return b"".join(parts)


def _split(token: str) -> tuple[str, str]:
    customer, _, method = token.rpartition("/")
    return customer, method


def _charge_answer(reply: _Reply) -> ChargeAnswer:
    if reply.status == _OK:
        return _of_payment_intent(reply.body)
    error = _error(reply.body)
    kind, code = str(error.get("type", "")), str(error.get("code", ""))
    if kind == "idempotency_error" and reply.status == _BAD_REQUEST:
        return KeyTaken()
    if reply.status == _DECLINED:
        return Declined(_decline(code, str(error.get("decline_code", ""))))
    missing = reply.status == _NOT_FOUND or code == "resource_missing"
    # The address is there, so what is missing is the method, or the customer that it belongs to.
    if missing or (reply.status == _BAD_REQUEST and error.get("param") == "payment_method"):
        return Declined("method_unusable")
    # Such as a key of ours that is not valid: no customer's fault, and nothing was taken that could not be found.
    _log.error("the payment processor refuses a call", alarm="processor", status=reply.status)
    return Unknown(f"answered with {reply.status}")


def _of_payment_intent(body: dict[str, Any]) -> ChargeAnswer:
    status, charge = body.get("status"), body.get("latest_charge")
    charge_id = charge.get("id") if isinstance(charge, dict) else charge
    if status == "succeeded" and isinstance(charge_id, str):
        return Captured(
            charge_id=charge_id,
            amount_cents=int(body["amount"]),
            currency=str(body["currency"]).upper(),
        )
    if status in {"requires_action", "requires_source_action"}:
        return Declined("needs_confirmation")
    if status == "requires_payment_method":
        return Declined("declined")
    return Unknown(f"a payment is {status}")


def found_charge(item: dict[str, Any]) -> FoundCharge:
    """Read what a charge, as the processor lists and tells it, says."""
    status = item.get("status")
    if status == "succeeded":
        return Captured(
            charge_id=str(item["id"]),
            amount_cents=int(item["amount"]),
            currency=str(item["currency"]).upper(),
        )
    if status == "failed":
        return Declined(_decline(str(item.get("failure_code") or ""), ""))
    return Unknown(f"a charge is {status}")


def _better(known: FoundCharge, other: FoundCharge) -> FoundCharge:
    """Choose between two charges of one key: taken money first, then what may still become taken money."""
    if isinstance(known, Captured) and isinstance(other, Captured):
        _log.error("two charges of one payment", alarm="double_charge")
    order = (Nothing, Declined, Unknown, Captured)
    return max(known, other, key=lambda found: order.index(type(found)))


def _is_made(refund: dict[str, Any]) -> bool:
    named = isinstance(refund.get("id"), str) and bool(refund["id"])
    return named and refund.get("status") in {"succeeded", "pending"}


def _decline(code: str, decline_code: str) -> DeclineCode:
    return _DECLINE_CODES.get(decline_code) or _DECLINE_CODES.get(code) or "declined"


def _items(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Read a page of a search. Raises TypeError for what is none: half a page must not read as "nothing there"."""
    data = body.get("data")
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise TypeError("not a page")
    return data


def _metadata(body: dict[str, Any]) -> dict[str, Any]:
    found = body.get("metadata")
    return found if isinstance(found, dict) else {}


def _error(body: dict[str, Any]) -> dict[str, Any]:
    found = body.get("error")
    return found if isinstance(found, dict) else {}

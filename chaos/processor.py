"""
A payment processor of our own, for drills and tests: a process that speaks the part of Stripe's API that we use.

Everything moves at ``/v1`` with the account's key, as at a real one. ``/control`` orders faults, declines and time:
``POST /control/fault``, ``DELETE /control/fault``, ``POST /control/webhooks``, ``POST /control/decline``
{``method``, ``code``}, ``POST /control/clock`` {``advance_seconds``}; ``GET /control/settlement`` is the file that
`core reconcile --settlement` reads, ``GET /control/charges/REFERENCE`` what was done under one reference.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import signal
import socket
import struct
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec

from chaos.errors import ControlError
from chaos.processor_books import Answer, ProcessorBooks
from chaos.processor_faults import FaultDesk, ProcessorFault, WebhookFault
from failover.stripe_processor import REFERENCE

HOST = "127.0.0.1"
HORIZON_SECONDS = 24 * 3600.0
_BODY_BYTES_MAX = 1_000_000
_READ_SECONDS_MAX = 30.0
_WEBHOOK_SECONDS_MAX = 5.0
_RESET = struct.pack("ii", 1, 0)


class ProcessorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a simulator is run.

    ``secret`` is the account's key, ``webhook_secret`` what events are signed with and ``webhook_url`` where they are
    told, empty for nowhere. A key is forgotten after ``horizon_seconds``.
    """

    port: int
    secret: str
    webhook_url: str = ""
    webhook_secret: str = ""
    horizon_seconds: float = HORIZON_SECONDS


class _Advance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    advance_seconds: float


class _Decline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    method: str
    code: str = ""


class _Request(NamedTuple):
    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes


class _Cut(Exception):
    """The connection ends without an answer."""


def sign_event(secret: str, payload: bytes, moment: int) -> str:
    """Make the header with which a processor of this kind proves that an event is its own."""
    signed = hmac.new(secret.encode(), b"%d.%s" % (moment, payload), hashlib.sha256).hexdigest()
    return f"t={moment},v1={signed}"


class ProcessorSimulator:
    """One processor; `serve` until told to stop. ``now`` is its own clock, which `/control/clock` moves on."""

    def __init__(self, options: ProcessorOptions, now: Callable[[], float] = time.time) -> None:
        self._options = options
        self._now = now
        self._ahead = 0.0
        self._books = ProcessorBooks(
            horizon_seconds=options.horizon_seconds, reference_name=REFERENCE
        )
        self._faults = FaultDesk()
        self._telling: set[asyncio.Task[None]] = set()
        self._events = 0

    async def serve(self, listener: socket.socket, stop: asyncio.Event) -> None:
        """Answer on a listening socket until ``stop`` is set; then what is under way is cut."""
        server = await asyncio.start_server(self._serve_one, sock=listener)
        async with server:
            await stop.wait()
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    # -- HTTP ----------------------------------------------------------------------------------------------------------

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(_READ_SECONDS_MAX):
                    request = await _read_request(reader)
                status, body = await self._answer(request)
                _write_answer(writer, status, body)
                await writer.drain()
        except _Cut:
            # Not an orderly end: whoever waits sees his connection reset.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        except (OSError, EOFError, TimeoutError, ValueError):
            pass
        finally:
            with contextlib.suppress(OSError):
                writer.close()

    async def _answer(self, request: _Request) -> Answer | tuple[int, bytes]:
        if request.path.startswith("/control/"):
            return self._control(request)
        if not _knows(request.headers.get("authorization", ""), self._options.secret):
            return 401, {"error": {"type": "invalid_request_error", "message": "no such key"}}
        if request.method == "GET":
            return self._books.get(request.path, request.params)
        return await self._move(request)

    async def _move(self, request: _Request) -> Answer:
        form = dict(parse_qsl(request.body.decode()))
        key = request.headers.get("idempotency-key", "")
        fault = self._faults.hit()
        kind = fault.kind if fault else ""
        if kind == "reset_before":
            raise _Cut
        if kind == "error_before":
            return self._books.remember_failure(request.path, form, key, self._time())
        before = len(self._books.settlement())
        answer = self._books.post(request.path, form, key, self._time())
        if len(self._books.settlement()) > before:
            self._tell(request.path, answer[1])
        if fault is not None and kind == "slow":
            await asyncio.sleep(fault.seconds)
        if kind == "reset_after":
            raise _Cut
        if kind == "error_after":
            return 500, {"error": {"type": "api_error", "message": "something went wrong"}}
        return answer

    def _time(self) -> float:
        return self._now() + self._ahead

    # -- control -------------------------------------------------------------------------------------------------------

    def _control(self, request: _Request) -> Answer | tuple[int, bytes]:
        if "origin" in request.headers:
            return 403, {"error": "faults are ordered by tools on this machine"}
        what = request.path.removeprefix("/control/")
        try:
            return self._ordered(request.method, what, request.body)
        except msgspec.DecodeError as error:
            return 422, {"error": str(error)}

    def _ordered(self, method: str, what: str, body: bytes) -> Answer | tuple[int, bytes]:
        if (method, what) == ("POST", "fault"):
            self._faults.order(msgspec.json.decode(body, type=ProcessorFault))
        elif (method, what) == ("DELETE", "fault"):
            self._faults.heal()
        elif (method, what) == ("POST", "webhooks"):
            self._faults.webhooks = msgspec.json.decode(body, type=WebhookFault)
        elif (method, what) == ("POST", "decline"):
            order = msgspec.json.decode(body, type=_Decline)
            self._books.declines.pop(order.method, None)
            if order.code:
                self._books.declines[order.method] = order.code
        elif (method, what) == ("POST", "clock"):
            self._ahead += msgspec.json.decode(body, type=_Advance).advance_seconds
        elif (method, what) == ("GET", "settlement"):
            lines = [msgspec.json.encode(line) + b"\n" for line in self._books.settlement()]
            return 200, b"".join(lines)
        elif method == "GET" and what.startswith("charges/"):
            return 200, {"charges": self._books.charges_of(what.removeprefix("charges/"))}
        elif (method, what) != ("GET", "healthz"):
            return 404, {"error": "no such order"}
        return 200, {"fault": msgspec.to_builtins(self._faults.in_force())}

    # -- events --------------------------------------------------------------------------------------------------------

    def _tell(self, path: str, of: dict[str, Any]) -> None:
        """Tell the owner of the account what happened, as often and as late as the fault in force says."""
        how = self._faults.webhooks
        if not self._options.webhook_url or how.lost:
            return
        self._events += 1
        if path == "/v1/refunds":
            type_, what = "charge.refunded", of
        else:
            (what,) = [
                charge
                for charge in self._books.charges_of(of["metadata"].get(REFERENCE, ""))
                if charge["id"] == of["latest_charge"]
            ]
            type_ = "charge.succeeded"
        moment = int(self._time())
        event = {
            "id": f"evt_{self._events:08d}",
            "type": type_,
            "created": moment,
            "data": {"object": what},
        }
        for _ in range(how.copies):
            task = asyncio.create_task(self._deliver(event, moment, how.late_seconds))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _deliver(self, event: dict[str, Any], moment: int, late_seconds: float) -> None:
        await asyncio.sleep(late_seconds)
        payload = msgspec.json.encode(event)
        headers = {
            "Content-Type": "application/json",
            "Stripe-Signature": sign_event(self._options.webhook_secret, payload, moment),
        }
        async with httpx.AsyncClient(trust_env=False, timeout=_WEBHOOK_SECONDS_MAX) as client:
            with contextlib.suppress(httpx.HTTPError):
                await client.post(self._options.webhook_url, content=payload, headers=headers)


async def _read_request(reader: asyncio.StreamReader) -> _Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.split("\r\n")
    method, target, _ = line.split(" ")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (each.partition(":") for each in lines if each)
    }
    length = int(headers.get("content-length", "0"))
    if length > _BODY_BYTES_MAX:
        raise ValueError("a request larger than any of ours")
    body = await reader.readexactly(length)
    parts = urlsplit(target)
    return _Request(method, parts.path, dict(parse_qsl(parts.query)), headers, body)


def _write_answer(writer: asyncio.StreamWriter, status: int, body: dict[str, Any] | bytes) -> None:
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    writer.write(head.encode() + content)


def _knows(authorization: str, secret: str) -> bool:
    scheme, _, value = authorization.partition(" ")
    if scheme == "Bearer":
        return hmac.compare_digest(value, secret)
    try:
        shown = base64.b64decode(value, validate=True).decode().removesuffix(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return scheme == "Basic" and hmac.compare_digest(shown, secret)


async def _run(options: ProcessorOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with contextlib.closing(listener):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, options.port))
        listener.listen(128)
        listener.settimeout(0.0)
        await ProcessorSimulator(options).serve(listener, stop)


def main(plan_file: Path) -> None:
    """Run the process that a fleet starts for its payment processor. Raises `ControlError`."""
    try:
        options = msgspec.json.decode(plan_file.read_bytes(), type=ProcessorOptions)
    except (OSError, msgspec.DecodeError) as error:
        raise ControlError(f"cannot use the processor's plan {plan_file}: {error}") from error
    try:
        asyncio.run(_run(options))
    except OSError as error:
        raise ControlError(f"the payment processor cannot start: {error}") from error

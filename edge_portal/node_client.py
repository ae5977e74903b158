"""
HTTP to one other node for one purpose, with a total deadline and bounds on everything.

Each purpose has its own client, so that a flood of one cannot starve another. The connection pool is unlimited and a
semaphore of ours bounds the calls: with a bounded pool, cancelled requests leak its slots until nothing goes out any
more. The deadline covers waiting for the semaphore, connecting, sending and the whole body; it travels along.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import httpx
import msgspec
import structlog

from failover.errors import Ambiguous, AnswerTooLarge, NodeRefused, NotSent, Overloaded
from failover.node_tls import TlsLink, tls_reason
from failover.web import DEADLINE_HEADER, authorization_header, deadline_header

KEEPALIVE_SECONDS: Final = 5.0
_PROBLEM_BYTES_MAX: Final = 65_536
_SLUG_LENGTH_MAX: Final = 40
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_BUSY: Final = frozenset({429, 503})

log = structlog.get_logger(__name__)


class Answer(NamedTuple):
    """A whole answer below 500 that is not "too busy"."""

    status: int
    body: bytes


class _Problem(msgspec.Struct):
    """The members of a problem detail that the feed needs, whatever else is in it."""

    type: str = ""
    epoch: int = 0
    head: int = 0
    floor: int = 0


class NodeClient:
    """
    Calls one node for one purpose.

    Args:
        url: The node's address, without a path.
        node_id: Who we are.
        secret: What proves it.
        purpose: For logs.
        calls_max: How many calls may be under way.
        transport: How bytes travel; tests pass their own.
        tls: What an ``https`` address is called with.
        check: Called first; raises `NotSent` when the node is not to be called at all.
    """

    def __init__(
        self,
        url: str,
        *,
        node_id: str,
        secret: str,
        purpose: str,
        calls_max: int,
        transport: httpx.AsyncBaseTransport | None = None,
        tls: TlsLink | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._url = url
        self._authorization = authorization_header(node_id, secret)
        self._purpose = purpose
        self._slots = asyncio.Semaphore(calls_max)
        self._transport = transport
        self._tls = tls
        self._check = check
        self._tls_trouble = TlsTrouble(purpose, tls)
        self._client = self._make_client()

    async def call(
        self,
        method: str,
        path: str,
        *,
        deadline_seconds: float,
        bytes_max: int,
        content: bytes | None = None,
        content_type: str | None = None,
        params: dict[str, str | int | float] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """
        Make one call and read its whole answer; ``headers`` are sent beside those that every call has.

        ``bytes_max`` bounds the answer as it is when unpacked, where ``headers`` ask for a packed one.

        Raises:
            NotSent: No byte left this node.
            Ambiguous: Something left, and no usable answer came back in time.
            AnswerTooLarge: More came than ``bytes_max``.
            Overloaded: 429 or 503.
        """
        if self._check is not None:
            self._check()
        sent_headers = {
            "Accept-Encoding": "identity",
            **(headers or {}),
            "Authorization": self._authorization,
            DEADLINE_HEADER: deadline_header(deadline_seconds),
        }
        if content_type is not None:
            sent_headers["Content-Type"] = content_type
        sending = _Sending()
        try:
            async with asyncio.timeout(deadline_seconds), self._slots:
                request = self._client.build_request(
                    method,
                    path,
                    params=params,
                    content=content,
                    headers=sent_headers,
                    timeout=deadline_seconds,
                    extensions={"trace": sending.trace, **self._expected_name()},
                )
                answer = await self._exchange(request, bytes_max, sending)
                self._tls_trouble.over()
                return answer
        except httpx.PoolTimeout as error:
            await self._rebuild()
            raise NotSent("no connection could be had") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            self._tls_trouble.tell(error)
            if sending.begun:
                raise Ambiguous(type(error).__name__) from error
            raise NotSent(type(error).__name__) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _expected_name(self) -> dict[str, str]:
        """Say whose certificate must be shown, whatever the address."""
        return {} if self._tls is None else {"sni_hostname": self._tls.name}

    async def _exchange(
        self, request: httpx.Request, bytes_max: int, sending: "_Sending"
    ) -> Answer:
        response = await self._client.send(request, stream=True)
        try:
            # A transport that does not trace has sent all the same.
            sending.begun = True
            limit = _PROBLEM_BYTES_MAX if response.status_code in _BUSY else bytes_max
            parts: list[bytes] = []
            received = 0
            async for part in response.aiter_bytes():
                received += len(part)
                if received > limit:
                    raise AnswerTooLarge("an answer larger than any of theirs")
                parts.append(part)
        finally:
            await response.aclose()
        return usable(response.status_code, response.headers.get("Retry-After"), b"".join(parts))

    async def _rebuild(self) -> None:
        """Replace a client whose pool gives out no connections any more."""
        log.warning("http client made anew", purpose=self._purpose)
        old, self._client = self._client, self._make_client()
        await old.aclose()

    def _make_client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=32, keepalive_expiry=KEEPALIVE_SECONDS
        )
        transport = self._transport or httpx.AsyncHTTPTransport(
            verify=self._tls.context if self._tls is not None else True,
            limits=limits,
            retries=0,
            trust_env=False,
        )
        return httpx.AsyncClient(
            base_url=self._url, transport=transport, trust_env=False, follow_redirects=False
        )


class TlsTrouble:
    """Logs why TLS with a node fails: once, until it is another reason or it worked."""

    def __init__(self, purpose: str, tls: TlsLink | None) -> None:
        self._purpose = purpose
        self._node = tls.name if tls is not None else ""
        self._told = ""

    def tell(self, error: Exception) -> None:
        """Take note of what a call failed with."""
        reason = tls_reason(error)
        if reason and reason != self._told:
            log.error("no TLS with a node", purpose=self._purpose, node=self._node, reason=reason)
            self._told = reason

    def over(self) -> None:
        """Take note of a call that was answered."""
        self._told = ""


class _Sending:
    """Knows whether the first byte of a request left."""

    def __init__(self) -> None:
        self.begun = False

    async def trace(self, event: str, _: dict[str, Any]) -> None:
        """Note httpcore's events."""
        if event.endswith("send_request_headers.started"):
            self.begun = True


def usable(status: int, retry_after: str | None, body: bytes) -> Answer:
    """
    Return an answer that says something.

    Raises:
        Overloaded: 429 or 503.
        Ambiguous: Any other of 500 and above.
    """
    if status in _BUSY:
        slug = slug_of(read_problem(body))[:_SLUG_LENGTH_MAX]
        raise Overloaded(_retry_after(retry_after), slug)
    if status >= _SERVER_ERROR:
        raise Ambiguous(f"answered with {status}")
    return Answer(status, body)


def checked(answer: Answer) -> bytes:
    """Return the body of a successful answer. Raises `NodeRefused` for a 4xx or anything unexpected below 500."""
    if answer.status >= _CLIENT_ERROR:
        problem = read_problem(answer.body)
        raise NodeRefused(answer.status, slug_of(problem))
    return answer.body


def read_problem(body: bytes) -> _Problem:
    """Read a problem detail; what is not one reads as an empty one."""
    try:
        return msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Problem()


def slug_of(problem: _Problem) -> str:
    """Return the last part of a problem's type."""
    return problem.type.rpartition(":")[2]


def _retry_after(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdigit() and len(text) <= 5 else None  # noqa: PLR2004

"""
Messages to one node for one purpose, as `node_client` calls it and at a fraction of what such a call costs.

For what somebody waits for: a copy of a payment, the next page of the feed. What a call means, and how it may end, is
the same.
"""

import asyncio
import zlib
from collections.abc import Callable, Mapping
from typing import Final, Literal
from urllib.parse import urlencode

from edge_portal.direct_line import DirectLine
from edge_portal.node_client import Answer, TlsTrouble, usable
from failover.errors import Ambiguous, NotSent
from failover.node_tls import TlsLink
from failover.web import DEADLINE_HEADER, authorization_header, deadline_header

_GZIP: Final = 16 + zlib.MAX_WBITS


class MessageClient:
    """
    Calls one node for one purpose.

    Args:
        url: The node's address.
        node_id: Who we are.
        secret: What proves it.
        purpose: For logs.
        calls_max: How many calls may be under way.
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
        tls: TlsLink | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._line = DirectLine(url, tls=tls)
        self._authorization = authorization_header(node_id, secret)
        self._slots = asyncio.Semaphore(calls_max)
        self._check = check
        self._tls_trouble = TlsTrouble(purpose, tls)

    async def call(
        self,
        method: Literal["GET", "POST"],
        path: str,
        *,
        deadline_seconds: float,
        bytes_max: int,
        content: bytes | None = None,
        content_type: str | None = None,
        params: Mapping[str, str | int | float] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """
        Make one call and read its whole answer, as `NodeClient.call`; what has ``content`` is a POST.

        Raises:
            NotSent: No byte left this node.
            Ambiguous: Something may have left, and no usable answer came back in time.
            Overloaded: 429 or 503.
        """
        assert (method == "POST") == (content is not None), "what is posted has a content"
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
        target = f"{path}?{urlencode(params)}" if params else path
        reached = False
        try:
            async with asyncio.timeout(deadline_seconds), self._slots:
                connection = await self._line.connect()
                reached = True
                told = await self._line.exchange(
                    connection, target, sent_headers, content, bytes_max=bytes_max
                )
        except (OSError, TimeoutError) as error:
            self._tls_trouble.tell(error)
            failed = Ambiguous if reached else NotSent
            raise failed(type(error).__name__) from error
        self._tls_trouble.over()
        body = _unpacked(told.body, bytes_max) if told.packed else told.body
        return usable(told.status, told.retry_after, body)

    async def close(self) -> None:
        """Close all connections."""
        self._line.close()


def _unpacked(body: bytes, bytes_max: int) -> bytes:
    unpacking = zlib.decompressobj(wbits=_GZIP)
    try:
        unpacked = unpacking.decompress(body, bytes_max)
    except zlib.error as error:
        raise Ambiguous("the answer cannot be unpacked") from error
    if not unpacking.eof:
        raise Ambiguous("an answer larger than any of theirs, or a part of one")
    return unpacked

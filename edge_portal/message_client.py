"""
Small messages to one node for one purpose, as `node_client` calls it and at a fraction of what such a call costs.

For what a customer waits for. What a call means, and how it may end, is the same.
"""

import asyncio
from collections.abc import Callable

from edge_portal.direct_line import DirectLine
from edge_portal.node_client import Answer, TlsTrouble, usable
from failover.errors import Ambiguous, NotSent
from failover.node_tls import TlsLink
from failover.web import DEADLINE_HEADER, MSGPACK, authorization_header, deadline_header


class MessageClient:
    """
    Posts messages to one node.

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

    async def post(
        self, path: str, content: bytes, *, deadline_seconds: float, bytes_max: int
    ) -> Answer:
        """
        Post a msgpack message and wait for the whole answer, of ``bytes_max`` at most.

        Raises:
            NotSent: No byte left this node.
            Ambiguous: Something may have left, and no usable answer came back in time.
            Overloaded: 429 or 503.
        """
        if self._check is not None:
            self._check()
        headers = {
            "Authorization": self._authorization,
            DEADLINE_HEADER: deadline_header(deadline_seconds),
            "Content-Type": MSGPACK,
        }
        reached = False
        try:
            async with asyncio.timeout(deadline_seconds), self._slots:
                connection = await self._line.connect()
                reached = True
                told = await self._line.post(
                    connection, path, headers, content, bytes_max=bytes_max
                )
        except (OSError, TimeoutError) as error:
            self._tls_trouble.tell(error)
            failed = Ambiguous if reached else NotSent
            raise failed(type(error).__name__) from error
        self._tls_trouble.over()
        return usable(*told)

    async def close(self) -> None:
        """Close all connections."""
        self._line.close()

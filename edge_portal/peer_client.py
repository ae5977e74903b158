"""HTTP to one sibling edge: implements `failover.witness.Sibling`."""

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from edge_portal.links import Links
from edge_portal.node_client import NodeClient, checked
from failover.errors import Ambiguous
from failover.intents import Receipt
from failover.node_config import PeerConfig
from failover.peer_messages import (
    Ask,
    CopyAnswer,
    CopyBatch,
    Hello,
    OutcomeAnswer,
    OutcomeNotice,
)
from failover.web import MSGPACK

CALLS_MAX: Final = 16
ANSWER_BYTES_MAX: Final = 1024 * 1024

T = TypeVar("T")


class PeerClient:
    """Calls one sibling; greetings and copies go through clients of their own, copies on the short way."""

    def __init__(self, links: Links, peer: PeerConfig) -> None:
        def client(purpose: str, calls_max: int) -> NodeClient:
            return links.client(peer.node_id, peer.url, f"{purpose} {peer.node_id}", calls_max)

        self._greetings = client("greet", 2)
        self._copies = links.messages(peer.node_id, peer.url, f"copy {peer.node_id}", CALLS_MAX)
        self._others = client("ask", CALLS_MAX)

    async def hello(self, have: Sequence[str] = (), *, deadline_seconds: float) -> Hello:
        """Ask whether it is there, as which incarnation, and for news, but sets of marks that one does ``have``."""
        answer = await self._greetings.call(
            "GET",
            "/peer/v1/hello",
            params={"have": ",".join(have)},
            deadline_seconds=deadline_seconds,
            bytes_max=ANSWER_BYTES_MAX,
        )
        return _decode(checked(answer), Hello)

    async def copy(self, batch: CopyBatch, *, deadline_seconds: float) -> CopyAnswer:
        """Have it keep copies; answered once they are durable there."""
        answer = await self._copies.call(
            "POST",
            "/peer/v1/copies",
            content=msgspec.msgpack.encode(batch),
            content_type=MSGPACK,
            deadline_seconds=deadline_seconds,
            bytes_max=ANSWER_BYTES_MAX,
        )
        return _decode(checked(answer), CopyAnswer)

    async def outcomes(self, notice: OutcomeNotice, *, deadline_seconds: float) -> OutcomeAnswer:
        """Tell it what the core decided."""
        body = await self._post("outcomes", notice, deadline_seconds)
        return _decode(body, OutcomeAnswer)

    async def ask(self, ask: Ask, *, deadline_seconds: float) -> Receipt | None:
        """Ask what it knows of one payment."""
        body = await self._post("ask", ask, deadline_seconds)
        # The stored type of None | Struct is not a `type`.
        receipt: Receipt | None = _decode(body, Receipt | None)  # type: ignore[arg-type]
        return receipt

    async def close(self) -> None:
        """Close all connections."""
        for client in (self._greetings, self._copies, self._others):
            await client.close()

    async def _post(self, path: str, message: msgspec.Struct, deadline_seconds: float) -> bytes:
        answer = await self._others.call(
            "POST",
            f"/peer/v1/{path}",
            content=msgspec.msgpack.encode(message),
            content_type=MSGPACK,
            deadline_seconds=deadline_seconds,
            bytes_max=ANSWER_BYTES_MAX,
        )
        return checked(answer)


def _decode(body: bytes, type_: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Ambiguous("the answer is not a sibling's") from error

"""Asks the node above for digests: implements `cache_sync.verification.DigestSource`."""

from typing import Final
from urllib.parse import quote

import msgspec

from cache_sync.digests import DigestAnswer, DigestQuestion
from cache_sync.errors import EpochChanged, FeedUnavailable, NotComparable
from edge_portal.links import Links
from edge_portal.node_client import Answer, NodeClient, read_problem, slug_of
from failover.digest_route import ANSWER_BYTES_MAX, ANSWER_SECONDS, decode_answer
from failover.errors import NodeError
from failover.node_config import CORE_NODE_ID
from failover.web import MSGPACK

_OK: Final = 200


class NodeDigests:
    """
    Compares with one node.

    Args:
        client: To that node, for this purpose.
        name: Its node id.
    """

    def __init__(self, client: NodeClient, name: str) -> None:
        self._client = client
        self.name = name
        self.authoritative = name == CORE_NODE_ID

    async def close(self) -> None:
        """Let the connection go."""
        await self._client.close()

    async def digests(self, shard: str, question: DigestQuestion) -> DigestAnswer:
        """Ask. Raises `EpochChanged`, `NotComparable`, `FeedUnavailable`."""
        try:
            answer = await self._client.call(
                "POST",
                f"/digests/{quote(shard, safe='')}",
                content=msgspec.msgpack.encode(question),
                content_type=MSGPACK,
                deadline_seconds=ANSWER_SECONDS,
                bytes_max=ANSWER_BYTES_MAX,
            )
        except NodeError as error:
            raise FeedUnavailable(str(error)) from error
        if answer.status != _OK:
            _refuse(answer)
        try:
            return decode_answer(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FeedUnavailable("the answer is not one about digests") from error


def _refuse(answer: Answer) -> None:
    problem = read_problem(answer.body)
    match slug_of(problem):
        case "epoch_changed":
            raise EpochChanged(problem.epoch)
        case "not_comparable":
            raise NotComparable("apart", "the two nodes stand too far apart")
        case _:
            raise FeedUnavailable(f"answered with {answer.status}")


def digest_sources(links: Links) -> list[NodeDigests]:
    """List whom this node can compare itself with: the core, then the siblings that pass documents on."""
    siblings = [
        NodeDigests(
            links.client(peer.node_id, peer.feed_url, f"digests {peer.node_id}", 1), peer.node_id
        )
        for peer in links.config.peers
        if peer.feed_url
    ]
    return [NodeDigests(links.core("digests", 1), CORE_NODE_ID), *siblings]

"""HTTP to the nodes that documents are asked from: implements `edge_portal.upstreams.Upstream`."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from cache_sync.documents import KNOWN_VERSIONS
from cache_sync.errors import FeedUnavailable
from cache_sync.frames import Frame
from cache_sync.standing import Standing, decode_standing
from edge_portal.child import seeded_rng
from edge_portal.core_client import CoreFeed, ReachedProof, nothing_reached
from edge_portal.errors import ConfigError
from edge_portal.links import Links
from edge_portal.redis_upstream import StreamUpstream
from edge_portal.upstreams import Upstream
from failover.errors import NodeError
from failover.node_config import CORE_NODE_ID, PeerConfig

LOOK_SECONDS: Final = 1.0
STANDING_BYTES_MAX: Final = 16 * 1024
_OK: Final = 200


class CoreUpstream:
    """The core itself. Looking at it costs a heartbeat, through a client of its own."""

    def __init__(
        self, links: Links, shard: str, *, reached: ReachedProof = nothing_reached
    ) -> None:
        self._shard = shard
        self._feed_client = links.messages(CORE_NODE_ID, links.config.core_url, "feed", 1)
        self._look_client = links.core("look", 1)
        self._feed = CoreFeed(self._feed_client, shard, reached=reached)
        self._look = CoreFeed(self._look_client, shard, answer_seconds=LOOK_SECONDS)

    @property
    def name(self) -> str:
        """Return the core's node id."""
        return CORE_NODE_ID

    @property
    def relays(self) -> bool:
        """Return that it does not: what it says is its own."""
        return False

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Ask for the documents after a cursor. Raises `FeedError`, `InvalidFrame`."""
        return await self._feed.fetch(after, epoch, limit, wait)

    async def look(self, after: int, epoch: int) -> Standing:
        """Ask for one document after the cursor: the answer says how far the core is."""
        frame = await self._look.fetch(after, epoch, 1, 0.0)
        return Standing(
            epoch=frame.epoch,
            shard=frame.shard,
            cursor=frame.head,
            as_of=frame.as_of,
            age_seconds=frame.age_seconds,
            age_at_least=frame.age_at_least,
            path=[],
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._feed_client.close()
        await self._look_client.close()


class SiblingUpstream:
    """A sibling that passes documents on."""

    def __init__(self, links: Links, peer: PeerConfig, shard: str) -> None:
        name, url = peer.node_id, peer.feed_url
        self._name = name
        self._path = f"/feed/{quote(shard, safe='')}/standing"
        self._feed_client = links.messages(name, url, f"feed {name}", 1)
        self._look_client = links.client(name, url, f"look {name}", 1)
        self._feed = CoreFeed(self._feed_client, shard)

    @property
    def name(self) -> str:
        """Return the sibling's node id."""
        return self._name

    @property
    def relays(self) -> bool:
        """Return that it does."""
        return True

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Ask for the documents after a cursor. Raises `FeedError`, `InvalidFrame`."""
        return await self._feed.fetch(after, epoch, limit, wait)

    async def look(self, after: int, epoch: int) -> Standing:
        """Ask where it stands; the cursor does not matter to it. Raises `FeedUnavailable`, `InvalidFrame`."""
        del after, epoch
        try:
            answer = await self._look_client.call(
                "GET", self._path, deadline_seconds=LOOK_SECONDS, bytes_max=STANDING_BYTES_MAX
            )
        except NodeError as error:
            raise FeedUnavailable(str(error)) from error
        if answer.status != _OK:
            raise FeedUnavailable(f"answered with {answer.status}")
        return decode_standing(answer.body)

    async def close(self) -> None:
        """Close its connections."""
        await self._feed_client.close()
        await self._look_client.close()


def upstreams_of(
    links: Links,
    shard: str,
    *,
    reached: ReachedProof = nothing_reached,
    known_versions: Mapping[str, int] = KNOWN_VERSIONS,
) -> list[Upstream]:
    """
    Make the clients of whom this edge asks for a shard's documents, the preferred first.

    `reached` tells the barrier that is held, which the core is shown; ``known_versions`` is the newest version of each
    kind of body that this edge reads.

    Raises:
        ConfigError: One that is named is neither the core nor a sibling that passes documents on.
    """
    config = links.config
    feeding = {peer.node_id: peer for peer in config.peers if peer.feed_url}
    named = config.upstreams or [CORE_NODE_ID, *feeding]
    unknown = [name for name in named if name != CORE_NODE_ID and name not in feeding]
    if unknown:
        raise ConfigError(f"there is no sibling {unknown[0]!r} that passes documents on")
    return [
        _core(links, shard, reached, known_versions)
        if name == CORE_NODE_ID
        else SiblingUpstream(links, feeding[name], shard)
        for name in dict.fromkeys(named)
    ]


def _core(
    links: Links, shard: str, reached: ReachedProof, known_versions: Mapping[str, int]
) -> Upstream:
    core = CoreUpstream(links, shard, reached=reached)
    if not links.config.redis_feed:
        return core
    return StreamUpstream(
        core, links.config, shard, rng=seeded_rng(), known_versions=known_versions
    )

"""The core as an upstream whose documents come through a Redis Stream, where one is named."""

from collections.abc import Mapping
from random import Random

from cache_sync.clock import SystemClock
from cache_sync.frames import Frame
from cache_sync.redis_link import RedisLink
from cache_sync.redis_stream_feed import StreamFeed, StreamFeedSettings
from cache_sync.standing import Standing
from edge_portal.upstreams import Upstream
from failover.node_config import EdgeConfig
from failover.signing import is_signed

LINK_SECONDS = 1.0


class StreamUpstream:
    """
    Asks the core, and takes from a stream what the core need not be asked for.

    Args:
        core: The core by HTTP.
        config: Of this edge.
        shard: The shard.
        rng: Where jitter comes from.
        known_versions: The newest version of each kind of body that this edge reads.
    """

    def __init__(
        self,
        core: Upstream,
        config: EdgeConfig,
        shard: str,
        *,
        rng: Random,
        known_versions: Mapping[str, int],
    ) -> None:
        clock = SystemClock()
        self._core = core
        self._feed = StreamFeed(
            core,
            RedisLink(config.redis_feed, clock=clock, seconds=LINK_SECONDS),
            shard,
            verify=lambda content, signature: is_signed(content, signature, config.core_public_key),
            clock=clock,
            rng=rng,
            settings=StreamFeedSettings(known_versions=known_versions),
        )

    @property
    def name(self) -> str:
        """Return the core's node id."""
        return self._core.name

    @property
    def relays(self) -> bool:
        """Return what the core does."""
        return self._core.relays

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Take the documents after a cursor from the stream, or ask the core. Raises `FeedError`, `InvalidFrame`."""
        return await self._feed.fetch(after, epoch, limit, wait)

    async def look(self, after: int, epoch: int) -> Standing:
        """Ask the core where it stands."""
        return await self._core.look(after, epoch)

    async def close(self) -> None:
        """Close all connections."""
        await self._feed.close()
        await self._core.close()

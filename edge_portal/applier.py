"""The applier: sole writer of the snapshot. When it is down the snapshot ages, visibly, and is read all the same."""

import asyncio

from cache_sync.clock import SystemClock
from cache_sync.documents import DEFAULT_SHARD
from cache_sync.follower import Follower
from edge_portal.child import child_command, seeded_rng
from edge_portal.core_client import CoreFeed, core_client
from edge_portal.settings import EdgeSettings


async def run_applier(settings: EdgeSettings, _: list[int], stop: asyncio.Event) -> None:
    """Follow the core's feed until told to stop."""
    client = core_client(settings.config, "feed", 1)
    settings.paths.snapshot.mkdir(parents=True, exist_ok=True)
    follower = Follower(
        CoreFeed(client, DEFAULT_SHARD),
        settings.paths.snapshot,
        shard=DEFAULT_SHARD,
        clock=SystemClock(),
        rng=seeded_rng(),
    )
    try:
        await follower.run(stop)
    finally:
        await client.close()


main = child_command("applier", run_applier)

if __name__ == "__main__":
    main()

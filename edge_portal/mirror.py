"""
The mirror: keeps the copies of the snapshots in a Redis, where one is named.

A process of its own: whatever the Redis does to it, applying and serving go on.
"""

import asyncio

from cache_sync.clock import SystemClock
from edge_portal.child import all_of, child_command, seeded_rng
from edge_portal.held_shards import held_shards
from edge_portal.redis_sharing import new_mirror
from edge_portal.settings import EdgeSettings


async def run_mirror(settings: EdgeSettings, _: list[int], stop: asyncio.Event) -> None:
    """Copy what the applier writes, until told to stop."""
    clock, rng = SystemClock(), seeded_rng()
    mirrors = [
        new_mirror(settings, shard, clock=clock, rng=rng) for shard in held_shards(settings.config)
    ]
    await all_of(stop, *(mirror.run(stop) for mirror in mirrors))


main = child_command("mirror", run_mirror)

if __name__ == "__main__":
    main()

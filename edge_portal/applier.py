"""The applier: sole writer of the snapshot. When it is down the snapshot ages, visibly, and is read all the same."""

import asyncio

from cache_sync.clock import Clock, SystemClock
from cache_sync.documents import DEFAULT_SHARD
from cache_sync.errors import SyncError
from cache_sync.follower import Follower
from cache_sync.replica_reader import ReplicaReader
from edge_portal.child import child_command, seeded_rng
from edge_portal.held_shards import snapshot_folder
from edge_portal.settings import EdgeSettings
from edge_portal.snapshot_download import EdgeDownload
from edge_portal.upstream_clients import upstreams_of
from edge_portal.upstreams import NEVER, Newness, Upstreams


def newest_held(settings: EdgeSettings, shard: str, clock: Clock) -> Newness:
    """Tell the epoch and T of the snapshot that is there: nothing older may be shown."""
    reader = ReplicaReader(snapshot_folder(settings, shard), clock=clock)
    try:
        with reader.read() as view:
            state = view.state()
    except SyncError:
        return NEVER
    finally:
        reader.close()
    return state.epoch, state.as_of


async def run_applier(settings: EdgeSettings, _: list[int], stop: asyncio.Event) -> None:
    """Follow the core, or whoever has its documents, until told to stop."""
    clock, rng = SystemClock(), seeded_rng()
    settings.paths.snapshot.mkdir(parents=True, exist_ok=True)
    upstreams = Upstreams(
        settings.config.node_id,
        upstreams_of(settings.config, DEFAULT_SHARD),
        newest=newest_held(settings, DEFAULT_SHARD, clock),
        clock=clock,
        rng=rng,
    )
    download = EdgeDownload(
        settings.config,
        settings.paths.snapshot,
        DEFAULT_SHARD,
        fetched=lambda manifest: upstreams.note_held((manifest.epoch, manifest.as_of)),
        clock=clock,
        rng=rng,
    )
    follower = Follower(
        upstreams,
        settings.paths.snapshot,
        shard=DEFAULT_SHARD,
        clock=clock,
        rng=rng,
        files=download.source,
        path=lambda: upstreams.path,
    )
    try:
        await follower.run(stop)
    finally:
        await download.close()
        await upstreams.close()


main = child_command("applier", run_applier)

if __name__ == "__main__":
    main()

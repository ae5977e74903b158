"""
The applier: sole writer of the snapshots. When it is down they age, visibly, and are read all the same.

It follows every shard that this node holds, each with a snapshot of its own, and compares them with the node above.
"""

import asyncio
import contextlib
from random import Random

from cache_sync.clock import Clock, SystemClock
from cache_sync.errors import SyncError
from cache_sync.follower import Follower
from cache_sync.follower_settings import FollowerSettings
from cache_sync.frames import Proof
from cache_sync.offload import Offload, in_thread
from cache_sync.replica_reader import ReplicaReader
from cache_sync.snapshot_folder import SnapshotFolder
from edge_portal.child import child_command, seeded_rng
from edge_portal.digest_client import digest_sources
from edge_portal.held_shards import held_shards, snapshot_folder
from edge_portal.links import Links
from edge_portal.settings import EdgeSettings
from edge_portal.snapshot_download import EdgeDownload
from edge_portal.upstream_clients import upstreams_of
from edge_portal.upstreams import NEVER, Newness, Upstreams
from edge_portal.verifier import VerifiedShard, Verifier

HOUR_SECONDS = 3600.0


class FollowedShard:
    """
    One shard, whom its documents are asked from, and who writes its snapshot. Call `close` at the end.

    Args:
        settings: Of this edge.
        shard: The shard.
        clock: Time.
        rng: Where jitter comes from.
        links: The ways to other nodes, where they are not the ordinary ones.
        offload: Where whole snapshots are copied and verified.
    """

    def __init__(
        self,
        settings: EdgeSettings,
        shard: str,
        *,
        clock: Clock,
        rng: Random,
        links: Links | None = None,
        offload: Offload = in_thread,
    ) -> None:
        folder = snapshot_folder(settings, shard)
        folder.mkdir(parents=True, exist_ok=True)
        keys = settings.file_keys
        self.reader = ReplicaReader(folder, clock=clock, keys=keys)
        links = links or Links(settings.config, settings.paths.data)
        known = settings.known_versions
        self._upstreams = Upstreams(
            settings.config.node_id,
            upstreams_of(links, shard, reached=self._proof, known_versions=known),
            newest=newest_held(self.reader),
            clock=clock,
            rng=rng,
        )
        self._download = EdgeDownload(
            links,
            folder,
            shard,
            fetched=lambda manifest: self._upstreams.note_held((manifest.epoch, manifest.as_of)),
            clock=clock,
            rng=rng,
            keys=keys,
            known_versions=known,
        )
        self.follower = Follower(
            self._upstreams,
            folder,
            shard=shard,
            clock=clock,
            rng=rng,
            settings=FollowerSettings(known_versions=known),
            folder=SnapshotFolder(folder, keys=keys),
            files=self._download.source,
            offload=offload,
            path=lambda: self._upstreams.path,
        )

    def _proof(self) -> Proof | None:
        try:
            with self.reader.read() as view:
                return view.proof()
        except SyncError:
            return None

    async def close(self) -> None:
        """Let connections and files go."""
        await self._download.close()
        await self._upstreams.close()
        self.reader.close()


def newest_held(reader: ReplicaReader) -> Newness:
    """Tell the epoch and T of the snapshot that is there: nothing older may be shown."""
    try:
        with reader.read() as view:
            state = view.state()
    except SyncError:
        return NEVER
    return state.epoch, state.as_of


async def run_applier(settings: EdgeSettings, _: list[int], stop: asyncio.Event) -> None:
    """Follow the core, or whoever has its documents, until told to stop."""
    clock, rng = SystemClock(), seeded_rng()
    async with contextlib.AsyncExitStack() as stack:
        shards = {
            shard: FollowedShard(settings, shard, clock=clock, rng=rng)
            for shard in held_shards(settings.config)
        }
        sources = digest_sources(Links(settings.config, settings.paths.data))
        for followed in shards.values():
            stack.push_async_callback(followed.close)
        for source in sources:
            stack.push_async_callback(source.close)
        verifier = Verifier(
            {
                shard: VerifiedShard(
                    followed.reader.read, followed.follower.put_right, followed.follower.doubt
                )
                for shard, followed in shards.items()
            },
            lambda: sources,
            clock=clock,
            rng=rng,
            reports_path=settings.paths.verifications,
            order_path=settings.paths.verification_order,
            every_seconds=settings.config.verify_hours * HOUR_SECONDS,
        )
        async with asyncio.TaskGroup() as running:
            for followed in shards.values():
                running.create_task(followed.follower.run(stop))
            running.create_task(verifier.run(stop))


main = child_command("applier", run_applier)

if __name__ == "__main__":
    main()

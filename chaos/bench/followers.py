"""
What followers cost the core: its CPU time a commit at a steady rate, with one follower and with many.

The core commits by itself. Followers ask as edges do, one connection each, show the barrier that they have reached and
wait for news; what they do with it is not measured. Then the many follow an edge, and the edge follows the core: a tree
costs the core one follower.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Iterator
from typing import Final

from cache_sync.documents import DEFAULT_SHARD
from cache_sync.errors import FeedError
from cache_sync.frames import Proof
from chaos.bench.figures import Figure, Goal, Result
from chaos.bench.fleet import BenchFleet
from chaos.bench.process_facts import cpu_seconds
from chaos.bench.setting import Setting
from chaos.bench.visible import committing_core, read_notes
from chaos.errors import FleetError
from chaos.fleet import Fleet
from chaos.process import wait_answering
from chaos.proxy_control import HOST
from edge_portal.core_client import CoreFeed
from edge_portal.node_client import NodeClient
from failover.node_config import EdgeConfig, read_config

_ROWS_MAX: Final = 1000
_WAIT_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 0.2
_READY_SECONDS: Final = 60.0
_RATE_SHARE: Final = 5


def bench_followers(setting: Setting) -> Result:
    """Measure one follower, many, and many behind an edge, one after the other on one core."""
    sizes = setting.sizes
    made = BenchFleet(setting.part("fleet"), sizes.fleet_accounts, setting.tell, edges=2)
    relay, asking = made.fleet.edges
    made.without_proxy(relay)
    rate = max(1, sizes.commits_a_second // _RATE_SHARE)
    commits = max(10, round(rate * sizes.seconds * 2))
    with _serving(made, setting, rate, commits) as measure:
        config = read_config(made.fleet.edge_config(asking))
        url = made.fleet.core_url
        one = measure(config, url, 1)
        setting.tell(f"  {sizes.followers} followers ...")
        many = measure(config, url, sizes.followers)
        setting.tell("  the same behind an edge ...")
        edge = made.fleet.edges[relay]
        edge.start()
        wait_answering(edge, f"{made.fleet.edge_url(relay)}/readyz", seconds=_READY_SECONDS)
        feed_url = f"http://{HOST}:{made.fleet.plan.edge(relay).feed_port}"
        alone = measure(config, feed_url, 0)
        tree = measure(config, feed_url, sizes.followers)
    return Result(
        bench="followers",
        figures=[
            Figure(
                name=f"the core's CPU time a commit, {sizes.followers} followers",
                unit="ms",
                ours=many,
                reference=one,
                compared_with="one follower",
                goal=Goal("at most", 1.2),
            ),
            Figure(
                name=f"the same, {sizes.followers} followers behind one edge",
                unit="ms",
                ours=tree,
                reference=alone,
                compared_with="that edge alone",
                goal=Goal("at most", 1.05),
            ),
        ],
        notes=[f"{commits} commits, {rate} a second"],
    )


class _Measure:
    """Has a core commit while followers ask, and tells its CPU time in ms a commit."""

    def __init__(self, made: BenchFleet, setting: Setting, rate: int, commits: int) -> None:
        self._notes = setting.folder / "commits.json"
        self._commits = commits
        self.core = committing_core(made, rate, commits, self._notes)

    def __call__(self, config: EdgeConfig, url: str, followers: int) -> float:
        """Measure once."""
        return asyncio.run(self._measured(config, url, followers))

    async def _measured(self, config: EdgeConfig, url: str, followers: int) -> float:
        self._notes.unlink(missing_ok=True)
        async with _following(config, url, followers) as arrived:
            before = cpu_seconds(self.core.pid)
            self.core.send(signal.SIGUSR1)
            committed = await asyncio.to_thread(read_notes, self._notes, self.core)
            spent = cpu_seconds(self.core.pid) - before
            last = committed[-1].seq
            until = time.monotonic() + _READY_SECONDS
            while min(arrived, default=last) < last:
                if time.monotonic() > until:
                    raise FleetError("followers did not reach the last commit")
                await asyncio.sleep(_RETRY_SECONDS)
        return 1000 * spent / self._commits


@contextlib.contextmanager
def _serving(made: BenchFleet, setting: Setting, rate: int, commits: int) -> Iterator[_Measure]:
    """Run the core alone for the block; edges are started within."""
    fleet: Fleet = made.fleet
    measure = _Measure(made, setting, rate, commits)
    try:
        measure.core.start()
        wait_answering(measure.core, f"{fleet.core_url}/readyz", seconds=_READY_SECONDS)
        yield measure
    finally:
        fleet.stop()


@contextlib.asynccontextmanager
async def _following(config: EdgeConfig, url: str, followers: int) -> AsyncIterator[list[int]]:
    """Have followers ask for the block, all at the head when it begins; yields how far each is."""
    arrived = [-1] * followers

    async def follow(number: int) -> None:
        client = NodeClient(
            url,
            node_id=config.node_id,
            secret=config.node_secret,
            purpose=f"bench {number}",
            calls_max=1,
        )
        shown: list[Proof] = []
        feed = CoreFeed(client, DEFAULT_SHARD, reached=lambda: shown[-1] if shown else None)
        cursor, epoch = 0, 0
        try:
            while True:
                try:
                    frame = await feed.fetch(cursor, epoch, _ROWS_MAX, _WAIT_SECONDS)
                except FeedError:
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                cursor, epoch = frame.upto, frame.epoch
                if frame.barrier:
                    arrived[number] = cursor
                    shown[:] = [Proof(epoch, DEFAULT_SHARD, cursor, frame.chain, frame.seal)]
        finally:
            await client.close()

    tasks = [asyncio.create_task(follow(number)) for number in range(followers)]
    try:
        until = time.monotonic() + _READY_SECONDS
        while min(arrived, default=0) < 0:
            if time.monotonic() > until:
                raise FleetError("the followers do not reach the head")
            await asyncio.sleep(_RETRY_SECONDS)
        yield arrived
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

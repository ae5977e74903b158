"""
Applying the feed: what a follower applies a second, against bare inserts of the same rows in the same order.

Ours is all that happens between the bytes of a frame and rows that readers see: decoding, the frame's digest, each
row's hash, the guarded upsert, the sums, the cursor, the status file. The reference is `executemany` alone, on rows
that are decoded already, into the same table with the same indexes, as many rows a transaction.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final

from msgspec.structs import astuple

from cache_sync.clock import SystemClock
from cache_sync.document_table import create_documents
from cache_sync.documents import DEFAULT_SHARD, Document
from cache_sync.follower import Follower
from cache_sync.follower_settings import FollowerSettings
from cache_sync.frames import Frame, decode_frame, encode_frame
from cache_sync.publication import Change
from cache_sync.sqlite import connect, write
from chaos.bench.core_file import CoreFile
from chaos.bench.figures import Figure, Goal, Result
from chaos.bench.population import Population
from chaos.bench.setting import Setting
from chaos.errors import FleetError

ROWS_A_COMMIT: Final = 2000
ROUNDS: Final = 3
GOAL: Final = Goal("at least", 0.85)
_INSERT: Final = """
INSERT INTO documents (account_id, kind, key, seq, body, version) VALUES (?, ?, ?, ?, ?, ?)
"""
_UPSERT: Final = (
    _INSERT
    + """
ON CONFLICT (account_id, kind, key) DO UPDATE SET seq = excluded.seq, body = excluded.body, version = excluded.version
"""
)


class _Recorded:
    """Implements `cache_sync.feed_client.FeedClient` out of frames as they travel."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self._frames = iter(frames)

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Return the next frame, decoded as it would be from the wire."""
        del after, epoch, limit, wait
        return decode_frame(next(self._frames))


def bench_apply(setting: Setting) -> Result:
    """Measure new documents and changed ones, each three times in turn with the reference; medians are told."""
    accounts = setting.sizes.apply_accounts
    base, inserts, updates = asyncio.run(_record(setting.part("core"), accounts))
    ours: dict[str, list[float]] = {"new": [], "changed": []}
    bare: dict[str, list[float]] = {"new": [], "changed": []}
    for number in range(ROUNDS):
        folder = setting.part(f"round-{number}")
        new, changed = asyncio.run(_follow(folder / "follower", base, inserts, updates))
        ours["new"].append(new)
        ours["changed"].append(changed)
        new, changed = _bare(folder / "bare.db", base, inserts, updates)
        bare["new"].append(new)
        bare["changed"].append(changed)
    names = {
        "new": "new payments, about 440 bytes, random accounts",
        "changed": "changed summaries, about 600 bytes, random accounts",
    }
    return Result(
        bench="apply",
        figures=[
            Figure(
                name=name,
                unit="rows/s",
                ours=statistics.median(ours[which]),
                reference=statistics.median(bare[which]),
                compared_with="bare executemany",
                goal=GOAL,
            )
            for which, name in names.items()
        ],
        notes=[f"{accounts} rows each, {ROWS_A_COMMIT} a transaction, median of {ROUNDS} rounds"],
    )


async def _record(folder: Path, accounts: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Publish a base, then new payments and changed summaries, and keep every frame as it travels."""
    core, population, order = CoreFile(folder / "core.db"), Population(), list(range(accounts))
    frames: list[list[bytes]] = []
    try:
        for make in (
            lambda number: population.account(number, 1_000),
            lambda number: population.payment(number, 0),
            lambda number: population.account(number, 2_000),
        ):
            Random(len(frames)).shuffle(order)
            frames.append(await _publish(core, order, make))
    finally:
        await core.close()
    return frames[0], frames[1], frames[2]


async def _publish(
    core: CoreFile, order: Sequence[int], make: Callable[[int], Change]
) -> list[bytes]:
    """Publish in commits, and take the page after each: it ends at a barrier."""
    frames = []
    cursor = (await core.feed.page(after=0, epoch=0, limit=1)).head
    for begin in range(0, len(order), ROWS_A_COMMIT):
        core.commit(make(number) for number in order[begin : begin + ROWS_A_COMMIT])
        frame = await core.feed.page(after=cursor, epoch=0, limit=ROWS_A_COMMIT)
        assert frame.barrier, "a page of a whole commit ends at the head"
        cursor = frame.upto
        frames.append(encode_frame(frame))
    return frames


async def _follow(folder: Path, *phases: Sequence[bytes]) -> tuple[float, float]:
    """Have a follower apply frames; returns rows a second of the second and the third phase."""
    base, inserts, updates = phases
    recorded = [*base, *inserts, *updates]
    follower = Follower(
        _Recorded(recorded),
        folder,
        shard=DEFAULT_SHARD,
        clock=SystemClock(),
        rng=Random(1),
        # The measured frames come all at once: what was recorded must not be taken for old.
        settings=FollowerSettings(answer_seconds_max=60.0),
    )
    try:
        await _steps(follower, base)
        return await _steps(follower, inserts), await _steps(follower, updates)
    finally:
        follower.close()


async def _steps(follower: Follower, frames: Sequence[bytes]) -> float:
    rows = follower.status.rows_applied
    begun = time.perf_counter()
    for _ in frames:
        await follower.step()
    seconds = time.perf_counter() - begun
    if follower.status.phase != "following":
        raise FleetError(f"the follower stopped: {follower.status.reason}")
    return (follower.status.rows_applied - rows) / seconds


def _bare(path: Path, *phases: Sequence[bytes]) -> tuple[float, float]:
    """Write the same rows in the same transactions with nothing around them."""
    base, inserts, updates = ([decode_frame(frame).rows for frame in phase] for phase in phases)
    connection = connect(path, synchronous="NORMAL")
    try:
        with write(connection):
            create_documents(connection)

        def apply(batches: Sequence[Sequence[Document]], sql: str) -> float:
            tuples = [[astuple(row) for row in batch] for batch in batches]
            begun = time.perf_counter()
            for batch in tuples:
                with write(connection):
                    connection.executemany(sql, batch)
            return sum(map(len, tuples)) / (time.perf_counter() - begun)

        apply(base, _INSERT)
        return apply(inserts, _INSERT), apply(updates, _UPSERT)
    finally:
        connection.close()

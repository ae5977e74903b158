"""A core with a feed and a clock that tests turn by hand, and what the core's documents were after every commit."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

from cache_sync.core_time import close, create_core_clock, stamp
from cache_sync.document_table import (
    create_documents,
    forget_tombstones,
    read_head,
)
from cache_sync.documents import DEFAULT_SHARD, KNOWN_VERSIONS, Document
from cache_sync.feed import CoreTimeSource, FeedSource
from cache_sync.follower import Follower
from cache_sync.follower_settings import FollowerSettings
from cache_sync.frame_guards import check_frame, check_versions
from cache_sync.frames import FRAME_FORMAT, CheckedFrame, Frame, sealed
from cache_sync.offload import inline
from cache_sync.packed_bodies import unpack_body
from cache_sync.publication import Change as Publication
from cache_sync.publication import Name as DocumentName
from cache_sync.publication import begin_shard, create_commits, publish_all
from cache_sync.replica_reader import ReplicaReader, ReplicaState
from cache_sync.row_hash import FIRST_CHAIN, SEAL_BYTES, add_hashes, row_hash
from cache_sync.sqlite import Connection, connect, write

Name = tuple[str, str, str]
State = dict[Name, bytes]
Change = tuple[Name, bytes | None]

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TICK_SECONDS = 0.001
SEAL_KEY = b"the core's own"
SETTINGS = FollowerSettings(tail_pages_max=3)


class FakeClock:
    """A clock that moves when it is told to, and by a tick whenever it is read on the boot clock."""

    def __init__(self, boot_id: str = "boot-1", boot_seconds: float = 1000.0) -> None:
        self.boot = boot_seconds
        self.wall_ahead_seconds = 0.0
        self._boot_id = boot_id
        self._booted = NOON - timedelta(seconds=boot_seconds)

    def now(self) -> datetime:
        """Tell the wall clock, which may have been set wrong."""
        return self._booted + timedelta(seconds=self.boot + self.wall_ahead_seconds)

    def boot_seconds(self) -> float:
        """Tell the boot clock; reading it takes a tick, so that no two instants are the same."""
        self.boot += TICK_SECONDS
        return self.boot

    def boot_id(self) -> str:
        """Tell the boot."""
        return self._boot_id

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.boot += seconds

    async def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.advance(seconds)
        await asyncio.sleep(0)


class Committed(NamedTuple):
    """The core after one commit."""

    stamp: datetime
    state: State


class Core:
    """The core's side of the feed, in a real file, with a record of all the states that it was in."""

    def __init__(self, path: Path, clock: FakeClock, *, epoch: int = 1) -> None:
        self.path = path
        self.clock = clock
        self.closed_at: dict[datetime, float] = {}
        self.history: dict[tuple[int, int], Committed] = {}
        self._epoch = epoch
        self.connection = self._open()
        self.feed = self._new_feed()

    def _open(self) -> Connection:
        connection = connect(self.path, synchronous="FULL")
        with write(connection):
            create_documents(connection)
            create_commits(connection)
            create_core_clock(connection)
            begin_shard(connection, DEFAULT_SHARD, self._epoch)
            if not self.history:
                self.history[self._epoch, 0] = Committed(stamp(connection, self.clock.now()), {})
        return connection

    def _new_feed(self) -> FeedSource:
        source = CoreTimeSource(self._close_time, self.clock)
        return FeedSource(
            self.path,
            DEFAULT_SHARD,
            time_source=source,
            clock=self.clock,
            seal_key=SEAL_KEY,
            offload=inline,
        )

    async def _close_time(self) -> datetime:
        with write(self.connection):
            closed = close(self.connection, self.clock.now())
            self.closed_at[closed] = self.clock.boot
        return closed

    @property
    def head(self) -> int:
        """The newest seq."""
        return read_head(self.connection, DEFAULT_SHARD).head

    @property
    def state(self) -> State:
        """The live documents after the last commit."""
        return self.history[self._epoch, self.head].state

    def commit(self, changes: Iterable[Change], *, version: int = 1) -> int:
        """Publish changes in one transaction, their bodies in a version; return the head after it."""
        state = dict(self.state)
        with write(self.connection):
            stamped = stamp(self.connection, self.clock.now())
            for (account_id, kind, key), body in changes:
                name = DocumentName(account_id, kind, key)
                publish_all(self.connection, DEFAULT_SHARD, [Publication(name, body, version)])
                if body is None:
                    state.pop((account_id, kind, key), None)
                else:
                    state[account_id, kind, key] = body
        self.history[self._epoch, self.head] = Committed(stamped, state)
        return self.head

    def fill(self, count: int, body: bytes = b"{}") -> int:
        """Publish some documents, one commit each; return the head."""
        for number in range(count):
            self.commit([((f"account-{number}", "payment", "p"), body)])
        return self.head

    def forget(self, through: int) -> None:
        """Forget tombstones up to a seq."""
        with write(self.connection):
            forget_tombstones(self.connection, DEFAULT_SHARD, through)

    async def restart(self) -> None:
        """Stop and start again on the same file."""
        await self.close()
        self.connection = self._open()
        self.feed = self._new_feed()

    def enter_epoch(self, epoch: int, *, head: int | None = None) -> None:
        """Begin an epoch, as after a restore; `head` cuts the counter back, as a careless restore does."""
        state, before = self.state, self.head
        with write(self.connection):
            self.connection.execute(
                "UPDATE shard_head SET epoch = ?, chain = ?", (epoch, FIRST_CHAIN)
            )
            if head is not None:
                self.connection.execute("DELETE FROM documents WHERE seq > ?", (head,))
                self.connection.execute("UPDATE shard_head SET head = ?", (head,))
                rows = self.connection.execute(
                    "SELECT account_id, kind, key, body, row_hash FROM documents WHERE body IS NOT NULL"
                ).fetchall()
                self.connection.execute(
                    "UPDATE shard_head SET live_hash = ?, live_rows = ?",
                    (add_hashes(0, (row[4] for row in rows)), len(rows)),
                )
                state = {(row[0], row[1], row[2]): unpack_body(row[3]) for row in rows}
            stamped = stamp(self.connection, self.clock.now())
        self._epoch = epoch
        self.history[epoch, before if head is None else head] = Committed(stamped, state)

    async def close(self) -> None:
        """Let the file go."""
        await self.feed.close()
        self.connection.close()

    def check(self, seen: ReplicaState, state: State) -> None:
        """Check what a reader saw against the core's own record: a real state, and a true label."""
        committed = self.history.get((seen.epoch, seen.cursor))
        assert committed is not None, f"seq {seen.cursor} is in the middle of a commit"
        assert state == committed.state
        for (epoch, seq), other in self.history.items():
            if epoch == seen.epoch and other.stamp < seen.as_of:
                assert seq <= seen.cursor, "a commit before T is missing"


class DirectClient:
    """Asks a core without a network; `alter` may damage, replace or refuse the answers."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.alter: Callable[[Frame], Frame] | None = None
        self.page_rows = 5000
        self.questions: list[tuple[int, int]] = []

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Ask the feed without waiting."""
        self.questions.append((after, epoch))
        frame = await self.core.feed.page(
            after=after, epoch=epoch, limit=min(limit, self.page_rows)
        )
        return self.alter(frame) if self.alter is not None else frame


def read_all(reader: ReplicaReader) -> tuple[ReplicaState, State]:
    """Return all live documents that a reader sees, and where they stand."""
    with reader.read() as view:
        state = view.state()
        rows = view._connection.execute(
            "SELECT account_id, kind, key, body FROM documents WHERE body IS NOT NULL"
        ).fetchall()
    return state, {(row[0], row[1], row[2]): unpack_body(row[3]) for row in rows}


def make_frame(rows: list[Document], *, onto: Iterable[Document] = (), **changes: object) -> Frame:
    """Make a frame with its digest; by default a barrier in epoch 1 that brings the rows after seq 0, `onto` others."""
    upto = rows[-1].seq if rows else 0
    named = {
        (row.account_id, row.kind, row.key): row
        for row in sorted([*onto, *rows], key=lambda row: row.seq)
    }
    live = [
        row_hash(row.account_id, row.kind, row.key, row.seq, row.version, row.body)
        for row in named.values()
        if row.body is not None
    ]
    fields: dict[str, object] = {
        "format": FRAME_FORMAT,
        "epoch": 1,
        "shard": DEFAULT_SHARD,
        "after": 0,
        "upto": upto,
        "count": len(rows),
        "rows": rows,
        "digest": "",
        "barrier": True,
        "head": upto,
        "as_of": NOON,
        "age_seconds": 0.0,
        "age_at_least": False,
        "floor": 0,
        "live_hash": add_hashes(0, live),
        "live_rows": len(live),
        "chain": FIRST_CHAIN,
        "seal": bytes(SEAL_BYTES),
        **changes,
    }
    return sealed(Frame(**fields))  # type: ignore[arg-type]


def checked(frame: Frame) -> CheckedFrame:
    """Check a frame as a follower of this release does before it applies it."""
    check_frame(frame)
    return check_versions(frame, KNOWN_VERSIONS)


def make_document(seq: int, *, account_id: str = "a", body: bytes | None = b"{}") -> Document:
    """Make a document at a seq."""
    return Document(account_id, "payment", str(seq), seq, body)


def make_follower(client: DirectClient, directory: Path, clock: FakeClock) -> Follower:
    """Make a follower that runs on the test's clock, without threads."""
    return Follower(
        client, directory, clock=clock, rng=Random(7), settings=SETTINGS, offload=inline
    )


def keep(kept: list[Frame], frame: Frame) -> Frame:
    """Remember a frame on its way."""
    kept.append(frame)
    return frame


async def step_until(follower: Follower, clock: FakeClock, phase: str) -> None:
    """Step, waiting as told, until the follower is in a phase."""
    for _ in range(400):
        clock.advance(await follower.step())
        if follower.status.phase == phase:
            return
    raise AssertionError(f"still {follower.status.phase}: {follower.status.reason}")

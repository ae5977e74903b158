"""A core of several shards that can be backed up and restored, and a record of every state that it was in."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cache_sync.core_time import close, create_core_clock, stamp
from cache_sync.document_table import create_documents, read_head
from cache_sync.errors import FeedUnavailable
from cache_sync.feed import ClosedTime, CoreTimeSource, FeedSource
from cache_sync.frames import Frame, Proof
from cache_sync.offload import inline
from cache_sync.publication import (
    Change,
    Name,
    begin_shard,
    create_commits,
    forget_deletes,
    oldest_commit,
    publish_all,
    raise_epoch,
    read_chain,
)
from cache_sync.replica_reader import ReplicaState
from cache_sync.shards import shard_names, shard_of
from cache_sync.sqlite import Connection, connect, write
from core_cis.lineage import Known, Lineage
from failover.web import Problem
from tests.unit.cache_sync.feed_world import FakeClock, State

SEAL_KEY = b"the core's own"


@dataclass
class Committed:
    """A shard after a commit; `lost` when a restore has taken it back."""

    stamp: datetime
    state: State
    lost: bool = False


class Core:
    """
    The core's side of the feed, in a real file.

    `history` holds, by shard, epoch and seq, every state that was ever committed there. A restore without a new epoch
    gives the same place out a second time.
    """

    def __init__(self, directory: Path, clock: FakeClock, shards: int) -> None:
        self.path = directory / "core.db"
        self._backup = directory / "backup.db"
        self.clock = clock
        self.shards = shard_names(shards)
        self.lineage = Lineage()
        self.closed_at: dict[datetime, float] = {}
        self.history: dict[tuple[str, int, int], list[Committed]] = {}
        self.states: dict[str, State] = {shard: {} for shard in self.shards}
        self._backed_up_states = self.states
        self.epoch = self.epoch_highest = 1
        self._newest = datetime.min.replace(tzinfo=clock.now().tzinfo)
        self._raise_is_due = False
        self.connection = self._open()
        self.feeds = self._new_feeds()
        with write(self.connection):
            stamped = self._stamp()
        for shard in self.shards:
            self._record(shard, stamped)
        self.back_up()

    def _open(self) -> Connection:
        connection = connect(self.path, synchronous="NORMAL")
        with write(connection):
            create_documents(connection)
            create_commits(connection)
            create_core_clock(connection)
            for shard in self.shards:
                begin_shard(connection, shard, self.epoch)
        return connection

    def _new_feeds(self) -> dict[str, FeedSource]:
        self.time_source = CoreTimeSource(self._close_time, self.clock)
        return {
            shard: FeedSource(
                self.path,
                shard,
                time_source=self.time_source,
                clock=self.clock,
                seal_key=SEAL_KEY,
                offload=inline,
            )
            for shard in self.shards
        }

    async def _close_time(self) -> datetime:
        with write(self.connection):
            closed = close(self.connection, self.clock.now())
        self.closed_at[closed] = self.clock.boot
        self._newest = max(self._newest, closed)
        return closed

    def _stamp(self) -> datetime:
        stamped = stamp(self.connection, self.clock.now())
        self._newest = max(self._newest, stamped)
        return stamped

    def head(self, shard: str) -> int:
        """Return a shard's newest seq."""
        return read_head(self.connection, shard).head

    def _record(self, shard: str, stamped: datetime) -> None:
        place = (shard, self.epoch, self.head(shard))
        self.history.setdefault(place, []).append(Committed(stamped, dict(self.states[shard])))

    # What a core does

    def commit(self, changes: Iterable[tuple[Name, bytes | None]]) -> None:
        """Publish changes in one transaction, whatever shards they are of."""
        by_shard: dict[str, list[Change]] = {}
        for name, body in changes:
            shard = shard_of(name.account_id, len(self.shards))
            by_shard.setdefault(shard, []).append(Change(name, body))
            state = dict(self.states[shard])
            if body is None:
                state.pop(name, None)
            else:
                state[name] = body
            self.states = {**self.states, shard: state}
        begun = self.clock.boot
        with write(self.connection):
            stamped = self._stamp()
            for shard, published in by_shard.items():
                publish_all(self.connection, shard, published)
        for shard in by_shard:
            self._record(shard, stamped)
        # As the core does: who asks next is answered in the name of this commit, if that is soon enough.
        self.closed_at[stamped] = begun
        self.time_source.note(ClosedTime(stamped, begun))

    async def answer(
        self, shard: str, after: int, epoch: int, limit: int, proof: Proof | None
    ) -> Frame:
        """Answer a follower as the core's API does: not before its history was compared with what is shown."""
        known = Known(read_head(self.connection, shard), None, 0)
        if proof is not None:
            assert proof.is_sealed(SEAL_KEY)
            chain = read_chain(self.connection, shard, proof.seq)
            known = Known(known.head, chain, oldest_commit(self.connection, shard))
        try:
            self.lineage.check(proof, known, node_id="edge", now=self.clock.now())
        except Problem as problem:
            raise FeedUnavailable(problem.slug) from problem
        return await self.feeds[shard].page(after=after, epoch=epoch, limit=limit)

    def forget(self) -> None:
        """Forget all tombstones there are."""
        with write(self.connection):
            for shard in self.shards:
                forget_deletes(self.connection, shard, self.head(shard))

    # What operators do

    def back_up(self) -> None:
        """Keep a copy of everything, the only one."""
        self._backup.unlink(missing_ok=True)
        target = connect(self._backup, synchronous="NORMAL")
        try:
            self.connection.backup(target)
        finally:
            target.close()
        self._backed_up_states = self.states

    async def restore(self) -> None:
        """Put the copy in the place of everything, and tell nobody."""
        await self.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        source = connect(self._backup, synchronous="NORMAL")
        target = connect(self.path, synchronous="NORMAL")
        try:
            source.backup(target)
        finally:
            source.close()
            target.close()
        self.lineage = Lineage()
        self.connection = self._open()
        self.feeds = self._new_feeds()
        self.states = self._backed_up_states
        self.epoch = read_head(self.connection, self.shards[0]).epoch
        self._lose_what_came_after()
        self._raise_is_due = True
        # A backup does not know what time it became meanwhile. The machine's clock does, within a restore's length.
        behind = self._newest - self.clock.now()
        if behind >= timedelta(0):
            self.clock.wall_ahead_seconds += behind.total_seconds() + 1
        with write(self.connection):
            self._stamp()

    def _lose_what_came_after(self) -> None:
        for (shard, epoch, seq), committed in self.history.items():
            if (epoch, seq) <= (self.epoch, self.head(shard)):
                continue
            for one in committed:
                one.lost = True

    def enter_epoch(self, *, least: int = 0) -> None:
        """Begin the next epoch, or a later one: what an operator must do after a restore."""
        with write(self.connection):
            stamped = self._stamp()
            for shard in self.shards:
                self.epoch = raise_epoch(self.connection, shard, least or None)
        self.epoch_highest = max(self.epoch_highest, self.epoch)
        self._raise_is_due = False
        for shard in self.shards:
            self._record(shard, stamped)

    def tend(self) -> None:
        """Do what an operator does after a restore, or when the core says that there must have been one."""
        head = read_head(self.connection, self.shards[0])
        if self._raise_is_due or self.lineage.forgotten(head) is not None:
            self.enter_epoch(least=self.epoch_highest + 1)

    async def restart(self) -> None:
        """Stop and start again on the same file."""
        await self.close()
        self.lineage = Lineage()
        self.connection = self._open()
        self.feeds = self._new_feeds()

    async def close(self) -> None:
        """Let the file go."""
        for feed in self.feeds.values():
            await feed.close()
        self.connection.close()

    # What was true

    def check(self, seen: ReplicaState, state: State) -> None:
        """Check what a reader saw: a state that was committed at the place it names, under a true label."""
        committed = self.history.get((seen.shard, seen.epoch, seen.cursor), [])
        assert committed, f"nothing ended at seq {seen.cursor} of epoch {seen.epoch}"
        assert state in [one.state for one in committed], "a mixture of states"
        for (shard, epoch, seq), others in self.history.items():
            if (shard, epoch) != (seen.shard, seen.epoch) or seq <= seen.cursor:
                continue
            missing = [one for one in others if one.stamp < seen.as_of and not one.lost]
            assert not missing, "a commit before T is missing"

    def is_at_head(self, seen: ReplicaState, state: State) -> bool:
        """Tell whether a reader sees the present."""
        place = (self.epoch, self.head(seen.shard))
        return (seen.epoch, seen.cursor) == place and state == self.states[seen.shard]

"""The replica engines behind one face, so that the same tests run on each: written by frames, read at barriers."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Protocol

from cache_sync.clock import Clock, SystemClock
from cache_sync.documents import Document
from cache_sync.errors import RedisLost
from cache_sync.frame_guards import Held
from cache_sync.frames import CheckedFrame, Frame
from cache_sync.packed_bodies import unpack_body
from cache_sync.redis_layout import RedisLayout
from cache_sync.redis_link import RedisLink
from cache_sync.redis_reader import RedisReader
from cache_sync.redis_replica import RedisBuild, RedisReplica
from cache_sync.replica import ReplicaWriter
from cache_sync.replica_reader import ReplicaReader, ReplicaState
from cache_sync.snapshot_build import SnapshotBuild
from cache_sync.snapshot_folder import SnapshotFolder
from tests.unit.cache_sync.feed_world import State, checked, read_all

NODE_KEY = b"the key of a node in the tests"


class Build(Protocol):
    """A copy under construction."""

    def add(self, frame: CheckedFrame, asked_boot_seconds: float) -> int:
        """Add the next frame."""
        ...


class Engine(Protocol):
    """A replica of one shard, and a reader of it."""

    def begin(self) -> Build:
        """Begin a copy beside the one that is read."""
        ...

    def adopt(self, build: Build) -> None:
        """Send readers to a finished copy."""
        ...

    def apply(self, frames: Sequence[Frame], asked_boot_seconds: float) -> int:
        """Apply frames to the copy that is read."""
        ...

    def held(self) -> Held:
        """Tell where the copy stands."""
        ...

    def reopen(self) -> None:
        """Forget all that the writer knows, as its process does when it dies."""
        ...

    def is_readable(self) -> bool:
        """Tell whether readers find anything."""
        ...

    def state(self) -> ReplicaState:
        """Tell what readers are told."""
        ...

    def document(self, account_id: str, kind: str, key: str) -> Document | None:
        """Read one document."""
        ...

    def documents(self, account_id: str, kind: str) -> list[Document]:
        """Read an account's documents of one kind."""
        ...

    def credential(self, key: str) -> Document | None:
        """Read a credential by its key."""
        ...

    def everything(self, account_ids: Iterable[str]) -> State:
        """Read all that some accounts have."""
        ...

    def close(self) -> None:
        """Let everything go."""
        ...


class SqliteEngine:
    """The snapshot folder."""

    def __init__(self, directory: Path, shard: str, clock: Clock) -> None:
        self._directory, self._shard, self._clock = directory, shard, clock
        self._rng = Random(3)
        self._reader = ReplicaReader(directory, clock=clock)
        self._writer: ReplicaWriter | None = None
        self.reopen()

    def reopen(self) -> None:
        """Open what the pointer names."""
        self._close_writer()
        self._folder = SnapshotFolder(self._directory)
        current = self._folder.current()
        if current is not None:
            self._writer = ReplicaWriter(current, self._shard, clock=self._clock)

    def begin(self) -> SnapshotBuild:
        """Begin a file beside."""
        path = self._folder.new_build(self._rng)
        writer = ReplicaWriter(path, self._shard, clock=self._clock, folder=self._folder)
        return SnapshotBuild(path, writer, from_copy=False)

    def adopt(self, build: Build) -> None:
        """Verify it and move the pointer."""
        assert isinstance(build, SnapshotBuild)
        held = build.verify()
        build.finish()
        self._folder.adopt(build.path, held.cursor)
        self.reopen()

    def apply(self, frames: Sequence[Frame], asked_boot_seconds: float) -> int:
        """Apply frames to the current file."""
        assert self._writer is not None
        return self._writer.apply([checked(frame) for frame in frames], asked_boot_seconds)

    def held(self) -> Held:
        """Tell where the file stands."""
        if self._writer is None:
            return Held(self._shard, 0, 0, 0, None)
        return self._writer.held()

    def is_readable(self) -> bool:
        """Tell whether there is a snapshot."""
        return self._reader.ready()

    def state(self) -> ReplicaState:
        """Tell what readers are told."""
        with self._reader.read() as view:
            return view.state()

    def document(self, account_id: str, kind: str, key: str) -> Document | None:
        """Read one document."""
        with self._reader.read() as view:
            return view.document(account_id, kind, key)

    def documents(self, account_id: str, kind: str) -> list[Document]:
        """Read an account's documents of one kind."""
        with self._reader.read() as view:
            return view.documents(account_id, kind)

    def credential(self, key: str) -> Document | None:
        """Read a credential by its key."""
        with self._reader.read() as view:
            return view.credential(key)

    def everything(self, account_ids: Iterable[str]) -> State:
        """Read all that some accounts have."""
        wanted = set(account_ids)
        _, state = read_all(self._reader)
        return {name: body for name, body in state.items() if name[0] in wanted}

    def close(self) -> None:
        """Close all files."""
        self._close_writer()
        self._reader.close()

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class RedisEngine:
    """A Redis, or a cluster of them."""

    def __init__(self, url: str, shard: str, clock: Clock) -> None:
        self._layout = RedisLayout("east", shard, NODE_KEY)
        self._url, self._clock = url, clock
        self._links: list[RedisLink] = []
        self._reader = RedisReader(self._link(), self._layout, clock=clock, seconds=5.0)
        self._generations = 0
        self.reopen()

    def _link(self) -> RedisLink:
        # Its deadlines are real ones, whatever the test's clock does.
        link = RedisLink(self._url, clock=SystemClock(), seconds=10.0)
        self._links.append(link)
        return link

    def reopen(self) -> None:
        """Read what is there."""
        self._replica = RedisReplica(self._link(), self._layout, clock=self._clock)
        self._replica.held()

    def begin(self) -> RedisBuild:
        """Begin another generation."""
        self._generations += 1
        return self._replica.begin(f"generation{self._generations}")

    def adopt(self, build: Build) -> None:
        """Swap it in."""
        assert isinstance(build, RedisBuild)
        build.adopt()

    def apply(self, frames: Sequence[Frame], asked_boot_seconds: float) -> int:
        """Apply frames to the current generation."""
        return self._replica.apply([checked(frame) for frame in frames], asked_boot_seconds)

    def held(self) -> Held:
        """Tell where it stands."""
        return self._replica.held()

    def is_readable(self) -> bool:
        """Tell whether there is a state."""
        try:
            self._reader.state()
        except RedisLost:
            return False
        return True

    def state(self) -> ReplicaState:
        """Tell what readers are told."""
        return self._reader.state()

    def document(self, account_id: str, kind: str, key: str) -> Document | None:
        """Read one document."""
        return self._reader.account(account_id).document(account_id, kind, key)

    def documents(self, account_id: str, kind: str) -> list[Document]:
        """Read an account's documents of one kind."""
        return self._reader.account(account_id).documents(account_id, kind)

    def credential(self, key: str) -> Document | None:
        """Read a credential by its key."""
        return self._reader.credential(key).credential(key)

    def everything(self, account_ids: Iterable[str]) -> State:
        """Read all that some accounts have."""
        found: State = {}
        for account_id in account_ids:
            reading = self._reader.account(account_id)
            found |= {name: unpack_body(one.body or b"") for name, one in reading.by_name.items()}
        return found

    def close(self) -> None:
        """Close all connections."""
        for link in self._links:
            link.close()

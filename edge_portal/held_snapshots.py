"""
The snapshots of all shards that this node holds, read as one.

An account is read from its own shard's snapshot, and its label is that one's. What concerns no account (who signs in,
how old this node is) is read from all of them, and its label is the oldest one's: no shard is older than it says.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from cache_sync.clock import Clock
from cache_sync.documents import Document
from cache_sync.errors import DamagedSnapshot, SyncError
from cache_sync.frames import Proof
from cache_sync.replica_reader import ReplicaReader, ReplicaState, SnapshotView
from cache_sync.shards import shard_of
from edge_portal.damage_report import DamageReport
from edge_portal.errors import NotHeldHere
from edge_portal.held_shards import held_shards, snapshot_folder
from edge_portal.settings import EdgeSettings
from edge_portal.snapshot import Reading

_HeldT = TypeVar("_HeldT")


class HeldSnapshots:
    """
    Reads a node's snapshots; one per process. Call `close` at the end.

    Args:
        readers: Of the shards that this node holds.
        shard_count: How many the core has.
        damaged: Told when one of them cannot be read.
    """

    def __init__(
        self,
        readers: Mapping[str, ReplicaReader],
        shard_count: int,
        damaged: Callable[[DamagedSnapshot], None] = lambda _: None,
    ) -> None:
        self._damaged = damaged
        self._readers = dict(readers)
        self._shard_count = shard_count

    @property
    def are_all(self) -> bool:
        """Whether this node holds every shard of the core."""
        return len(self._readers) == self._shard_count

    @property
    def only(self) -> ReplicaReader | None:
        """The reader of the core's only shard; None where there are more."""
        return next(iter(self._readers.values())) if self._shard_count == 1 else None

    @contextmanager
    def read(self, account_id: str = "") -> Iterator[Reading]:
        """
        Read an account's shard, or all shards where none is named, each at one barrier.

        Never await inside and never nest.

        Raises:
            NotHeldHere: The account is in a shard that this node does not hold.
            SyncError: As `ReplicaReader.read`; of all shards, when one of them cannot be read.
        """
        try:
            if account_id or len(self._readers) == 1:
                with self._reader_of(account_id).read() as view:
                    yield view
                return
            with ExitStack() as stack:
                views = {
                    shard: stack.enter_context(reader.read())
                    for shard, reader in self._readers.items()
                }
                yield _AllShards(views, self._shard_count)
        except DamagedSnapshot as error:
            self._damaged(error)
            raise

    def _reader_of(self, account_id: str) -> ReplicaReader:
        if len(self._readers) == self._shard_count == 1 or not account_id:
            return next(iter(self._readers.values()))
        return _held(self._readers, shard_of(account_id, self._shard_count))

    def ready(self) -> bool:
        """Tell whether there is a snapshot of every shard that is held."""
        return all(reader.ready() for reader in self._readers.values())

    def state(self, account_id: str = "") -> ReplicaState | None:
        """Tell where the snapshot of an account's shard stands, the oldest where none is named; None without one."""
        try:
            if account_id:
                with self._reader_of(account_id).read() as view:
                    return view.state()
            states = []
            for reader in self._readers.values():
                with reader.read() as view:
                    states.append(view.state())
        except (SyncError, NotHeldHere):
            return None
        return oldest(states)

    def proof(self) -> Proof | None:
        """Return a barrier that was reached, with the core's seal on it; None when there is none to show."""
        for reader in self._readers.values():
            try:
                with reader.read() as view:
                    return view.proof()
            except SyncError:
                continue
        return None

    def close(self) -> None:
        """Let the files go."""
        for reader in self._readers.values():
            reader.close()


class _AllShards:
    """One read transaction of each shard."""

    def __init__(self, views: Mapping[str, SnapshotView], shard_count: int) -> None:
        self._views = views
        self._shard_count = shard_count

    def _of(self, account_id: str) -> SnapshotView:
        return _held(self._views, shard_of(account_id, self._shard_count))

    def document(self, account_id: str, kind: str, key: str) -> Document | None:
        return self._of(account_id).document(account_id, kind, key)

    def documents(self, account_id: str, kind: str) -> Sequence[Document]:
        return self._of(account_id).documents(account_id, kind)

    def credential(self, key: str) -> Document | None:
        # It is filed under an account that only its own body names.
        found = (view.credential(key) for view in self._views.values())
        return next((document for document in found if document is not None), None)

    def state(self) -> ReplicaState:
        return oldest([view.state() for view in self._views.values()])


def oldest(states: Sequence[ReplicaState]) -> ReplicaState:
    """Choose the state whose label holds for all of them: of the oldest T."""
    return min(states, key=lambda state: (not state.at_least, -state.age_seconds))


def open_held(
    settings: EdgeSettings, *, clock: Clock, reader: type[ReplicaReader] = ReplicaReader
) -> HeldSnapshots:
    """Read the snapshots of all shards that a node holds, each through a ``reader``; opens nothing yet."""
    readers = {
        shard: reader(snapshot_folder(settings, shard), clock=clock, keys=settings.file_keys)
        for shard in held_shards(settings.config)
    }
    report = DamageReport(settings.paths.verification_order, clock)
    return HeldSnapshots(readers, settings.config.shards, report.tell)


def _held(held: Mapping[str, _HeldT], shard: str) -> _HeldT:
    try:
        return held[shard]
    except KeyError:
        raise NotHeldHere(shard) from None

"""
A node's copy of the documents, written: rows, cursor, as-of time and age move together, and only at barriers.

Readers of the same file are in `replica_reader`. The file can be fetched again, so its commits do not wait for the disk
(synchronous NORMAL): power loss may take the newest commits, whole ones, and the feed brings them again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import astuple

from cache_sync.clock import Clock
from cache_sync.document_table import (
    ShardHead,
    add_shard,
    create_documents,
    forget_tombstones,
    read_head,
)
from cache_sync.documents import Document
from cache_sync.erased import leaves_traces, mark_traces, may_hold_traces
from cache_sync.errors import DamagedSnapshot, InvalidFrame, KeyNotHeld, StorageFailed
from cache_sync.frame_guards import Held, check_follows, check_live
from cache_sync.frames import CheckedFrame
from cache_sync.repairs import Repair, put_right
from cache_sync.row_hash import add_hashes, row_hash
from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.sqlite import (
    BUSY_TIMEOUT_SECONDS,
    DatabaseError,
    IntegrityError,
    OperationalError,
    WrongKey,
    database,
    write,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_UPSERT = """
INSERT INTO documents (account_id, kind, key, seq, body, version, row_hash) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (account_id, kind, key) DO UPDATE SET
    seq = excluded.seq, body = excluded.body, version = excluded.version,
    row_hash = row_replaced(documents.row_hash, excluded.row_hash)
WHERE row_is_newer(excluded.seq, documents.seq, excluded.row_hash)
"""
_MOVE_HEAD = """
UPDATE shard_head SET epoch = ?, head = ?, live_hash = ?, live_rows = ?, chain = ?, seal = ? WHERE shard = ?
"""
# The same T again is an old answer that came twice, or a T that two questions shared: it never makes T look younger.
_MOVE_AS_OF = """
INSERT INTO as_of (id, as_of_us, asked_boot_seconds, age_seconds, at_least, boot_id)
VALUES (1, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET as_of_us = excluded.as_of_us,
    asked_boot_seconds = excluded.asked_boot_seconds, age_seconds = excluded.age_seconds,
    at_least = excluded.at_least, boot_id = excluded.boot_id
WHERE excluded.as_of_us > as_of.as_of_us OR (
    excluded.boot_id = as_of.boot_id AND excluded.asked_boot_seconds - excluded.age_seconds
        < as_of.asked_boot_seconds - as_of.age_seconds
)
"""


def to_microseconds(instant: datetime) -> int:
    """Convert an instant to whole microseconds since 1970, exactly."""
    return (instant - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Convert microseconds since 1970 to an instant, UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


class ReplicaWriter:
    """
    The only writer of one snapshot file.

    Args:
        path: The file; made, empty and in epoch 0, when it is not there.
        shard: The shard it holds.
        clock: Names the boot that ages are measured in.
        folder: Where it lies, and how it is opened.

    Raises:
        DamagedSnapshot: The file is not a replica of this shard, or cannot be read.
        StorageFailed: The disk refused.
        KeyNotHeld: It is encrypted otherwise than the folder's files are.
    """

    def __init__(
        self,
        path: Path,
        shard: str,
        *,
        clock: Clock,
        folder: SnapshotFolder | None = None,
    ) -> None:
        self.path = path
        self._shard = shard
        self._clock = clock
        self._folder = folder or SnapshotFolder(path.parent)
        with mapped_errors(path):
            self._connection = self._folder.open_for_writing(path)
            self._went: list[int] = []
            # What an earlier life left in the log is not known.
            self.log_holds_deleted = True
            try:
                self._watch_replaced()
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        with write(self._connection) as connection:
            create_documents(connection)
            as_of = database(connection).table("as_of")
            if not as_of.exists():
                as_of.create(
                    {
                        "id": int,
                        "as_of_us": int,
                        "asked_boot_seconds": float,
                        "age_seconds": float,
                        "at_least": int,
                        "boot_id": str,
                    },
                    pk="id",
                    not_null={
                        "as_of_us",
                        "asked_boot_seconds",
                        "age_seconds",
                        "at_least",
                        "boot_id",
                    },
                    strict=True,
                )
            shards = connection.execute("SELECT shard FROM shard_head").fetchall()
            if not shards:
                # Epoch 0 and cursor 0: empty, and it takes the epoch of its first frame.
                add_shard(connection, self._shard, 0)
                connection.execute("UPDATE shard_head SET head = 0, floor = 0")
            elif shards != [(self._shard,)]:
                raise DamagedSnapshot(f"{self.path.name} does not hold shard {self._shard!r}")

    def held(self) -> Held:
        """Return the replica's place in the feed."""
        with mapped_errors(self.path):
            return self._held()

    def _held(self) -> Held:
        head = read_head(self._connection, self._shard)
        row = self._connection.execute("SELECT as_of_us FROM as_of WHERE id = 1").fetchone()
        as_of = from_microseconds(row[0]) if row is not None else None
        return Held(self._shard, head.epoch, head.head, head.floor, as_of)

    def apply(self, frames: Sequence[CheckedFrame], asked_boot_seconds: float) -> int:
        """
        Apply consecutive frames that end at a barrier, as one transaction; return the number of rows.

        Rows, cursor, as-of time and age become visible together or not at all. A heartbeat, a barrier without rows,
        moves only as-of and age.

        Args:
            frames: One after the other, the last a barrier.
            asked_boot_seconds: When the question that the last frame answers was sent, on the boot clock.

        Raises:
            InvalidFrame: A frame does not fit; nothing was changed.
            DamagedSnapshot: The file cannot be read.
            StorageFailed: The disk refused; nothing was changed.
        """
        barrier = frames[-1]
        if not barrier.barrier:
            raise InvalidFrame("barrier", "readers see barrier states only")
        with mapped_errors(self.path), write(self._connection):
            for frame in frames:
                self._apply_rows(frame)
            self._move_as_of(barrier, asked_boot_seconds)
        return sum(frame.count for frame in frames)

    def stage(self, frame: CheckedFrame) -> int:
        """
        Apply one frame to a file that no reader sees yet, barrier or not; return the number of rows.

        The file has no as-of time afterwards, and without one it is not read: only `apply` gives it one.

        Raises:
            InvalidFrame: The frame does not fit; nothing was changed.
            StorageFailed: The disk refused; nothing was changed.
        """
        with mapped_errors(self.path), write(self._connection):
            self._apply_rows(frame)
            self._connection.execute("DELETE FROM as_of")
        return frame.count

    def _apply_rows(self, frame: CheckedFrame) -> None:
        held = self._held()
        check_follows(frame, held)
        head = read_head(self._connection, self._shard)
        if any(leaves_traces(self._connection, row) for row in frame.rows):
            mark_traces(self._connection, left=True)
        live_hash, live_rows = self._upsert(frame.rows, head)
        self.log_holds_deleted |= any(row.body is None for row in frame.rows)
        if frame.barrier:
            check_live(frame, live_hash, live_rows)
        chain, seal = (frame.chain, frame.seal) if frame.barrier else (b"", b"")
        moved = head._replace(
            epoch=frame.epoch,
            head=frame.upto,
            live_hash=live_hash,
            live_rows=live_rows,
            chain=chain,
            seal=seal,
        )
        if moved != head:
            self._connection.execute(
                _MOVE_HEAD,
                (frame.epoch, frame.upto, live_hash, live_rows, chain, seal, self._shard),
            )
        if frame.floor > held.floor:
            forget_tombstones(self._connection, self._shard, frame.floor)

    def _upsert(self, rows: Sequence[Document], head: ShardHead) -> tuple[int, int]:
        stored = []
        came = []
        for row in rows:
            account_id, kind, key, seq, body, version = astuple(row)
            hashed = None
            if body is not None:
                hashed = row_hash(account_id, kind, key, seq, version, body)
                came.append(hashed)
            stored.append((account_id, kind, key, seq, body, version, hashed))
        self._went.clear()
        self._connection.executemany(_UPSERT, stored)
        went = self._went
        return add_hashes(head.live_hash, came, went), head.live_rows + len(came) - len(went)

    def _watch_replaced(self) -> None:
        """
        Have the upsert itself say which hashes went: asking for each row before costs a third of the speed.

        A row that is older than the one that stands is not written: its own hash, which was counted as come, goes.
        """
        went = self._went

        def row_replaced(old: int | None, new: int | None) -> int | None:
            if old is not None:
                went.append(old)
            return new

        def row_is_newer(new_seq: int, old_seq: int, new_hash: int | None) -> bool:
            if new_seq > old_seq:
                return True
            if new_hash is not None:
                went.append(new_hash)
            return False

        self._connection.create_function("row_replaced", 2, row_replaced)
        self._connection.create_function("row_is_newer", 3, row_is_newer)

    def _move_as_of(self, frame: CheckedFrame, asked_boot_seconds: float) -> None:
        self._connection.execute(
            _MOVE_AS_OF,
            (
                to_microseconds(frame.as_of),
                asked_boot_seconds,
                frame.age_seconds,
                int(frame.age_at_least),
                self._clock.boot_id(),
            ),
        )

    def put_right(self, epoch: int, repairs: Sequence[Repair]) -> int:
        """
        Put rows right that were compared in an epoch, as one transaction; see `cache_sync.repairs.put_right`.

        Raises:
            DamagedSnapshot: The file cannot be read.
            StorageFailed: The disk refused; nothing was changed.
        """
        with mapped_errors(self.path), write(self._connection) as connection:
            return put_right(connection, self._shard, epoch, repairs)

    def copy_to(self, path: Path, *, rewritten: bool = False) -> None:
        """
        Copy the whole replica, as it stands, into a new file; ``rewritten`` row by row, with nothing of what is gone.

        Raises:
            StorageFailed: The disk refused.
        """
        with mapped_errors(path):
            if rewritten:
                self._folder.copy_rows(self.path, path)
            target = self._folder.open_for_writing(path)
            try:
                if rewritten:
                    mark_traces(target, left=False)
                else:
                    self._connection.backup(target)
            finally:
                target.close()

    def verify(self) -> None:
        """
        Check the file's structure and that it holds what its head says, before readers are sent to it.

        Raises:
            DamagedSnapshot: It does not.
        """
        with mapped_errors(self.path):
            (answer,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
            (newest,) = self._connection.execute("SELECT max(seq) FROM documents").fetchone()
            held = self._held()
        if answer != "ok":
            raise DamagedSnapshot(f"{self.path.name}: {answer}")
        if held.epoch == 0 or held.as_of is None:
            raise DamagedSnapshot(f"{self.path.name} has not reached a barrier")
        if newest is not None and newest > held.cursor:
            raise DamagedSnapshot(f"{self.path.name} holds seq {newest} above {held.cursor}")

    def write_back(self) -> None:
        """
        Move everything from the write-ahead log into the file itself; nobody may be reading it.

        Raises:
            StorageFailed: The disk refused, or somebody is reading.
        """
        with mapped_errors(self.path):
            busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StorageFailed(f"{self.path.name} is being read")

    def may_hold_traces(self) -> bool:
        """
        Tell whether something of a deleted account may be left in the file's pages.

        Raises:
            DamagedSnapshot: The file cannot be read.
            StorageFailed: The disk refused.
        """
        with mapped_errors(self.path):
            return may_hold_traces(self._connection)

    def empty_log(self) -> bool:
        """
        Write the log back and empty it, unless somebody is reading: deleted documents are then nowhere in the file.

        Raises:
            DamagedSnapshot: The file cannot be read.
            StorageFailed: The disk refused.
        """
        with mapped_errors(self.path):
            self._connection.execute("PRAGMA busy_timeout = 0").fetchone()
            try:
                (busy, _, _) = self._connection.execute(
                    "PRAGMA wal_checkpoint(TRUNCATE)"
                ).fetchone()
            finally:
                wait_ms = int(BUSY_TIMEOUT_SECONDS * 1000)
                self._connection.execute(f"PRAGMA busy_timeout = {wait_ms}").fetchone()
        if not busy:
            self.log_holds_deleted = False
        return not busy

    def close(self) -> None:
        """Let the file go."""
        with mapped_errors(self.path):
            self._connection.close()


@contextmanager
def mapped_errors(path: Path) -> Iterator[None]:
    """Turn what the driver raises into this folder's errors."""
    try:
        yield
    except IntegrityError as error:
        raise InvalidFrame("collision", f"{path.name}: {error}") from error
    except OperationalError as error:
        raise StorageFailed(f"{path.name}: {error}") from error
    except WrongKey as error:
        raise KeyNotHeld(str(error)) from error
    except DatabaseError as error:
        raise DamagedSnapshot(f"{path.name}: {error}") from error

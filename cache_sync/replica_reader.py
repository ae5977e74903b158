"""A node's copy of the documents, read: one unchanging state per read, at its place in the feed and with its age."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cache_sync.body_versions import KIND_OF, decode_version
from cache_sync.clock import Clock
from cache_sync.digests import (
    DigestAnswer,
    DigestQuestion,
    Range,
    StoredRow,
    answer_question,
    list_accounts,
    read_range,
)
from cache_sync.document_table import Page, read_overdue, read_page_within
from cache_sync.documents import CREDENTIAL, Body, Document
from cache_sync.erased import may_hold_traces, newest_erased
from cache_sync.errors import DamagedSnapshot, NoSnapshot, StorageFailed
from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.frames import Position, Proof
from cache_sync.replica import from_microseconds, mapped_errors
from cache_sync.shards import first_seq, last_seq
from cache_sync.snapshot_folder import PointerMark, SnapshotFolder
from cache_sync.sqlite import Connection, connect, data_version, file_key_id, read

MMAP_BYTES = 1 << 30
BUSY_TIMEOUT_SECONDS = 0.2
_OPEN_ATTEMPTS = 3

_BodyT = TypeVar("_BodyT", bound=Body)

_STATE = """
SELECT epoch, shard, head, floor, as_of_us, asked_boot_seconds, age_seconds, at_least, boot_id
FROM shard_head, as_of
"""
_PROOF = "SELECT epoch, shard, head, chain, seal FROM shard_head"
_DOCUMENT = "SELECT seq, body, version FROM documents WHERE account_id = ? AND kind = ? AND key = ?"
_DOCUMENTS = """
SELECT key, seq, body, version FROM documents
WHERE account_id = ? AND kind = ? AND body IS NOT NULL ORDER BY key
"""
# Out of the index alone.
_ACCOUNT_MARK = "SELECT max(seq), count(*) FROM documents WHERE account_id = ?"
# The kind stands here as a literal because the partial index on it is only found that way.
_CREDENTIAL = """
SELECT account_id, seq, body, version FROM documents WHERE kind = 'credential' AND key = ? AND body IS NOT NULL
ORDER BY seq DESC LIMIT 1
"""


class ReplicaState(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where a replica stands in the feed, and how old that is at this moment.

    ``as_of`` is core time T: everything the core committed before T is in what is read. ``age_seconds`` is how long
    ago T was, never less than the truth; ``at_least`` says that it may be more, because the machine was started anew
    since. ``head`` is the feed's head as of T, equal to ``cursor`` at a barrier.
    """

    epoch: int
    shard: str
    cursor: int
    head: int
    floor: int
    as_of: datetime
    age_seconds: float
    at_least: bool

    @property
    def position(self) -> Position:
        """The position that a customer who has seen this state carries on."""
        return Position(self.epoch, self.shard, self.cursor)


class SnapshotView:
    """
    One unchanging barrier state of the documents, for as long as its `ReplicaReader.read` block lasts.

    Documents that were deleted are as unknown as those that never were.

    Raises (all of its methods):
        DamagedSnapshot: The file cannot be read, or a body does not decode.
        UnknownVersion: A body is of a later release.
        StorageFailed: The disk refused.
    """

    def __init__(self, connection: Connection, path: Path, clock: Clock) -> None:
        self._connection = connection
        self._path = path
        self._clock = clock
        self._state_row: tuple[Any, ...] | None = None

    def state(self) -> ReplicaState:
        """Return where this state stands and its age now."""
        if self._state_row is None:
            with mapped_errors(self._path):
                self._state_row = self._connection.execute(_STATE).fetchone()
        if self._state_row is None:
            raise DamagedSnapshot(f"{self._path.name} has not reached a barrier")
        epoch, shard, head, floor, as_of_us, asked, age_seconds, at_least, boot_id = self._state_row
        now = self._clock.boot_seconds()
        if boot_id == self._clock.boot_id():
            age_seconds += max(0.0, now - asked)
        else:
            # T was learnt before this boot began: it is older than the boot, by an unknown time.
            age_seconds += now
            at_least = 1
        return ReplicaState(
            epoch=epoch,
            shard=shard,
            cursor=head,
            head=head,
            floor=floor,
            as_of=from_microseconds(as_of_us),
            age_seconds=age_seconds,
            at_least=bool(at_least),
        )

    def page(
        self,
        shard: str,
        after: int,
        limit: int,
        *,
        bytes_max: int,
        overdue: Callable[[], bool],
    ) -> Page:
        """
        Return the rows after a cursor, tombstones among them, for others to follow; fewer when it is overdue.

        Raises:
            UnknownShard: This snapshot holds another shard.
        """
        with mapped_errors(self._path):
            return read_page_within(
                self._connection, shard, after, limit, bytes_max=bytes_max, overdue=overdue
            )

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and cursor of this state."""
        with mapped_errors(self._path):
            row = self._connection.execute("SELECT epoch, head FROM shard_head").fetchone()
        return row[0], row[1]

    def live_rows(self) -> int:
        """Return how many documents there are."""
        with mapped_errors(self._path):
            row = self._connection.execute("SELECT live_rows FROM shard_head").fetchone()
        return int(row[0])

    def newest_erased(self) -> int:
        """Return the seq of the newest deletion of an account; 0 without one that is still known."""
        with mapped_errors(self._path):
            return newest_erased(self._connection)

    def may_hold_traces(self) -> bool:
        """Tell whether something of a deleted account may be left in the file's pages."""
        with mapped_errors(self._path):
            return may_hold_traces(self._connection)

    def proof(self) -> Proof | None:
        """Return what proves to the core that this barrier was its own; None where no seal came with it."""
        with mapped_errors(self._path):
            row = self._connection.execute(_PROOF).fetchone()
        return None if row is None or not row[4] else Proof(*row)

    def accounts(self, lower: str, limit: int) -> list[str]:
        """Name the accounts that have rows, from one on, in ascending order."""
        with mapped_errors(self._path):
            return list_accounts(self._connection, lower, limit)

    def stored_rows(self, part: Range) -> list[StoredRow]:
        """Return a range's live rows with the hashes of their bytes, for comparing with another node."""
        with mapped_errors(self._path):
            (shard,) = self._connection.execute("SELECT shard FROM shard_head").fetchone()
            return list(read_range(self._connection, part, first_seq(shard), last_seq(shard)))

    def answer_digests(self, shard: str, question: DigestQuestion) -> DigestAnswer:
        """
        Answer a node that compares itself with this one; see `cache_sync.digests.answer_question`.

        Raises:
            UnknownShard: This snapshot holds another shard.
            FeedUnavailable: Reading takes longer than any may.
        """
        with mapped_errors(self._path):
            overdue = read_overdue(self._clock)
            return answer_question(self._connection, shard, question, overdue=overdue)

    def document(self, account_id: str, kind: str, key: str = "") -> Document | None:
        """Return one document as it is stored; its seq names this version of it."""
        with mapped_errors(self._path):
            row = self._connection.execute(_DOCUMENT, (account_id, kind, key)).fetchone()
        if row is None or row[1] is None:
            return None
        return Document(account_id, kind, key, *row)

    def documents(self, account_id: str, kind: str) -> list[Document]:
        """Return an account's documents of one kind as they are stored, in the order of their keys."""
        with mapped_errors(self._path):
            rows = self._connection.execute(_DOCUMENTS, (account_id, kind)).fetchall()
        return [Document(account_id, kind, *row) for row in rows]

    def body(self, body_type: type[_BodyT], account_id: str, key: str = "") -> _BodyT | None:
        """Return one document's body, decoded."""
        found = self.document(account_id, KIND_OF[body_type], key)
        return decode_body(body_type, found) if found is not None else None

    def bodies(self, body_type: type[_BodyT], account_id: str) -> list[_BodyT]:
        """Return the bodies of an account's documents of one kind, decoded, in the order of their keys."""
        return [
            decode_body(body_type, document)
            for document in self.documents(account_id, KIND_OF[body_type])
        ]

    def account_mark(self, account_id: str) -> tuple[int, int]:
        """
        Return the newest seq and the number of an account's rows, tombstones too.

        While it stays, none of them has changed, within one snapshot file and epoch: a change moves a row to a new seq,
        a deletion leaves one. Only a repair changes a row where it stands.
        """
        with mapped_errors(self._path):
            newest, count = self._connection.execute(_ACCOUNT_MARK, (account_id,)).fetchone()
        return newest or 0, count

    def credential(self, key: str) -> Document | None:
        """Return the credential under a `sign_in_key`, whatever account it is filed under, as it is stored."""
        with mapped_errors(self._path):
            row = self._connection.execute(_CREDENTIAL, (key,)).fetchone()
        return Document(row[0], CREDENTIAL, key, *row[1:]) if row is not None else None


def decode_body(body_type: type[_BodyT], document: Document) -> _BodyT:
    """
    Decode a live document's body, whatever its version, as the newest.

    Raises:
        UnknownVersion: It is of a later release.
        DamagedSnapshot: It is not what its kind says. Neither the body nor a part of it stands in the message.
    """
    assert document.body is not None, "a tombstone has no body"
    try:
        return decode_version(body_type, document.body, document.version)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedSnapshot(
            f"the {document.kind} document of seq {document.seq} does not decode"
        ) from error


class ReplicaReader:
    """
    Reads a node's current snapshot, following the pointer; one per process, synchronous, microseconds a look-up.

    Args:
        directory: The snapshot folder.
        clock: What ages are measured on.
        mmap_bytes: How much of the file is read through a memory map.
        same_thread: False where another thread takes the reader over; never two at once.
        keys: What the snapshots are encrypted under.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        mmap_bytes: int = MMAP_BYTES,
        same_thread: bool = True,
        keys: FileKeys = PLAIN,
    ) -> None:
        self._folder = SnapshotFolder(directory)
        self._keys = keys
        self._clock = clock
        self._mmap_bytes = mmap_bytes
        self._same_thread = same_thread
        self._mark: PointerMark | None = None
        self._path: Path | None = None
        self._connection: Connection | None = None

    def ready(self) -> bool:
        """Tell whether there is a snapshot to read."""
        try:
            with self.read():
                return True
        except (NoSnapshot, DamagedSnapshot, StorageFailed):
            return False

    @contextmanager
    def read(self) -> Iterator[SnapshotView]:
        """
        Read one unchanging barrier state: that of the moment when the block begins.

        Never await inside and never nest: an open read keeps the write-ahead log from being reset.

        Raises:
            NoSnapshot: This node has not got its first snapshot yet.
            DamagedSnapshot: The current snapshot cannot be read.
            StorageFailed: The disk refused.
        """
        view = self._begin()
        try:
            yield view
        finally:
            self._end()

    def _begin(self) -> SnapshotView:
        connection, path = self._follow_pointer()
        assert not connection.in_transaction, "one read at a time"
        with mapped_errors(path):
            connection.execute("BEGIN")
        return SnapshotView(connection, path, self._clock)

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.execute("ROLLBACK")

    def version(self) -> tuple[PointerMark | None, int]:
        """
        Return what changes whenever another state is read; cheap enough to look 20 times a second.

        Raises:
            NoSnapshot: As `read`, and whatever else it raises.
        """
        connection, path = self._follow_pointer()
        with mapped_errors(path):
            return self._mark, data_version(connection)

    def key_id(self) -> str:
        """
        Return the id of the key that the current snapshot is encrypted under; empty for a plain one.

        Raises:
            NoSnapshot: As `read`, and whatever else it raises.
        """
        connection, path = self._follow_pointer()
        with mapped_errors(path):
            return file_key_id(connection)

    def close(self) -> None:
        """Let the file go. The next read opens it again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._mark = None

    def _follow_pointer(self) -> tuple[Connection, Path]:
        mark = self._folder.pointer_mark()
        if self._connection is not None and self._path is not None and mark == self._mark:
            return self._connection, self._path
        for attempt in range(_OPEN_ATTEMPTS):
            # The mark is taken before the name is read: a pointer replaced in between is looked at again next time.
            mark = self._folder.pointer_mark()
            path = self._folder.current()
            if mark is None or path is None:
                raise NoSnapshot("this node has not got its first snapshot yet")
            try:
                connection = self._open(path)
            except (StorageFailed, DamagedSnapshot):
                # Removed since the pointer was read: it names another by now.
                if attempt + 1 < _OPEN_ATTEMPTS and self._folder.pointer_mark() != mark:
                    continue
                raise
            self.close()
            self._connection, self._path, self._mark = connection, path, mark
            return connection, path
        raise AssertionError("unreachable")

    def _open(self, path: Path) -> Connection:
        with mapped_errors(path):
            connection = connect(
                path,
                synchronous="NORMAL",
                read_only=True,
                mmap_bytes=self._mmap_bytes,
                busy_timeout_seconds=BUSY_TIMEOUT_SECONDS,
                same_thread=self._same_thread,
                keys=self._keys,
            )
            try:
                with read(connection):
                    connection.execute(_STATE).fetchone()
            except BaseException:
                connection.close()
                raise
        return connection

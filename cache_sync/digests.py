"""
Digests over key ranges: how two nodes find out cheaply where they differ, although both go on changing.

An edge compares what it holds at a barrier with the node above it. Ranges run over account ids;
the asker chooses the bounds: first wide ones, then, where the digests differ, single
accounts, then the rows themselves. Hashes are computed anew from the stored bytes: a bit that flipped on a disk shows
too. A row whose column says another hash than its bytes is *damaged*, and a node with damaged rows repairs nobody.

The node above may have moved on. Its digest counts the rows that have stood still since the asker's barrier, and it
names those that have moved; the asker leaves these out on its own side.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import msgspec

from cache_sync.document_table import read_head
from cache_sync.documents import Document
from cache_sync.errors import EpochChanged, FeedUnavailable, NotComparable
from cache_sync.publication import Name
from cache_sync.row_hash import add_hashes, row_hash
from cache_sync.shards import first_seq
from cache_sync.sql import Connection, stream

BOUNDS_MAX = 65
MOVED_MAX = 20_000
ROWS_MAX = 20_000
ROWS_BYTES_MAX = 8 * 1024 * 1024
BOUND_CHARACTERS_MAX = 512
_LOOK_EVERY = 100

# The plus keeps the range on the index of names: the rows of one account are few, the seqs below a barrier are all.
_ROWS = """
SELECT account_id, kind, key, seq, body, version, row_hash FROM documents
WHERE account_id >= ? AND account_id < ? AND +seq BETWEEN ? AND ? AND body IS NOT NULL
ORDER BY account_id, kind, key
"""
_ROWS_TO_THE_END = """
SELECT account_id, kind, key, seq, body, version, row_hash FROM documents
WHERE account_id >= ? AND +seq BETWEEN ? AND ? AND body IS NOT NULL
ORDER BY account_id, kind, key
"""
_ACCOUNTS = """
SELECT DISTINCT account_id FROM documents WHERE account_id >= ? ORDER BY account_id LIMIT ?
"""
_MOVED = """
SELECT account_id, kind, key FROM documents WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?
"""


class RangeDigest(msgspec.Struct, frozen=True, array_like=True):
    """How many live rows a range has, the sum of their hashes, and how many are damaged where they were read."""

    rows: int
    total: int
    damaged: int = 0


class StoredRow(NamedTuple):
    """A live row, the hash of its bytes as they are now, and the hash it was stored with."""

    document: Document
    hashed: int
    stored_hash: int

    @property
    def name(self) -> Name:
        """What it is called."""
        return Name(self.document.account_id, self.document.kind, self.document.key)

    @property
    def damaged(self) -> bool:
        """Whether its bytes are not those that were stored."""
        return self.hashed != self.stored_hash


class DigestQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What an asker at barrier ``at`` of an epoch wants to compare.

    ``bounds`` are account ids in ascending order: range i runs from bound i up to, not including, bound i + 1; the last
    one to the end of the shard unless ``closed``, when it only ends the range before it. ``wanted`` is a digest for
    each range, or the rows themselves.
    """

    epoch: int
    at: int
    bounds: list[str]
    closed: bool = False
    wanted: Literal["digests", "rows"] = "digests"


class DigestAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """
    The digests, or the rows, of what has stood still since the asker's barrier, and the names of what has not.

    ``damaged`` names rows that are damaged at the answering node; they are not among the rows. ``whole`` is false where
    the rows were too many: ask for a narrower range.
    """

    epoch: int
    head: int
    digests: list[RangeDigest] = []
    rows: list[Document] = []
    damaged: list[Name] = []
    moved: list[Name] = []
    whole: bool = True


class Range(NamedTuple):
    """Account ids from ``lower`` up to, not including, ``upper``; None for the end of the shard."""

    lower: str
    upper: str | None

    def holds(self, account_id: str) -> bool:
        """Tell whether an account lies in this range."""
        return self.lower <= account_id and (self.upper is None or account_id < self.upper)


def ranges_of(bounds: Sequence[str], *, closed: bool) -> list[Range]:
    """List the ranges between bounds."""
    ranges = [Range(low, high) for low, high in pairwise(bounds)]
    return ranges if closed else [*ranges, Range(bounds[-1], None)]


def check_question(question: DigestQuestion) -> None:
    """
    Refuse what nobody could answer at a bounded cost.

    Raises:
        ValueError: Says which field breaks which rule.
    """
    bounds = question.bounds
    least = 2 if question.closed else 1
    if not least <= len(bounds) <= BOUNDS_MAX:
        raise ValueError(f"bounds: {least} to {BOUNDS_MAX} account ids are needed")
    if any(len(bound) > BOUND_CHARACTERS_MAX for bound in bounds):
        raise ValueError(f"bounds: at most {BOUND_CHARACTERS_MAX} characters each")
    if any(low >= high for low, high in pairwise(bounds)):
        raise ValueError("bounds: must ascend")
    if question.epoch < 1 or question.at < 0:
        raise ValueError("epoch and at: a barrier that was reached")


def answer_question(
    connection: Connection, shard: str, question: DigestQuestion, *, overdue: Callable[[], bool]
) -> DigestAnswer:
    """
    Answer out of a documents table, within the caller's read transaction.

    Args:
        connection: Of the core or of a replica.
        shard: The shard.
        question: Checked by `check_question`.
        overdue: Tells that reading has lasted long enough.

    Raises:
        FeedUnavailable: It was overdue before all was read.
        EpochChanged: The asker is in another epoch.
        NotComparable: The asker is ahead of what is held here, or so far behind that too much has moved.
    """
    head, first = read_head(connection, shard), first_seq(shard)
    if question.epoch != head.epoch:
        raise EpochChanged(head.epoch)
    if question.at > head.head:
        raise NotComparable("behind", f"this node is at {head.head}, the asker at {question.at}")
    ranges = ranges_of(question.bounds, closed=question.closed)
    moved = _moved(connection, question.at, head.head, ranges)
    if question.wanted == "rows":
        rows, whole = _bounded(_in_time(_rows(connection, ranges, first, question.at), overdue))
        return DigestAnswer(
            epoch=head.epoch,
            head=head.head,
            rows=[row.document for row in rows if not row.damaged],
            damaged=[row.name for row in rows if row.damaged],
            moved=moved,
            whole=whole,
        )
    digests = [
        digest_rows(_in_time(read_range(connection, part, first, question.at), overdue))
        for part in ranges
    ]
    return DigestAnswer(epoch=head.epoch, head=head.head, digests=digests, moved=moved)


def read_range(connection: Connection, part: Range, first: int, at: int) -> Iterator[StoredRow]:
    """Read the live rows of a range that stand at or below a seq, in the order of their names."""
    if part.upper is None:
        found = stream(connection, _ROWS_TO_THE_END, (part.lower, first, at))
    else:
        found = stream(connection, _ROWS, (part.lower, part.upper, first, at))
    for account_id, kind, key, seq, body, version, stored_hash in found:
        document = Document(account_id, kind, key, seq, body, version)
        hashed = row_hash(account_id, kind, key, seq, version, body)
        yield StoredRow(document, hashed, stored_hash)


def hash_of(row: Document) -> int:
    """Hash a live row's bytes as they are now."""
    assert row.body is not None, "tombstones are not compared"
    return row_hash(row.account_id, row.kind, row.key, row.seq, row.version, row.body)


def list_accounts(connection: Connection, lower: str, limit: int) -> list[str]:
    """Name the accounts that have rows, from one on, in ascending order."""
    found = connection.execute(_ACCOUNTS, (lower, limit))
    return [account_id for (account_id,) in found]


def digest_rows(rows: Iterable[StoredRow], leave_out: frozenset[Name] = frozenset()) -> RangeDigest:
    """Sum the hashes of rows, as they come; those that are left out count nothing."""
    count = damaged = total = 0
    for row in rows:
        if row.name not in leave_out:
            count += 1
            damaged += row.damaged
            total += row.hashed
    return RangeDigest(count, add_hashes(0, (total,)), damaged)


def _rows(
    connection: Connection, ranges: Iterable[Range], first: int, at: int
) -> Iterator[StoredRow]:
    for part in ranges:
        yield from read_range(connection, part, first, at)


def _in_time(rows: Iterator[StoredRow], overdue: Callable[[], bool]) -> Iterator[StoredRow]:
    """Pass rows on until it is overdue: whoever asks for too much must not keep a read transaction open."""
    for number, row in enumerate(rows):
        if number % _LOOK_EVERY == 0 and overdue():
            raise FeedUnavailable("there is more in these ranges than can be read at once")
        yield row


def _bounded(rows: Iterator[StoredRow]) -> tuple[list[StoredRow], bool]:
    taken: list[StoredRow] = []
    held_bytes = 0
    for row in rows:
        if len(taken) >= ROWS_MAX or held_bytes >= ROWS_BYTES_MAX:
            return taken, False
        taken.append(row)
        held_bytes += len(row.document.body or b"")
    return taken, True


def _moved(connection: Connection, at: int, head: int, ranges: Sequence[Range]) -> list[Name]:
    found = [Name(*row) for row in connection.execute(_MOVED, (at, head, MOVED_MAX + 1))]
    if len(found) > MOVED_MAX:
        raise NotComparable("moved", f"more than {MOVED_MAX} documents have changed since {at}")
    whole = Range(ranges[0].lower, ranges[-1].upper)
    return [name for name in found if whole.holds(name.account_id)]

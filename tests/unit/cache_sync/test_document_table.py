"""The documents table: seqs, tombstones, pages and floors."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cache_sync.document_table import create_documents, forget_tombstones, read_head, read_page
from cache_sync.documents import Document
from cache_sync.errors import UnknownShard
from cache_sync.publication import (
    Change,
    Name,
    begin_shard,
    create_commits,
    publish,
    publish_all,
    raise_epoch,
    read_chain,
)
from cache_sync.row_hash import FIRST_CHAIN, next_chain, row_hash
from cache_sync.shards import first_seq
from cache_sync.sqlite import Connection, OperationalError, connect, write


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """Return a connection to an empty documents table."""
    made = connect(tmp_path / "core.db", synchronous="NORMAL")
    with write(made):
        create_documents(made)
        create_commits(made)
        begin_shard(made, "0", 1)
    yield made
    made.close()


def put(connection: Connection, account_id: str, body: bytes | None) -> int:
    """Publish an account's payment in a transaction of its own."""
    with write(connection):
        return publish(connection, "0", account_id, "payment", "p", body)


def test_an_update_moves_the_row_and_a_delete_leaves_a_tombstone(connection: Connection) -> None:
    """What follows a cursor is the newest version of everything that changed, once each."""
    assert [put(connection, name, b"1") for name in "abc"] == [1, 2, 3]
    assert put(connection, "a", b"2") == 4
    assert put(connection, "b", None) == 5
    page = read_page(connection, "0", 2, 100)
    assert page.rows == [
        Document("c", "payment", "p", 3, b"1"),
        Document("a", "payment", "p", 4, b"2"),
        Document("b", "payment", "p", 5, None),
    ]
    assert (page.reached_head, page.upto, page.shard.head) == (True, 5, 5)
    assert put(connection, "b", b"3") == 6
    assert [row.seq for row in read_page(connection, "0", 0, 100).rows] == [3, 4, 6]


def test_an_identical_body_publishes_nothing(connection: Connection) -> None:
    """It returns the seq at which that state stands, and the head stays."""
    put(connection, "a", b"1")
    put(connection, "b", b"1")
    assert put(connection, "a", b"1") == 1
    assert put(connection, "never", None) == 0
    put(connection, "b", None)
    assert put(connection, "b", None) == 3
    assert read_head(connection, "0").head == 3


def test_a_failed_transaction_takes_no_seq(connection: Connection) -> None:
    """Seqs come from a persisted counter that rolls back with what they were taken for."""
    put(connection, "a", b"1")
    with pytest.raises(OperationalError), write(connection):
        connection.execute(
            "SELECT ? FROM nowhere", (publish(connection, "0", "b", "payment", "p", b"1"),)
        )
    assert put(connection, "c", b"1") == 2


def test_publishing_needs_a_transaction(connection: Connection) -> None:
    """A document goes out with the change that caused it, or not at all."""
    with pytest.raises(AssertionError):
        publish(connection, "0", "a", "payment", "p", b"1")


def test_pages_end_by_rows_or_bytes_and_know_whether_they_reached_the_head(
    connection: Connection,
) -> None:
    """Only the last page is a barrier; a page has a row even when that is over the byte bound."""
    for name in "abcde":
        put(connection, name, b"x" * 10)
    page = read_page(connection, "0", 0, 2)
    assert ([row.seq for row in page.rows], page.reached_head, page.upto) == ([1, 2], False, 2)
    page = read_page(connection, "0", 2, 3)
    assert (len(page.rows), page.reached_head, page.upto) == (3, True, 5)
    page = read_page(connection, "0", 0, 100, bytes_max=15)
    assert (len(page.rows), page.reached_head) == (2, False)
    assert len(read_page(connection, "0", 0, 100, bytes_max=1).rows) == 1
    page = read_page(connection, "0", 5, 100)
    assert (page.rows, page.reached_head, page.upto) == ([], True, 5)


def test_forgotten_tombstones_raise_the_floor(connection: Connection) -> None:
    """Live rows stay, the page's end is the head although its row is gone."""
    for name in "ab":
        put(connection, name, b"1")
    put(connection, "b", None)
    with write(connection):
        assert forget_tombstones(connection, "0", 99) == 1
        assert forget_tombstones(connection, "0", 2) == 0
    page = read_page(connection, "0", 0, 100)
    assert [row.seq for row in page.rows] == [1]
    assert (page.shard.floor, page.shard.head, page.upto) == (3, 3, 3)


def test_an_unknown_shard_is_named_so(connection: Connection) -> None:
    """Another shard's head would promise rows that are not there."""
    with pytest.raises(UnknownShard):
        read_page(connection, "1", 0, 10)
    with pytest.raises(UnknownShard), write(connection):
        publish(connection, "1", "a", "payment", "p", b"1")
    assert not connection.in_transaction


def test_shards_share_the_table_and_nothing_else(connection: Connection) -> None:
    """Each has its own seqs, head, tombstones and floor; 0 asks each of them from its beginning."""
    with write(connection):
        begin_shard(connection, "1", 1)
        assert publish(connection, "1", "z", "payment", "p", b"1") == first_seq("1") + 1
        publish(connection, "1", "z", "payment", "p", None)
    put(connection, "a", b"1")
    put(connection, "a", None)
    assert [row.account_id for row in read_page(connection, "0", 0, 10).rows] == ["a"]
    page = read_page(connection, "1", 0, 10)
    assert [row.account_id for row in page.rows] == ["z"]
    assert (page.upto, page.shard.head) == (first_seq("1") + 2, first_seq("1") + 2)
    with write(connection):
        assert forget_tombstones(connection, "1", first_seq("1") + 2) == 1
    assert [row.body for row in read_page(connection, "0", 0, 10).rows] == [None]


def test_the_head_keeps_hash_and_number_of_the_live_rows(connection: Connection) -> None:
    """They are what one finds by counting, after inserts, updates, deletes and forgetting alike."""
    empty = read_head(connection, "0")
    put(connection, "a", b"1")
    put(connection, "b", b"1")
    put(connection, "a", b"2")
    put(connection, "b", None)
    head = read_head(connection, "0")
    expected = row_hash("a", "payment", "p", 3, 1, b"2")
    assert (head.live_hash, head.live_rows) == (expected, 1)
    stored = connection.execute("SELECT seq, version, row_hash FROM documents ORDER BY seq")
    assert stored.fetchall() == [(3, 1, expected), (4, 1, None)]
    with write(connection):
        forget_tombstones(connection, "0", 4)
    assert read_head(connection, "0")[3:5] == (expected, 1)
    put(connection, "a", None)
    assert read_head(connection, "0")[3:5] == (empty.live_hash, 0) == (0, 0)


def test_the_chain_covers_what_was_published_and_all_before(connection: Connection) -> None:
    """A commit that publishes nothing does not move it; a new epoch begins a new one."""
    put(connection, "a", b"1")
    one = next_chain(FIRST_CHAIN, [(1, row_hash("a", "payment", "p", 1, 1, b"1"))])
    assert read_head(connection, "0").chain == one
    put(connection, "a", b"1")
    assert read_head(connection, "0").chain == one
    put(connection, "a", None)
    assert read_head(connection, "0").chain == next_chain(one, [(2, 0)])
    with write(connection):
        raise_epoch(connection, "0")
    two = next_chain(one, [(2, 0)])
    assert read_head(connection, "0").chain == next_chain(two, [(2, 0)])
    assert [read_chain(connection, "0", seq) for seq in (0, 1)] == [None, None]


def test_another_version_of_the_same_bytes_is_another_document(connection: Connection) -> None:
    """What the bytes mean has changed, so followers must get them again."""
    name = Name("a", "payment", "p")
    with write(connection):
        publish_all(connection, "0", [Change(name, b"1")])
        assert publish_all(connection, "0", [Change(name, b"1", 2)]) == (1, {name: 2})
    assert read_page(connection, "0", 0, 10).rows == [Document(*name, 2, b"1", 2)]


def test_of_two_changes_in_one_commit_the_later_counts(connection: Connection) -> None:
    """A document that was changed and changed back takes no seq."""
    name = Name("a", "payment", "p")
    put(connection, "a", b"1")
    with write(connection):
        assert publish_all(connection, "0", [Change(name, b"2"), Change(name, b"1")]) == (
            1,
            {name: 1},
        )


def test_a_great_commit_finds_each_document_that_is_there(connection: Connection) -> None:
    """More than are looked for at once: what is equal keeps its seq, what differs moves, what is new is inserted."""
    names = [Name(f"a-{number % 7}", "payment", f"p-{number}") for number in range(1203)]
    with write(connection):
        first = publish_all(connection, "0", [Change(name, b"1") for name in names[:-3]])
    changed = set(names[::100])
    with write(connection):
        second = publish_all(
            connection, "0", [Change(name, b"2" if name in changed else b"1") for name in names]
        )
    kept = [name for name in names[:-3] if name not in changed]
    assert [second.seqs[name] for name in kept] == [first.seqs[name] for name in kept]
    moved = [name for name in names if name in changed or name in names[-3:]]
    assert [second.seqs[name] for name in moved] == [*range(1201, 1201 + len(moved))]
    (rows,) = connection.execute("SELECT count(*) FROM documents").fetchone()
    assert rows == len(names)


def test_tables_are_made_once(connection: Connection) -> None:
    """Opening an existing core changes nothing in it."""
    put(connection, "a", b"1")
    with write(connection):
        create_documents(connection)
        begin_shard(connection, "0", 7)
    assert read_head(connection, "0")[:3] == (1, 1, 0)

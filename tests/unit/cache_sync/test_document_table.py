"""The documents table: seqs, tombstones, pages and floors."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cache_sync.document_table import (
    add_shard,
    create_documents,
    forget_tombstones,
    publish,
    read_head,
    read_page,
)
from cache_sync.documents import Document
from cache_sync.errors import UnknownShard
from cache_sync.sqlite import Connection, OperationalError, connect, write


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """Return a connection to an empty documents table."""
    made = connect(tmp_path / "core.db", synchronous="NORMAL")
    with write(made):
        create_documents(made)
        add_shard(made, "0", 1)
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
    assert (page.reached_head, page.upto, page.head) == (True, 5, 5)
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
    assert (page.floor, page.head, page.upto) == (3, 3, 3)


def test_a_file_holds_one_shard(connection: Connection) -> None:
    """Another shard's head would promise rows that are not there."""
    with pytest.raises(UnknownShard), write(connection):
        add_shard(connection, "1", 1)
    with pytest.raises(UnknownShard):
        read_page(connection, "1", 0, 10)
    with pytest.raises(UnknownShard), write(connection):
        publish(connection, "1", "a", "payment", "p", b"1")
    assert not connection.in_transaction


def test_tables_are_made_once(connection: Connection) -> None:
    """Opening an existing core changes nothing in it."""
    put(connection, "a", b"1")
    with write(connection):
        create_documents(connection)
        add_shard(connection, "0", 7)
    assert read_head(connection, "0") == (1, 1, 0)

"""Rows into a table, many in a statement."""

from pathlib import Path

import pytest

from cache_sync.sql import IntegrityError, insert_rows, write
from cache_sync.sqlite import connect


@pytest.mark.parametrize("count", [0, 1, 3, 4, 21, 64, 100, 149])
def test_every_row_is_inserted_once_in_its_order(tmp_path: Path, count: int) -> None:
    """However many there are, and whatever is left over by the statements of many."""
    connection = connect(tmp_path / "rows.db", synchronous="NORMAL")
    connection.execute(
        "CREATE TABLE row (id INTEGER PRIMARY KEY, name TEXT UNIQUE, more BLOB) STRICT"
    )
    rows = [(f"name {number}", b"%d" % number) for number in range(count)]
    with write(connection):
        insert_rows(connection, "INSERT INTO row (name, more) VALUES", rows)
    assert connection.execute("SELECT name, more FROM row ORDER BY id").fetchall() == rows
    connection.close()


def test_one_row_that_cannot_be_inserted_is_told(tmp_path: Path) -> None:
    """As its own statement would have told it."""
    connection = connect(tmp_path / "rows.db", synchronous="NORMAL")
    connection.execute("CREATE TABLE row (name TEXT UNIQUE) STRICT")
    with pytest.raises(IntegrityError), write(connection):
        insert_rows(connection, "INSERT INTO row (name) VALUES", [("a",), ("b",), ("a",)])
    assert connection.execute("SELECT count(*) FROM row").fetchone() == (0,)
    connection.close()

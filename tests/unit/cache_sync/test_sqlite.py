"""The door to SQLite: settings, transactions, and which build answers."""

from pathlib import Path

import pytest

from cache_sync import sqlite


def test_file_is_opened_with_the_settings_that_commits_rely_on(tmp_path: Path) -> None:
    """WAL, the asked-for synchronous level, foreign keys on, foreign schemas not trusted."""
    connection = sqlite.connect(tmp_path / "a file?.db", synchronous="FULL")
    asked = ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
    found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in asked]
    connection.close()
    assert found == ["wal", 2, 1, 0]
    assert (tmp_path / "a file?.db").exists()


def test_build_has_no_wal_reset_bug() -> None:
    """The bug that several connections to one file can meet was fixed in 3.51.3."""
    assert tuple(map(int, sqlite.sqlite_version.split("."))) >= (3, 51, 3)


def test_sqlite_utils_uses_the_same_build(tmp_path: Path) -> None:
    """Errors that come through sqlite-utils are those that callers catch."""
    connection = sqlite.connect(tmp_path / "f.db", synchronous="NORMAL")
    with pytest.raises(sqlite.OperationalError):
        sqlite.database(connection).execute("SELECT nonsense")
    connection.close()


def insert_and_be_interrupted(connection: sqlite.Connection) -> None:
    """Write something in a transaction that does not come to its end."""
    with sqlite.write(connection):
        connection.execute("INSERT INTO t VALUES (2)")
        raise KeyboardInterrupt


def test_write_commits_at_the_end_and_rolls_back_on_any_error(tmp_path: Path) -> None:
    """A block that raises leaves nothing behind and no transaction open."""
    connection = sqlite.connect(tmp_path / "f.db", synchronous="NORMAL")
    with sqlite.write(connection):
        connection.execute("CREATE TABLE t (n INTEGER) STRICT")
        connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(KeyboardInterrupt):
        insert_and_be_interrupted(connection)
    assert connection.execute("SELECT n FROM t").fetchall() == [(1,)]
    assert not connection.in_transaction
    connection.close()


def test_read_sees_one_state_while_others_commit(tmp_path: Path) -> None:
    """What is committed meanwhile is seen by the next read, not by this one."""
    writer = sqlite.connect(tmp_path / "f.db", synchronous="NORMAL")
    with sqlite.write(writer):
        writer.execute("CREATE TABLE t (n INTEGER) STRICT")
    reader = sqlite.connect(tmp_path / "f.db", synchronous="NORMAL", read_only=True)
    count = "SELECT count(*) FROM t"
    before = sqlite.data_version(reader)
    with sqlite.read(reader):
        assert reader.execute(count).fetchone() == (0,)
        with sqlite.write(writer):
            writer.execute("INSERT INTO t VALUES (1)")
        assert reader.execute(count).fetchone() == (0,)
    assert reader.execute(count).fetchone() == (1,)
    assert sqlite.data_version(reader) != before
    with pytest.raises(sqlite.OperationalError):
        reader.execute("DELETE FROM t")
    reader.close()
    writer.close()


def test_read_only_never_makes_a_file(tmp_path: Path) -> None:
    """A reader of what is not there is told so."""
    with pytest.raises(sqlite.OperationalError):
        sqlite.connect(tmp_path / "absent.db", synchronous="NORMAL", read_only=True)
    assert not (tmp_path / "absent.db").exists()

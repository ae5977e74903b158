"""Another key for a file: whole under one key or the other, whatever ends the process in between."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cache_sync import rekey, sqlite
from cache_sync.errors import DamagedSnapshot, StorageFailed
from cache_sync.file_keys import PLAIN, FileKeys, is_plain, key_id, named_key, read_salt
from cache_sync.rekey import copy_under, rekey_file

NAME = "Wilhelmina Featherstonehaugh"
OLD = FileKeys((bytes(range(32)),), source="old.key")
NEW = FileKeys((bytes(range(100, 132)),), source="new.key")

# Ends itself without a word at a numbered step of the rotation, as a killed process does.
KILLED_AT = """
import os, signal, sys
from pathlib import Path
import cache_sync.rekey as rekey
from cache_sync.file_keys import FileKeys, PLAIN
step = int(sys.argv[2])
names = ("_own", "_export", "_check", "_put_in_place")
def killed(function):
    def run(*arguments):
        result = function(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
    return run
if step < len(names):
    setattr(rekey, names[step], killed(getattr(rekey, names[step])))
else:
    Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
rekey.rekey_file(Path(sys.argv[1]), FileKeys((bytes(range(32)),)), FileKeys((bytes(range(100, 132)),)))
"""


def make(path: Path, keys: FileKeys) -> None:
    """Make a file with what a copy could lose: numbers given out, a trigger, a view, a version."""
    connection = sqlite.connect(path, synchronous="FULL", keys=keys)
    with sqlite.write(connection):
        connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT) STRICT")
        connection.executemany("INSERT INTO t (name) VALUES (?)", [(NAME,)] * 500)
        connection.execute("DELETE FROM t WHERE n > 490")
        connection.execute("CREATE VIEW v AS SELECT count(*) AS rows FROM t")
        connection.execute(
            "CREATE TRIGGER shut BEFORE DELETE ON t BEGIN SELECT raise(ABORT, 'no'); END"
        )
        connection.execute("PRAGMA user_version = 7")
    connection.close()


def facts(path: Path, keys: FileKeys) -> list[list[Any]]:
    """Read what must survive."""
    connection = sqlite.connect(path, synchronous="FULL", keys=keys)
    found = [
        connection.execute(sql).fetchall()
        for sql in (
            "SELECT rows FROM v",
            "SELECT seq FROM sqlite_sequence",
            "PRAGMA user_version",
            "SELECT name FROM sqlite_schema ORDER BY name",
        )
    ]
    connection.close()
    return found


@pytest.mark.parametrize("before", [OLD, PLAIN], ids=["encrypted", "plain"])
def test_everything_is_there_under_the_new_key_only(tmp_path: Path, before: FileKeys) -> None:
    """Rows, numbers, triggers and views; the old key opens nothing any more, and a second time there is no work."""
    path = tmp_path / "journal.db"
    make(path, before)
    known = facts(path, before)
    assert rekey_file(path, before, NEW)
    assert facts(path, NEW) == known
    with pytest.raises(sqlite.WrongKey):
        sqlite.connect(path, synchronous="FULL", keys=before)
    assert not rekey_file(path, before, NEW)
    assert [file.name for file in tmp_path.iterdir()] == ["journal.db"]
    assert NAME.encode() not in path.read_bytes()


@pytest.mark.parametrize("step", range(5))
def test_killed_at_any_step_the_file_is_whole_under_one_key(tmp_path: Path, step: int) -> None:
    """After the kill the old or the new key opens everything, and rotating again ends under the new one."""
    path = tmp_path / "journal.db"
    make(path, OLD)
    known = facts(path, OLD)
    done = subprocess.run(
        [sys.executable, "-P", "-c", KILLED_AT, str(path), str(step)],
        check=False,
        capture_output=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    opens = OLD if named_key(read_salt(path)) == OLD.current_id else NEW
    assert facts(path, opens) == known
    rekey_file(path, OLD, NEW)
    assert facts(path, NEW) == known
    assert [file.name for file in tmp_path.iterdir()] == ["journal.db"]


def test_file_in_use_is_left_alone(tmp_path: Path) -> None:
    """A reader elsewhere is enough: nothing is changed under it."""
    path = tmp_path / "journal.db"
    make(path, OLD)
    reader = sqlite.connect(path, synchronous="FULL", keys=OLD, read_only=True)
    reader.execute("SELECT * FROM v").fetchall()
    with pytest.raises(StorageFailed, match=r"journal\.db"):
        rekey_file(path, OLD, NEW)
    reader.close()
    assert facts(path, OLD)
    assert rekey_file(path, OLD, NEW)


def test_key_that_opens_nothing_is_named(tmp_path: Path) -> None:
    """Rotating with the wrong old key says which key the file needs, and changes nothing."""
    path = tmp_path / "journal.db"
    make(path, OLD)
    before = path.read_bytes()
    with pytest.raises(sqlite.WrongKey, match=OLD.current_id):
        rekey_file(path, FileKeys((b"x" * 32,), source="wrong.key"), NEW)
    assert path.read_bytes() == before


def test_damaged_page_stops_the_rotation(tmp_path: Path) -> None:
    """A copy of a damaged file would hide the damage under codes that fit."""
    path = tmp_path / "journal.db"
    make(path, OLD)
    content = bytearray(path.read_bytes())
    content[-2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedSnapshot):
        rekey_file(path, OLD, NEW)
    assert named_key(read_salt(path)) == key_id(bytes(range(32)))
    assert not is_plain(read_salt(path))


def test_nobody_gets_in_while_a_file_is_rotated(tmp_path: Path) -> None:
    """Whoever opens the old file meanwhile is refused: what it wrote there would be lost with it."""
    path = tmp_path / "journal.db"
    make(path, OLD)
    refused: list[str] = []
    checked = rekey._check

    def looked_at(beside: Path, to: FileKeys) -> None:
        with pytest.raises(sqlite.OperationalError, match="locked"):
            sqlite.connect(path, synchronous="FULL", keys=OLD, busy_timeout_seconds=0.05).execute(
                "INSERT INTO t (name) VALUES ('lost')"
            )
        refused.append(beside.name)
        checked(beside, to)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rekey, "_check", looked_at)
        assert rekey_file(path, OLD, NEW)
    assert refused == ["journal.db.rekeying"]
    assert facts(path, NEW)


@pytest.mark.parametrize("before", [OLD, PLAIN], ids=["encrypted", "plain"])
@pytest.mark.parametrize("after", [NEW, PLAIN], ids=["to_encrypted", "to_plain"])
def test_a_copy_under_other_keys_holds_everything(
    tmp_path: Path, before: FileKeys, after: FileKeys
) -> None:
    """Between keys and plain files, in all directions; the file that was copied is as it was."""
    path, copy = tmp_path / "theirs.db", tmp_path / "ours.db"
    make(path, before)
    known = facts(path, before)
    copy_under(path, before, copy, after)
    assert facts(copy, after) == known
    assert facts(path, before) == known
    assert (NAME.encode() in copy.read_bytes()) == (not after)

"""Files at rest: encrypted under keys that only their owner may read, and never mistaken for damaged ones."""

import base64
from pathlib import Path

import pytest

from cache_sync import sqlite
from cache_sync.errors import KeyFileInvalid
from cache_sync.file_keys import (
    FileKeys,
    decode_keys,
    key_id,
    named_key,
    read_key_file,
    read_salt,
    write_key_file,
)

NAME = "Wilhelmina Featherstonehaugh"
OLD, NEW = bytes(range(32)), bytes(range(100, 132))


def keys_of(*keys: bytes) -> FileKeys:
    """Hold keys as if they came from a file."""
    return FileKeys(keys, source="edge.key")


def filled(path: Path, keys: FileKeys) -> sqlite.Connection:
    """Make a file that tells a name, in its pages and in its write-ahead log."""
    connection = sqlite.connect(path, synchronous="FULL", keys=keys)
    with sqlite.write(connection):
        connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, name TEXT) STRICT")
        connection.executemany("INSERT INTO t (name) VALUES (?)", [(NAME,)] * 2000)
    return connection


def test_nothing_of_what_is_stored_stands_in_the_files(tmp_path: Path) -> None:
    """Neither the file nor its write-ahead log nor its index of that tells a name."""
    path = tmp_path / "f.db"
    connection = filled(path, keys_of(OLD))
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    with sqlite.write(connection):
        connection.execute("UPDATE t SET name = name || ' again'")
    for file in tmp_path.iterdir():
        assert NAME.encode() not in file.read_bytes(), file.name
    assert {file.name for file in tmp_path.iterdir()} == {"f.db", "f.db-wal", "f.db-shm"}
    connection.close()


def test_a_file_names_its_key_and_not_the_key_itself(tmp_path: Path) -> None:
    """Its first bytes carry the id, eight digits of a hash."""
    filled(tmp_path / "f.db", keys_of(OLD)).close()
    assert named_key(read_salt(tmp_path / "f.db")) == key_id(OLD)
    assert OLD[:4] not in (tmp_path / "f.db").read_bytes()
    assert OLD.hex()[:8] not in repr(keys_of(OLD))


def test_an_older_key_opens_what_was_made_under_it(tmp_path: Path) -> None:
    """New files are made under the first key, older ones open with any."""
    filled(tmp_path / "old.db", keys_of(OLD)).close()
    both = keys_of(NEW, OLD)
    for read_only in (False, True):
        connection = sqlite.connect(
            tmp_path / "old.db", synchronous="FULL", keys=both, read_only=read_only
        )
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (2000,)
        connection.close()
    filled(tmp_path / "new.db", both).close()
    assert named_key(read_salt(tmp_path / "new.db")) == key_id(NEW)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_wrong_key_is_told_and_changes_nothing(tmp_path: Path, read_only: bool) -> None:  # noqa: FBT001
    """The message names the file, the key that it needs and where the held ones come from."""
    path = tmp_path / "f.db"
    filled(path, keys_of(OLD)).close()
    before = path.read_bytes()
    with pytest.raises(sqlite.WrongKey) as told:
        sqlite.connect(path, synchronous="FULL", keys=keys_of(NEW), read_only=read_only)
    assert (
        str(told.value)
        == f"f.db is encrypted under key {key_id(OLD)}, which edge.key does not hold"
    )
    with pytest.raises(sqlite.WrongKey, match="and no key was given"):
        sqlite.connect(path, synchronous="FULL", read_only=read_only).execute("SELECT * FROM t")
    assert path.read_bytes() == before


def test_a_plain_file_is_not_taken_for_an_encrypted_one(tmp_path: Path) -> None:
    """With a key nothing is read that others could have put there without it."""
    filled(tmp_path / "f.db", FileKeys()).close()
    with pytest.raises(sqlite.WrongKey, match=r"f\.db is not encrypted, but edge\.key gives a key"):
        sqlite.connect(tmp_path / "f.db", synchronous="FULL", keys=keys_of(OLD))


@pytest.mark.parametrize("place", [0, 5, 17, 4096 * 12 + 1234])
def test_a_flipped_bit_is_caught_wherever_it_is(tmp_path: Path, place: int) -> None:
    """In the header, in the first page, in a page of rows: the value is never read wrong."""
    path = tmp_path / "f.db"
    filled(path, keys_of(OLD)).close()
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(sqlite.DatabaseError):
        sqlite.connect(path, synchronous="FULL", keys=keys_of(OLD)).execute(
            "SELECT sum(length(name)) FROM t"
        ).fetchone()


def test_opening_again_does_not_let_go_of_locks(tmp_path: Path) -> None:
    """A process that opens a file twice keeps the first connection's locks: nobody else removes the log under it."""
    path = tmp_path / "f.db"
    first = filled(path, keys_of(NEW, OLD))
    opened: list[str] = []
    plain_open = Path.open

    def watched(self: Path, *arguments: object, **named: object) -> object:
        opened.append(self.name)
        return plain_open(self, *arguments, **named)  # type: ignore[call-overload]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "open", watched)
        sqlite.connect(path, synchronous="FULL", keys=keys_of(OLD, NEW)).close()
    assert opened == []
    first.close()


def test_key_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """Mode 0600, never over an existing one, and it reads back."""
    path = tmp_path / "edge.key"
    made = write_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key_file(path).current == made.current
    with pytest.raises(KeyFileInvalid, match="File exists"):
        write_key_file(path)


def test_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """A secret that is none is worse than none: it is not used."""
    write_key_file(tmp_path / "edge.key")
    (tmp_path / "edge.key").chmod(0o640)
    with pytest.raises(KeyFileInvalid, match=r"mode 0640.*chmod 600"):
        read_key_file(tmp_path / "edge.key")


@pytest.mark.parametrize(
    "content", ["", "# only a comment\n", "c2hvcnQ=\n", "schlüssel\n", "A" * 44]
)
def test_what_is_no_key_is_refused_without_being_shown(tmp_path: Path, content: str) -> None:
    """The message says which line, not what stands in it."""
    path = tmp_path / "edge.key"
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(KeyFileInvalid) as told:
        read_key_file(path)
    assert "edge.key" in str(told.value)
    assert not content.strip() or content.strip() not in str(told.value)


def test_keys_come_from_text_too() -> None:
    """As an environment variable carries them: the current one first."""
    texts = [base64.b64encode(key).decode() for key in (NEW, OLD)]
    keys = decode_keys(texts, source="$RIDETHROUGH_EDGE_KEY")
    assert (keys.current, keys.others) == (NEW, (OLD,))

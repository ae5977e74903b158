"""
Another key for a file that nobody uses: copied beside under the new key, flushed, and put in its place in one step.

Whatever ends the process in between, the file is the old one, whole and under the old key, or the new one, whole and
under the new key.
"""

import os
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from cache_sync.errors import DamagedSnapshot, StorageFailed
from cache_sync.file_keys import PLAIN, FileKeys, is_plain, named_key, read_salt
from cache_sync.sqlite import Connection, DatabaseError, OperationalError, connect

BESIDE_SUFFIX = ".rekeying"
_COMPANIONS = ("-wal", "-shm", "-journal")


def rekey_file(path: Path, keys: FileKeys, to: FileKeys) -> bool:
    """
    Encrypt a database file under the current key of ``to``; tell whether there was anything to do.

    A plain file is encrypted the first time. Nobody may have it open, and nobody can open it while this runs. Calling
    it again after a crash finishes or begins anew.

    Args:
        path: The file; one that is not there needs nothing.
        keys: What it can be opened with now.
        to: Its current key becomes the file's; it opens what a former call finished.

    Raises:
        WrongKey: It is encrypted under a key that neither holds.
        StorageFailed: It is in use, or the disk refused; it is as it was.
        DamagedSnapshot: A page does not read; it is as it was.
    """
    assert to.current is not None, "a key to encrypt under"
    beside = path.with_name(path.name + BESIDE_SUFFIX)
    _remove(beside)
    salt = read_salt(path)
    if not salt or named_key(salt) == to.current_id:
        return False
    plain = is_plain(salt)
    try:
        with closing(connect(path, synchronous="FULL", keys=PLAIN if plain else keys)) as source:
            _own(source, path)
            _read_through(source, path)
            _export(source, beside, to)
            _put_in_place(beside, path)
    except OperationalError as error:
        raise StorageFailed(f"{path.name}: {error}") from error
    except OSError as error:
        raise StorageFailed(f"{path.name}: {error.strerror}") from error
    except DatabaseError as error:
        if named_key(salt) is not None and keys.find(named_key(salt) or "") is None:
            raise
        raise DamagedSnapshot(f"{path.name}: {error}") from error
    finally:
        _remove(beside)
    return True


def _own(source: Connection, path: Path) -> None:
    """Empty the write-ahead log into the file and keep everybody else out."""
    # Leaving WAL mode fails while another connection has the file open.
    (mode,) = source.execute("PRAGMA journal_mode = DELETE").fetchone()
    if mode != "delete":
        raise StorageFailed(f"{path.name} is in use")
    source.execute("BEGIN EXCLUSIVE")


def _read_through(source: Connection, path: Path) -> None:
    # The copying function would tell a damaged page as if it were the statement that is wrong.
    (answer,) = source.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise DamagedSnapshot(f"{path.name}: {answer}")


def _export(source: Connection, beside: Path, to: FileKeys) -> None:
    # Not page by page: encrypted pages keep room that plain ones lack, and a backup waits for ever for our own lock.
    connect(beside, synchronous="FULL", keys=to).close()
    assert to.current is not None
    key = f"x'{to.current.hex()}{read_salt(beside).hex()}'"
    # No database is attached within a transaction; the exclusive lock is taken again as soon as it is there.
    source.execute("ROLLBACK")
    source.execute("ATTACH DATABASE ? AS beside KEY ?", (str(beside), key))
    source.execute("BEGIN EXCLUSIVE")
    source.execute("SELECT sqlcipher_export('beside')").fetchone()
    for name in ("user_version", "application_id"):
        (value,) = source.execute(f"PRAGMA main.{name}").fetchone()
        source.execute(f"PRAGMA beside.{name} = {int(value)}")
    source.execute("COMMIT")
    source.execute("DETACH DATABASE beside")
    source.execute("BEGIN EXCLUSIVE")
    _check(beside, to)


def _check(beside: Path, to: FileKeys) -> None:
    with closing(connect(beside, synchronous="FULL", keys=to)) as target:
        (answer,) = target.execute("PRAGMA quick_check(1)").fetchone()
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if answer != "ok":
        raise DamagedSnapshot(f"{beside.name}: {answer}")


def _put_in_place(beside: Path, path: Path) -> None:
    with beside.open("rb") as copied:
        os.fsync(copied.fileno())
    beside.chmod(path.stat().st_mode & 0o777)
    # Kept open to the end of the process: closing it would let go of the lock that keeps others out.
    old: BinaryIO = path.open("r+b", buffering=0)
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    # Whoever waits for the lock of the old file, which has no name any more, must not go on with it.
    old.write(bytes(len(read_salt(path))))
    _KEPT_OPEN.append(old)


_KEPT_OPEN: list[BinaryIO] = []


def _remove(beside: Path) -> None:
    for suffix in ("", *_COMPANIONS):
        beside.with_name(beside.name + suffix).unlink(missing_ok=True)

"""
Another key for a database: for a copy of it, or for a file that nobody uses.

The latter is copied beside under the new key, flushed, and put in its place in one step.

Whatever ends the process in between, the file is the old one, whole and under the old key, or the new one, whole and
under the new key.
"""

import os
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from cache_sync.errors import DamagedSnapshot, StorageFailed
from cache_sync.file_keys import PLAIN, SALT_BYTES, FileKeys, is_plain, named_key, read_salt
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
        # Closed last: closing a file lets go of the locks that SQLite holds on it.
        with (
            path.open("r+b", buffering=0) as old,
            closing(connect(path, synchronous="FULL", keys=PLAIN if plain else keys)) as source,
        ):
            _own(source, path)
            _read_through(source, path)
            _export(source, beside, to)
            _put_in_place(beside, path, old)
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


def copy_under(source: Path, keys: FileKeys, target: Path, to: FileKeys) -> None:
    """
    Copy a database into a new file under other keys, or none; whoever writes to it waits.

    From one key to another its pages are copied; between a plain file and an encrypted one, its rows.

    Raises:
        WrongKey: It is encrypted otherwise than under ``keys``.
        DatabaseError: It is damaged, or the disk refused.
    """
    reading = connect(source, synchronous="NORMAL", keys=keys, same_thread=False)
    with closing(reading):
        if bool(keys) == bool(to):
            _copy_pages(reading, target, to)
        else:
            copy_rows(reading, target, to)


def _own(source: Connection, path: Path) -> None:
    """Empty the write-ahead log into the file and keep everybody else out."""
    # Leaving WAL mode fails while another connection has the file open.
    (mode,) = source.execute("PRAGMA journal_mode = DELETE").fetchone()
    if mode != "delete":
        raise StorageFailed(f"{path.name} is in use")
    # Held until the file is closed: nobody gets in between two transactions, and none is open while one is attached.
    source.execute("PRAGMA main.locking_mode = EXCLUSIVE").fetchone()
    source.execute("BEGIN EXCLUSIVE")
    source.execute("COMMIT")


def _read_through(source: Connection, path: Path) -> None:
    # The copying function would tell a damaged page as if it were the statement that is wrong.
    (answer,) = source.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise DamagedSnapshot(f"{path.name}: {answer}")


def _copy_pages(source: Connection, beside: Path, to: FileKeys) -> None:
    with closing(connect(beside, synchronous="FULL", keys=to, same_thread=False)) as target:
        source.backup(target)


def _export(source: Connection, beside: Path, to: FileKeys) -> None:
    copy_rows(source, beside, to)
    _check(beside, to)


def copy_rows(source: Connection, beside: Path, to: FileKeys) -> None:
    """
    Copy a database into a new file row by row, under the current key of ``to``; whoever writes to it waits.

    Not page by page: encrypted pages keep room that plain ones lack, and pages may keep what was deleted in them. A
    connection that this failed on is to be closed.

    Raises:
        DatabaseError: It is damaged, or the disk refused.
    """
    connect(beside, synchronous="FULL", keys=to).close()
    key = f"x'{to.current.hex()}{read_salt(beside).hex()}'" if to.current else ""
    source.execute("ATTACH DATABASE ? AS beside KEY ?", (str(beside), key))
    source.execute("BEGIN IMMEDIATE")
    source.execute("SELECT sqlcipher_export('beside')").fetchone()
    for name in ("user_version", "application_id"):
        (value,) = source.execute(f"PRAGMA main.{name}").fetchone()
        source.execute(f"PRAGMA beside.{name} = {int(value)}")
    source.execute("COMMIT")
    source.execute("DETACH DATABASE beside")


def _check(beside: Path, to: FileKeys) -> None:
    with closing(connect(beside, synchronous="FULL", keys=to)) as target:
        (answer,) = target.execute("PRAGMA quick_check(1)").fetchone()
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if answer != "ok":
        raise DamagedSnapshot(f"{beside.name}: {answer}")


def _put_in_place(beside: Path, path: Path, old: BinaryIO) -> None:
    with beside.open("rb") as copied:
        os.fsync(copied.fileno())
    beside.chmod(path.stat().st_mode & 0o777)
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    # Whoever waits for the lock of the old file, which has no name any more, must not go on with it.
    old.write(bytes(SALT_BYTES))


def _remove(beside: Path) -> None:
    for suffix in ("", *_COMPANIONS):
        beside.with_name(beside.name + suffix).unlink(missing_ok=True)

"""A journal under a key: what is told when the key is another, and what a flipped bit on the disk does to it."""

import secrets
from pathlib import Path

import pytest

from cache_sync.file_keys import PLAIN, FileKeys, key_id
from cache_sync.sqlite import Connection, connect
from failover.errors import JournalError, JournalFenced
from failover.journal_reader import JournalReader
from tests.integration.journals import NOON, draft, opened, record

KEYS = FileKeys((secrets.token_bytes(32),), source="keys.txt")
OTHER = FileKeys((secrets.token_bytes(32),), source="other.txt")
PAGE_BYTES = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the journal lies."""
    return tmp_path / "journal" / "journal.db"


def content(path: Path) -> bytes:
    """Read a file, whole."""
    return path.read_bytes()


def flip_bits(path: Path) -> None:
    """Flip a bit in every page but the first, as they lie on the disk."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        assert size > PAGE_BYTES
        for page in range(PAGE_BYTES, size, PAGE_BYTES):
            file.seek(page + 100)
            byte = file.read(1)
            file.seek(page + 100)
            file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("keys", [PLAIN, OTHER])
async def test_another_key_is_told_and_changes_nothing(path: Path, keys: FileKeys) -> None:
    """By writer and reader, with the ids of the keys, and the journal is whole under its own."""
    journal = opened(path, keys=KEYS)
    await record(journal, draft("key-1"))
    journal.close()
    before = content(path)
    wanted = key_id(KEYS.current or b"")
    with pytest.raises(JournalError, match=f"under key {wanted}"):
        opened(path, keys=keys)
    with pytest.raises(JournalError, match=f"under key {wanted}"):
        JournalReader(path, keys=keys).receipts("A-1", settled_since=NOON)
    assert content(path) == before
    reader = JournalReader(path, keys=KEYS)
    assert len(reader.page("own", after=0).items) == 1
    assert reader.key_id() == wanted


async def test_an_encrypted_journal_gives_pages_back_too(path: Path) -> None:
    """It is made so that pruning can make it shorter."""
    opened(path, keys=KEYS).close()
    connection = connect(path, synchronous="FULL", keys=KEYS)
    assert int(connection.execute("PRAGMA auto_vacuum").fetchone()[0]) == 2
    connection.close()


async def test_a_plain_journal_is_told(path: Path) -> None:
    """It is not gone on with under a key."""
    opened(path).close()
    with pytest.raises(JournalError, match="not encrypted"):
        opened(path, keys=KEYS)
    assert JournalReader(path).key_id() == ""


async def test_a_flipped_page_fences_the_journal(path: Path) -> None:
    """Nothing is recorded on top of it, nothing wrong is read, and it stays fenced."""
    connections: list[Connection] = []

    def open_file(file: Path) -> Connection:
        connections.append(connect(file, synchronous="FULL", same_thread=False, keys=KEYS))
        return connections[-1]

    opened(path, keys=KEYS).close()
    journal = opened(path, keys=KEYS, connect_file=open_file)
    await record(journal, draft("key-1"))
    connections[0].execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    flip_bits(path)
    # What is in memory is right still; what is read again is not.
    connections[0].execute("PRAGMA shrink_memory").fetchall()
    with pytest.raises(JournalFenced):
        await record(journal, draft("key-2"))
    assert journal.fenced
    with pytest.raises(JournalError):
        journal.reader.page("own", after=0)
    with pytest.raises(JournalError):
        journal.reopen()
    assert journal.fenced
    journal.close()
    with pytest.raises(JournalError):
        opened(path, keys=KEYS)

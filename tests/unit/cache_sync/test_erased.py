"""A person who was forgotten leaves a replica's pages too: its file is written anew, once."""

import random
from contextlib import closing
from pathlib import Path

import pytest

from cache_sync.erased import may_hold_traces
from cache_sync.file_keys import PLAIN, FileKeys, decode_keys, new_key_text
from cache_sync.follower import Follower
from cache_sync.rekey import copy_rows
from cache_sync.replica_reader import ReplicaReader
from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.sqlite import Connection, connect, write
from tests.unit.cache_sync.feed_world import (
    SETTINGS,
    Core,
    DirectClient,
    FakeClock,
    make_follower,
    read_all,
    step_until,
)

PEOPLE, VICTIMS, SEEDS_MAX = 600, 150, 30
ACCOUNT = ("account-7", "account", "")
BILL = ("account-7", "statement", "st-1")


def traces_after_deleting(path: Path, seed: int) -> list[bytes]:
    """Live through many changes, delete some people, and name those that the file still holds."""
    rng = random.Random(seed)
    places: dict[int, int] = {}
    seq = 0
    with closing(connect(path, synchronous="NORMAL")) as connection:
        connection.execute("CREATE TABLE documents (seq INTEGER PRIMARY KEY, body BLOB)")
        connection.execute("CREATE TABLE people (id TEXT PRIMARY KEY, email TEXT UNIQUE)")
        for _ in range(250):
            with write(connection):
                for _ in range(rng.randint(1, 30)):
                    seq, person = seq + 1, rng.randrange(PEOPLE)
                    body = name_of(person) * rng.choice([1, 5, 30, 90, 300, 900])
                    if person in places:
                        change = "UPDATE documents SET seq = ?, body = ? WHERE seq = ?"
                        connection.execute(change, (seq, body, places[person]))
                    else:
                        connection.execute("INSERT INTO documents VALUES (?, ?)", (seq, body))
                        email = f"{rng.random()}{name_of(person).decode()}"
                        connection.execute("INSERT INTO people VALUES (?, ?)", (str(person), email))
                    places[person] = seq
        victims = rng.sample(sorted(places), VICTIMS)
        for person in victims:
            with write(connection):
                seq += 1
                change = "UPDATE documents SET seq = ?, body = NULL WHERE seq = ?"
                connection.execute(change, (seq, places[person]))
                connection.execute("UPDATE people SET email = NULL WHERE id = ?", (str(person),))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    content = path.read_bytes()
    return [name_of(person) for person in victims if name_of(person) in content]


def name_of(person: int) -> bytes:
    """Make a name that is nobody else's."""
    return b"<Ada %06d>" % person


def test_pages_may_keep_what_was_deleted_and_a_copy_of_the_rows_does_not(tmp_path: Path) -> None:
    """Why a file is written anew at all: overwriting deleted cells leaves a copy here and there."""
    left: list[bytes] = []
    path = tmp_path / "some.db"
    for seed in range(SEEDS_MAX):
        path = tmp_path / f"{seed}.db"
        left = traces_after_deleting(path, seed)
        if left:
            break
    assert left, "SQLite leaves nothing any more: nothing has to be written anew"
    with closing(connect(path, synchronous="NORMAL")) as source:
        copy_rows(source, tmp_path / "copy.db", PLAIN)
    content = (tmp_path / "copy.db").read_bytes()
    assert len(content) > path.stat().st_size // 4
    assert not [name for name in left if name in content]


def files_of(directory: Path) -> list[str]:
    """Name the snapshots that lie in a folder."""
    return sorted(path.name for path in directory.glob("*.db"))


def opened(directory: Path) -> Connection:
    """Open the current snapshot."""
    current = SnapshotFolder(directory).current()
    assert current is not None
    return connect(current, synchronous="NORMAL", read_only=True)


async def test_the_file_is_written_anew_when_an_account_is_deleted(
    core: Core, follower: Follower, reader: ReplicaReader, clock: FakeClock, directory: Path
) -> None:
    """Beside, as any catch-up; readers go over to it, and the old one goes a minute later. Nothing else does that."""
    core.fill(9)
    core.commit([(ACCOUNT, b"a"), (BILL, b"b")])
    await step_until(follower, clock, "following")
    (first,) = files_of(directory)
    core.commit([(BILL, None)])
    for _ in range(3):
        await follower.step()
    assert files_of(directory) == [first]
    core.commit([(ACCOUNT, None)])
    for _ in range(4):
        await follower.step()
    assert follower.status.phase == "following"
    assert len(files_of(directory)) == 2
    seen, state = read_all(reader)
    core.check(seen, state)
    assert ACCOUNT not in state
    clock.advance(SETTINGS.previous_seconds)
    await follower.step()
    (second,) = files_of(directory)
    assert second != first
    assert follower.status.snapshots_built == 2


async def test_it_is_written_anew_once_and_not_too_often(
    core: Core, clock: FakeClock, directory: Path
) -> None:
    """Not again after a restart; the next deletion waits, also over a restart that forgot it."""
    core.fill(9)
    core.commit([(ACCOUNT, b"a"), (("account-8", "account", ""), b"c"), (BILL, b"b")])
    follower = make_follower(DirectClient(core), directory, clock)
    await step_until(follower, clock, "following")
    core.commit([(ACCOUNT, None), (BILL, None)])
    for _ in range(4):
        await follower.step()
    built = follower.status.snapshots_built
    core.commit([(("account-8", "account", ""), None), (("account-8", "payment", "p"), None)])
    for _ in range(4):
        await follower.step()
    assert follower.status.snapshots_built == built
    with closing(opened(directory)) as connection:
        assert may_hold_traces(connection)
    # The tombstones themselves are forgotten before it is their turn.
    core.forget(core.head)
    for _ in range(3):
        await follower.step()
    follower.close()
    again = make_follower(DirectClient(core), directory, clock)
    for _ in range(5):
        await again.step()
    with closing(opened(directory)) as connection:
        assert not may_hold_traces(connection)
    assert again.status.snapshots_built == 1
    again.close()
    third = make_follower(DirectClient(core), directory, clock)
    for _ in range(5):
        await third.step()
    assert third.status.snapshots_built == 0
    third.close()


async def test_a_new_snapshot_needs_no_rewriting(
    core: Core, clock: FakeClock, directory: Path
) -> None:
    """Who begins after the deletion never had anything of the account."""
    core.fill(9)
    core.commit([(ACCOUNT, b"a"), (BILL, b"b")])
    core.commit([(ACCOUNT, None), (BILL, None)])
    follower = make_follower(DirectClient(core), directory, clock)
    await step_until(follower, clock, "following")
    for _ in range(4):
        await follower.step()
    assert follower.status.snapshots_built == 1
    with closing(opened(directory)) as connection:
        assert not may_hold_traces(connection)
    follower.close()


@pytest.mark.parametrize("keys", [PLAIN, decode_keys([new_key_text()], source="a test")])
def test_a_copy_of_the_rows_is_under_the_folders_key(tmp_path: Path, keys: FileKeys) -> None:
    """Plain stays plain; encrypted stays encrypted, and opens."""
    folder = SnapshotFolder(tmp_path, keys=keys)
    with closing(folder.open_for_writing(tmp_path / "one.db")) as connection:
        connection.execute("CREATE TABLE names (name TEXT) STRICT")
        with write(connection):
            connection.execute("INSERT INTO names VALUES ('Ada')")
    folder.copy_rows(tmp_path / "one.db", tmp_path / "two.db")
    assert (b"Ada" in (tmp_path / "two.db").read_bytes()) == (not keys)
    with closing(folder.open_for_writing(tmp_path / "two.db")) as connection:
        assert connection.execute("SELECT name FROM names").fetchall() == [("Ada",)]

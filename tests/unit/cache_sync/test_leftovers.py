"""Deleted documents leave the disk: pages, log, and the snapshot before."""

from pathlib import Path

from cache_sync.follower import Follower
from cache_sync.replica_reader import ReplicaReader
from cache_sync.sqlite import connect, write
from tests.unit.cache_sync.feed_world import SETTINGS, Core, FakeClock, step_until

SECRET = b"Ada Example, 12 Mill Road"
# On a page of its own, and in several.
BODIES = (b'{"name": "%s"}' % SECRET, b'{"name": "%s"}' % (SECRET * 800))


def holds_secret(folder: Path) -> list[str]:
    """Name the files of a folder that the deleted text can be found in."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and SECRET in path.read_bytes()
    )


async def test_a_deleted_document_is_gone_from_pages_and_log(
    core: Core, follower: Follower, reader: ReplicaReader, clock: FakeClock, directory: Path
) -> None:
    """Within seconds of its tombstone no byte of it is left, though readers have the file open."""
    core.fill(5)
    names = [("a", "account", str(number)) for number in range(len(BODIES))]
    await step_until(follower, clock, "following")
    core.commit(list(zip(names, BODIES, strict=True)))
    # Moved once: its older place is a free one.
    core.commit([(name, body + b" ") for name, body in zip(names, BODIES, strict=True)])
    await follower.step()
    with reader.read() as view:
        assert view.document(*names[0]) is not None
    assert holds_secret(directory)
    core.commit([(name, None) for name in names])
    for _ in range(3):
        clock.advance(SETTINGS.erase_seconds)
        await follower.step()
    assert holds_secret(directory) == []
    with reader.read() as view:
        assert view.document(*names[0]) is None


async def test_the_snapshot_before_goes_a_minute_later(
    core: Core, follower: Follower, clock: FakeClock, directory: Path
) -> None:
    """A reader may be about to open it, and then nobody is any more."""
    core.commit([(("a", "account", ""), BODIES[0])])
    await step_until(follower, clock, "following")
    core.commit([(("a", "account", ""), None)])
    core.enter_epoch(2)
    await step_until(follower, clock, "stopped")
    await step_until(follower, clock, "following")
    assert holds_secret(directory)
    clock.advance(SETTINGS.previous_seconds)
    await follower.step()
    assert holds_secret(directory) == []


def test_every_file_overwrites_what_is_deleted(tmp_path: Path) -> None:
    """The core's books and the journals too."""
    connection = connect(tmp_path / "some.db", synchronous="FULL")
    connection.execute("CREATE TABLE texts (number INTEGER PRIMARY KEY, body BLOB)")
    with write(connection):
        connection.executemany("INSERT INTO texts VALUES (?, ?)", list(enumerate(BODIES)))
    with write(connection):
        connection.execute("DELETE FROM texts")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.close()
    assert holds_secret(tmp_path) == []

"""
A follower whose machine loses power at many points: run as a program, because its disk stays recorded to the end.

Usage: `python -m tests.integration.power_loss_child FOLDER [PLANTED]`; it prints what it has seen as JSON and ends with
0 when every power loss left what it must. `unflushed` plants the fault that the log is never flushed.
"""

import asyncio
import json
import os
import sys
import traceback
from pathlib import Path
from random import Random

import cache_sync.sqlite
from cache_sync.errors import NoSnapshot
from cache_sync.follower import Follower
from cache_sync.follower_settings import FollowerSettings
from cache_sync.offload import inline
from cache_sync.publication import Name
from cache_sync.replica_reader import ReplicaReader
from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.sqlite import connect
from tests.integration.power_loss import DiskRecord, RecordedFolder, record
from tests.property.replication_core import Core
from tests.property.replication_faults import FaultyClient
from tests.unit.cache_sync.feed_world import FakeClock, read_all

ROUNDS = 90
POWER_LOSSES = 240
CAUGHT_UP_EVERY = 8
SETTINGS = FollowerSettings(tail_pages_max=2, durable_seconds=0.5)
NAMES = [Name(f"account-{number}", "statement", "s") for number in range(60)]


class Machine:
    """A core, and a follower on the machine that will lose its power."""

    def __init__(self, folder: Path, disk: DiskRecord) -> None:
        self.rng = Random(7)
        self.disk = disk
        self.clock = FakeClock()
        self.core = Core(folder, self.clock, 1)
        self.client = FaultyClient(self.core, "0", lambda: None)
        self.client.page_rows = 9
        self.follower = self.follow(RecordedFolder(disk))
        self.reader = ReplicaReader(disk.folder, clock=self.clock)
        self.visible: dict[int, tuple[int, int]] = {}
        self._told: object = None

    def follow(self, folder: SnapshotFolder) -> Follower:
        """Start a follower on a folder."""
        return Follower(
            self.client,
            folder.directory,
            clock=self.clock,
            rng=Random(len(folder.directory.name)),
            settings=SETTINGS,
            offload=inline,
            folder=folder,
        )

    def commit(self, changes: int) -> None:
        """Let the core change documents."""
        self.core.commit(
            (name, None if self.rng.random() < 0.2 else self.rng.randbytes(300).hex().encode())
            for name in self.rng.sample(NAMES, changes)
        )

    async def step(self) -> None:
        """Let the follower ask once, and tell the node above how much is kept."""
        self.clock.advance(await self.follower.step())
        status = self.follower.status
        self.visible[len(self.disk.operations)] = (status.epoch, status.cursor)
        kept = status.kept
        if kept is not None and kept != self._told:
            self._told = kept
            self.disk.note("told", told=(kept.epoch, kept.seq))

    async def until_current(self) -> None:
        """Step until readers see the present."""
        for _ in range(300):
            await self.step()
            if self.follower.status.phase == "following":
                seen, state = read_all(self.reader)
                if self.core.is_at_head(seen, state):
                    return
        raise AssertionError(self.follower.status.reason)

    async def live(self) -> None:
        """Bootstrap, follow, fall behind, change epochs; with readers in the way of checkpoints now and then."""
        self.commit(50)
        await self.until_current()
        for number in range(ROUNDS):
            self.commit(40 if number % 30 == 17 else self.rng.randint(1, 6))
            if number == ROUNDS // 2:
                self.core.enter_epoch()
            if number % 20 == 11:
                self.core.forget()
            self.clock.advance(self.rng.uniform(0, 0.3))
            with self.reader.read():
                await self.step()
            for _ in range(self.rng.randint(0, 4)):
                await self.step()
        await self.until_current()

    # After the power came back

    async def lose_power(self, number: int, folder: Path) -> bool:
        """Look at what one power loss left; tells whether it took commits that readers had seen."""
        operations = self.disk.operations
        cut = self.rng.randint(1, len(operations))
        self.disk.write_image(cut, self.rng, folder)
        told = self.disk.told(cut)
        shown = max((place for at, place in self.visible.items() if at <= cut), default=(0, 0))
        reader = ReplicaReader(folder, clock=self.clock)
        try:
            seen, state = read_all(reader)
        except NoSnapshot:
            assert told is None, f"at {cut}: {told} was kept, and nothing is left"
            place = (0, 0)
        else:
            self.core.check(seen, state)
            _check_structure(SnapshotFolder(folder))
            place = (seen.epoch, seen.cursor)
            assert told is None or place >= told, f"at {cut}: {told} was kept, {place} is left"
        finally:
            reader.close()
        if number % CAUGHT_UP_EVERY == 0:
            await self._catch_up(folder)
        return place < shown

    async def _catch_up(self, folder: Path) -> None:
        follower = self.follow(SnapshotFolder(folder))
        reader = ReplicaReader(folder, clock=self.clock)
        for _ in range(300):
            self.clock.advance(await follower.step())
            if follower.status.phase == "following" and self.core.is_at_head(*read_all(reader)):
                break
        assert self.core.is_at_head(*read_all(reader)), follower.status.reason
        reader.close()
        follower.close()


def _check_structure(folder: SnapshotFolder) -> None:
    current = folder.current()
    assert current is not None
    connection = connect(current, synchronous="NORMAL")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def main(folder: Path, planted: str) -> dict[str, int]:
    """Live, lose power many times over, and return what was seen."""
    cache_sync.sqlite.AUTOCHECKPOINT_PAGES = 12
    snapshots = folder / "snapshot"
    snapshots.mkdir()
    disk = record(snapshots)
    if planted == "unflushed":
        SnapshotFolder.flush_log = lambda self, snapshot: None  # type: ignore[method-assign]
    machine = Machine(folder, disk)
    await machine.live()
    machine.reader.close()
    took = [
        await machine.lose_power(number, folder / f"after-{number}")
        for number in range(POWER_LOSSES)
    ]
    told = sum(one.what == "told" for one in disk.operations)
    return {
        "losses": len(took),
        "took": sum(took),
        "operations": len(disk.operations),
        "told": told,
    }


if __name__ == "__main__":
    try:
        seen = asyncio.run(main(Path(sys.argv[1]), "".join(sys.argv[2:])))
        sys.stdout.write(json.dumps(seen) + "\n")
    except BaseException:  # noqa: BLE001 - whatever it is, the process has to end by os._exit
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)

"""A core with its clock, and a follower of it, ready for use."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cache_sync.follower import Follower
from cache_sync.replica_reader import ReplicaReader
from tests.unit.cache_sync.feed_world import Core, DirectClient, FakeClock, make_follower


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that is turned by hand."""
    return FakeClock()


@pytest.fixture
async def core(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Core]:
    """Return an empty core."""
    made = Core(tmp_path / "core.db", clock)
    yield made
    await made.close()


@pytest.fixture
def client(core: Core) -> DirectClient:
    """Return a client of the core."""
    return DirectClient(core)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return where the snapshots lie."""
    return tmp_path / "snapshot"


@pytest.fixture
def reader(directory: Path, clock: FakeClock) -> Iterator[ReplicaReader]:
    """Return a worker's reader."""
    made = ReplicaReader(directory, clock=clock)
    yield made
    made.close()


@pytest.fixture
def follower(client: DirectClient, directory: Path, clock: FakeClock) -> Iterator[Follower]:
    """Return a follower that has asked nothing yet."""
    made = make_follower(client, directory, clock)
    yield made
    made.close()

"""A core with its clock, ready for use."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.cache_sync.feed_world import Core, FakeClock


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

"""The machine's clocks."""

from datetime import UTC

from cache_sync.clock import SystemClock


async def test_clocks_run_and_name_their_boot() -> None:
    """The boot clock never stands still over a sleep, and two clocks of one boot agree on it."""
    clock = SystemClock()
    before = clock.boot_seconds()
    await clock.sleep(0.001)
    assert clock.boot_seconds() - before >= 0.001
    assert clock.boot_id() == SystemClock().boot_id()
    assert clock.now().tzinfo is UTC

"""The one place that reads clocks and sleeps."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Time as everything else sees it; a simulator passes its own."""

    def now(self) -> datetime:
        """Tell the wall-clock time, UTC. For stamps only: it may jump."""
        ...

    def boot_seconds(self) -> float:
        """Tell seconds since boot, suspended time included. Never jumps; every age and deadline is measured on it."""
        ...

    def boot_id(self) -> str:
        """Tell which boot `boot_seconds` counts from; readings of two boots cannot be compared."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    def now(self) -> datetime:
        """Tell the wall-clock time, UTC."""
        return datetime.now(UTC)

    def boot_seconds(self) -> float:
        """Tell seconds since boot."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        """Tell the kernel's id of this boot."""
        return self._boot_id

    async def sleep(self, seconds: float) -> None:
        """Wait on the running event loop."""
        await asyncio.sleep(seconds)

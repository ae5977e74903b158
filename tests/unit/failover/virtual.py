"""Virtual time: an event loop and clocks that move as a test wants, repeatably."""

import asyncio
import heapq
import random
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

T = TypeVar("T")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer, and that shuffles what is ready at once."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._now = 0.0
        super().__init__(selectors.SelectSelector())

    def time(self) -> float:
        """Tell the virtual time."""
        return self._now

    def _run_once(self) -> None:
        loop = cast("Any", self)
        if not loop._ready and loop._scheduled:
            while loop._scheduled and loop._scheduled[0]._cancelled:
                heapq.heappop(loop._scheduled)._scheduled = False
            if loop._scheduled:
                self._now = max(self._now, loop._scheduled[0]._when)
        if len(loop._ready) > 1:
            ready = list(loop._ready)
            self._rng.shuffle(ready)
            loop._ready = deque(ready)
        cast("Any", super())._run_once()


def run_virtually(seed: int, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end under virtual time."""
    loop = VirtualLoop(random.Random(seed))
    try:
        return loop.run_until_complete(main())
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


class VirtualClock:
    """The clock of a `VirtualLoop`; `skew` moves the wall clock alone."""

    def __init__(self) -> None:
        self.skew = timedelta(0)

    def now(self) -> datetime:
        """Tell the wall-clock time."""
        return START + self.skew + timedelta(seconds=self.boot_seconds())

    def boot_seconds(self) -> float:
        """Tell the virtual time."""
        return asyncio.get_running_loop().time()

    def boot_id(self) -> str:
        """Tell the one boot there is."""
        return "boot"

    async def sleep(self, seconds: float) -> None:
        """Wait virtually."""
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that moves only when a test moves it."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.wall = START
        self.boot = "boot"

    def now(self) -> datetime:
        """Tell the wall-clock time as set."""
        return self.wall

    def boot_seconds(self) -> float:
        """Tell the boot time as set."""
        return self.seconds

    def boot_id(self) -> str:
        """Tell the boot as set."""
        return self.boot

    async def sleep(self, seconds: float) -> None:
        """Move on by itself."""
        self.seconds += seconds
        await asyncio.sleep(0)

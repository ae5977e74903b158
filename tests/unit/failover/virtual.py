"""Virtual time as the simulator has it, for tests of a part; and a clock that moves only when told."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from random import Random
from typing import Any, TypeVar, cast

from chaos.simulation import virtual_time
from chaos.simulation.virtual_time import START, NodeClock, VirtualLoop

T = TypeVar("T")


def run_virtually(seed: int, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end under virtual time; the seed orders what is ready at once."""
    return virtual_time.run_virtually(Random(seed), lambda _: main())


class VirtualClock(NodeClock):
    """The clock of the virtual loop that runs now; `skew` moves the wall clock alone."""

    def __init__(self) -> None:
        super().__init__(cast("VirtualLoop", asyncio.get_running_loop()), "node")


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

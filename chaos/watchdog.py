"""A drill's watchdog as the drill sees it: faults are ordered from it, renewed, and healed by it."""

import asyncio
import itertools
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

from chaos.errors import ControlError
from chaos.process import python_module
from chaos.watchdog_orders import Order
from chaos.watchdog_process import Answer, Command, Heal, Renew, Take

TTL_SECONDS = 10.0
ANSWER_SECONDS_MAX = 60.0
END_SECONDS_MAX = 30.0


class WatchdogLease:
    """A fault that the watchdog holds; ``after`` is run once it has healed it."""

    def __init__(
        self, watchdog: "Watchdog", number: int, after: Callable[[], None] | None = None
    ) -> None:
        self._watchdog = watchdog
        self._number = number
        self._after = after

    async def renew(self) -> None:
        """Keep it in force. Raises `ControlError` when it has ended meanwhile."""
        await self._watchdog.command(
            Renew(lease=self._number, ttl_seconds=self._watchdog.ttl_seconds)
        )

    async def heal(self) -> None:
        """End it. Raises `ControlError` when that cannot be done."""
        await self._watchdog.command(Heal(lease=self._number))
        if self._after is not None:
            self._after()


class Watchdog:
    """
    The process that holds a drill's leases, started before any of them; an async context manager.

    It outlives us for as long as it takes to heal what we leave behind.
    """

    def __init__(self, ttl_seconds: float = TTL_SECONDS) -> None:
        self.ttl_seconds = ttl_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._numbers = itertools.count(1)
        self._talking = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *python_module("chaos", "watchdog"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Its own session: what ends us in a terminal must not end it.
            start_new_session=True,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(END_SECONDS_MAX):
                await process.wait()
        except TimeoutError as late:
            raise ControlError("the watchdog has not healed everything yet") from late

    async def take(self, order: Order, after: Callable[[], None] | None = None) -> WatchdogLease:
        """Put a fault in force; it heals by itself ``ttl_seconds`` after the last renewal. Raises `ControlError`."""
        number = next(self._numbers)
        await self.command(Take(lease=number, order=order, ttl_seconds=self.ttl_seconds))
        return WatchdogLease(self, number, after)

    async def command(self, command: Command) -> None:
        """Have one command done. Raises `ControlError` with what the watchdog says."""
        # Whoever asked may be cancelled meanwhile: the answer is read all the same, or it would answer the next one.
        answer = await asyncio.shield(asyncio.ensure_future(self._exchange(command)))
        if answer.error:
            raise ControlError(answer.error)

    async def _exchange(self, command: Command) -> Answer:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return Answer(error="the watchdog does not run")
        async with self._talking:
            try:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    process.stdin.write(msgspec.json.encode(command) + b"\n")
                    await process.stdin.drain()
                    line = await process.stdout.readline()
                return msgspec.json.decode(line, type=Answer)
            except (TimeoutError, OSError, msgspec.DecodeError) as error:
                return Answer(error=f"the watchdog does not answer ({type(error).__name__})")

"""
The watchdog's own process: it takes faults, and heals each when its lease ends or whoever ordered it is gone.

It reads commands from its standard input, one a line, and answers each with a line. The end of its input means that
the runner has died, however that happened: everything is healed at once. A runner that lives and does not renew a lease
in time loses it. The process belongs to no terminal and to no other process's life.
"""

import asyncio
import signal
import sys

import msgspec

from chaos.errors import ChaosError
from chaos.watchdog_orders import Order, Weaken

LINE_BYTES_MAX = 64 * 1024
HEAL_TRIES = 20
HEAL_PAUSE_SECONDS = 0.5


class Take(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="take"):
    """Put a fault in force for ``ttl_seconds``."""

    lease: int
    order: Order
    ttl_seconds: float


class Renew(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="renew"):
    """Keep it for ``ttl_seconds`` from now."""

    lease: int
    ttl_seconds: float


class Heal(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="heal"):
    """End it."""

    lease: int


Command = Take | Renew | Heal


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a command; ``error`` is empty when it was done."""

    error: str = ""


class Watch:
    """The leases in force."""

    def __init__(self) -> None:
        self._orders: dict[int, Order] = {}
        self._timers: dict[int, asyncio.Task[None]] = {}
        self._pulses: dict[int, asyncio.Task[None]] = {}

    async def obey(self, command: Command) -> Answer:
        """Do what a command says."""
        try:
            match command:
                case Take():
                    await asyncio.to_thread(command.order.take)
                    self._orders[command.lease] = command.order
                    if isinstance(command.order, Weaken):
                        pulse = asyncio.ensure_future(command.order.pulse())
                        self._pulses[command.lease] = pulse
                    self._arm(command.lease, command.ttl_seconds)
                case Renew():
                    if command.lease not in self._orders:
                        return Answer(error="this fault has healed already")
                    self._arm(command.lease, command.ttl_seconds)
                case Heal():
                    await self._heal(command.lease)
        except (ChaosError, OSError) as error:
            return Answer(error=str(error) or type(error).__name__)
        return Answer()

    async def heal_all(self) -> None:
        """Heal everything, newest first, trying again what fails."""
        for lease in sorted(self._orders, reverse=True):
            await self._heal_at_last(lease)

    def _arm(self, lease: int, seconds: float) -> None:
        self._disarm(lease)
        self._timers[lease] = asyncio.ensure_future(self._heal_after(lease, seconds))

    def _disarm(self, lease: int) -> None:
        timer = self._timers.pop(lease, None)
        if timer is not None and timer is not asyncio.current_task():
            timer.cancel()

    async def _heal_after(self, lease: int, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._heal_at_last(lease)

    async def _heal_at_last(self, lease: int) -> None:
        for _ in range(HEAL_TRIES):
            try:
                await self._heal(lease)
            except (ChaosError, OSError):
                await asyncio.sleep(HEAL_PAUSE_SECONDS)
            else:
                return

    async def _heal(self, lease: int) -> None:
        pulse = self._pulses.pop(lease, None)
        if pulse is not None:
            pulse.cancel()
            await asyncio.gather(pulse, return_exceptions=True)
        order = self._orders.get(lease)
        if order is not None:
            await asyncio.to_thread(order.heal)
            self._orders.pop(lease, None)
        self._disarm(lease)


async def _watch() -> None:
    loop = asyncio.get_running_loop()
    # Ctrl-C and a closing terminal are the runner's business: it heals, or is gone, and then we do.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    watch = Watch()
    decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
    try:
        while line := await reader.readline():
            answer = await watch.obey(decoder.decode(line))
            sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
            sys.stdout.buffer.flush()
    except (ValueError, OSError):
        # A line that nobody of ours writes, or a runner that reads no answer any more: as if it were gone.
        return
    finally:
        await watch.heal_all()


def main() -> None:
    """Watch until the runner is gone and everything is healed."""
    asyncio.run(_watch())

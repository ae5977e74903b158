"""
One event loop for a whole world: its time jumps to the next timer, what is ready at once runs in an order of the seed.

Every callback belongs to the *life* in whose context it was made: one process of one node, from its start to its death.
A life that was killed never runs again, not even its ``finally`` blocks; one that is frozen runs when it is thawed, as
under SIGSTOP. What belongs to no life is the world itself: wires, faults, customers.
"""
# ruff: noqa: SLF001 - a loop of another time needs what asyncio's own keeps to itself

import asyncio
import contextlib
import contextvars
import heapq
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar, cast

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
_SLICE_MAX = 2_000_000
T = TypeVar("T")


class Stuck(Exception):
    """The world spins at one moment of virtual time."""


class Life:
    """One process of one node."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self.held: list[asyncio.Handle] = []
        self.context = contextvars.copy_context()
        self.context.run(_LIFE.set, self)

    def __repr__(self) -> str:
        """Tell whose it is."""
        return f"<life of {self.name}>"


_LIFE: contextvars.ContextVar[Life | None] = contextvars.ContextVar("life", default=None)


class VirtualLoop(asyncio.SelectorEventLoop):
    """
    An event loop under virtual time, in which nothing is parallel and every run of a seed is the same.

    Args:
        rng: Orders what is ready at once.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._now = 0.0
        self._steps_here = 0
        self._over = False
        # What a killed life was doing is kept to the end: collected, it would run its ``finally`` blocks.
        self._unfinished: set[asyncio.Task[Any]] = set()
        super().__init__(selectors.SelectSelector())

    def time(self) -> float:
        """Tell the virtual time."""
        return self._now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run a blocking call here and now: nothing may happen at the same time."""
        del executor
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits
            done.set_exception(error)
        return done

    def start(self, life: Life | None, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start work as a part of a life, or of the world."""
        context = life.context if life is not None else contextvars.Context()
        return self.create_task(work, context=context)

    def create_task(self, coro: Any, **named: Any) -> asyncio.Task[Any]:
        """Make a task, and keep it until it is done."""
        task: asyncio.Task[Any] = super().create_task(coro, **named)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        return task

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        """Have something called, unless the world is over."""
        if self._over:
            return asyncio.Handle(callback, args, self)
        return super().call_soon(callback, *args, context=context)

    def end(self) -> None:
        """End the world: nothing is called any more, and what was going on is thrown away."""
        self._over = True
        cast("Any", self)._ready.clear()
        cast("Any", self)._scheduled.clear()
        for task in self._unfinished:
            cast("Any", task)._log_destroy_pending = False
            with contextlib.suppress(BaseException):
                cast("Any", task.get_coro()).close()
        self._unfinished.clear()

    def thaw(self, life: Life) -> None:
        """Let a frozen life go on with what came up meanwhile."""
        life.frozen = False
        held, life.held = life.held, []
        cast("Any", self)._ready.extend(held)

    def _write_to_self(self) -> None:
        # Nobody waits in a selector.
        pass

    def _run_once(self) -> None:
        loop = cast("Any", self)
        ready, scheduled = loop._ready, loop._scheduled
        if not ready:
            self._move_on(scheduled)
        while scheduled and scheduled[0]._when <= self._now:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False
            ready.append(timer)
        batch = list(ready)
        ready.clear()
        if len(batch) > 1:
            self._rng.shuffle(batch)
        self._steps_here += len(batch)
        if self._steps_here > _SLICE_MAX:
            raise Stuck(f"{self._steps_here} steps without time moving")
        for handle in batch:
            self._run(handle)

    def _move_on(self, scheduled: list[Any]) -> None:
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not scheduled:
            raise Stuck("nothing will ever happen again")
        if scheduled[0]._when > self._now:
            self._now = scheduled[0]._when
            self._steps_here = 0

    @staticmethod
    def _run(handle: Any) -> None:
        if handle._cancelled:
            return
        life = handle._context.get(_LIFE)
        if life is not None:
            if not life.alive:
                return
            if life.frozen:
                life.held.append(handle)
                return
        handle._run()


def run_virtually(rng: Random, main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """
    Run a world to its end.

    Raises:
        Stuck: It never ends.
    """
    loop = VirtualLoop(rng)
    # What died with a life is left lying about, as it is in a world of processes.
    loop.set_exception_handler(lambda *_: None)
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.end()
        asyncio.set_event_loop(None)
        loop.close()


class NodeClock:
    """
    The clocks of one machine in a virtual world.

    Args:
        loop: Where true time is.
        name: Of the machine.
        skew: How far its wall clock is off.
        drift: How much faster its clocks run than true time, as a fraction.
    """

    def __init__(
        self, loop: VirtualLoop, name: str, *, skew: timedelta = timedelta(0), drift: float = 0.0
    ) -> None:
        self._loop = loop
        self._name = name
        self.drift = drift
        self._boots = 1
        self._booted_at = -1000.0
        self.skew = skew

    def now(self) -> datetime:
        """Tell the wall-clock time, as far as this machine knows."""
        return START + self.skew + timedelta(seconds=self._loop.time() * (1 + self.drift))

    def boot_seconds(self) -> float:
        """Tell seconds since this machine started."""
        return (self._loop.time() - self._booted_at) * (1 + self.drift)

    def boot_id(self) -> str:
        """Tell which start that was."""
        return f"{self._name}-{self._boots}"

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds / (1 + self.drift))

    def boot(self) -> None:
        """Start the machine anew."""
        self._boots += 1
        self._booted_at = self._loop.time()

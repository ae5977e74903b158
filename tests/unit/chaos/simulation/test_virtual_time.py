"""Time that jumps, and lives that die and freeze as processes do."""

import asyncio
from random import Random

import pytest

from chaos.simulation.virtual_time import (
    START,
    Life,
    NodeClock,
    Stuck,
    VirtualLoop,
    run_virtually,
)


def test_time_jumps_to_what_is_next() -> None:
    """Time jumps to what is next."""

    async def main(loop: VirtualLoop) -> float:
        await asyncio.sleep(86_400)
        return loop.time()

    assert run_virtually(Random(1), main) == 86_400


def test_a_killed_life_does_nothing_more_not_even_at_the_end_of_a_block() -> None:
    """A killed life does nothing more not even at the end of a block."""
    done: list[str] = []

    async def work() -> None:
        try:
            done.append("begun")
            await asyncio.sleep(10)
            done.append("finished")
        finally:
            done.append("cleaned up")

    async def main(loop: VirtualLoop) -> list[str]:
        life = Life("node")
        loop.start(life, work())
        await asyncio.sleep(1)
        life.alive = False
        await asyncio.sleep(100)
        return list(done)

    assert run_virtually(Random(1), main) == ["begun"]


def test_tasks_of_a_life_belong_to_it() -> None:
    """Tasks of a life belong to it."""
    done: list[str] = []

    async def child() -> None:
        await asyncio.sleep(2)
        done.append("child")

    async def main(loop: VirtualLoop) -> list[str]:
        async def work() -> None:
            asyncio.create_task(child())  # noqa: RUF006 - the loop keeps it
            await asyncio.sleep(0)

        life = Life("node")
        await loop.start(life, work())
        life.alive = False
        await asyncio.sleep(5)
        return done

    assert run_virtually(Random(1), main) == []


def test_a_frozen_life_goes_on_when_it_is_thawed() -> None:
    """A frozen life goes on when it is thawed."""

    async def main(loop: VirtualLoop) -> float:
        life = Life("node")
        woken: list[float] = []

        async def work() -> None:
            await asyncio.sleep(1)
            woken.append(loop.time())

        loop.start(life, work())
        await asyncio.sleep(0.5)
        life.frozen = True
        await asyncio.sleep(9.5)
        assert not woken
        loop.thaw(life)
        await asyncio.sleep(1)
        return woken[0]

    assert run_virtually(Random(1), main) == 10.0


def test_blocking_calls_run_where_they_are_made() -> None:
    """Blocking calls run where they are made."""

    async def main(_: VirtualLoop) -> list[object]:
        async def fail() -> object:
            with pytest.raises(ZeroDivisionError):
                await asyncio.to_thread(lambda: 1 // 0)
            return "failed"

        return [await asyncio.to_thread(lambda: 7), await fail()]

    assert run_virtually(Random(1), main) == [7, "failed"]


def test_what_is_ready_at_once_runs_in_an_order_of_the_seed() -> None:
    """What is ready at once runs in an order of the seed."""

    def order(seed: int) -> list[int]:
        async def main(_: VirtualLoop) -> list[int]:
            ran: list[int] = []

            async def one(number: int) -> None:
                await asyncio.sleep(1)
                ran.append(number)

            await asyncio.gather(*(one(number) for number in range(10)))
            return ran

        return run_virtually(Random(seed), main)

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(5)}) > 1


def test_a_world_that_waits_for_nothing_is_stuck() -> None:
    """A world that waits for nothing is stuck."""

    async def main(loop: VirtualLoop) -> None:
        await loop.create_future()

    with pytest.raises(Stuck):
        run_virtually(Random(1), main)


def test_a_machine_has_clocks_of_its_own() -> None:
    """A machine has clocks of its own."""

    async def main(loop: VirtualLoop) -> None:
        clock = NodeClock(loop, "node", drift=0.01)
        before, boot = clock.boot_seconds(), clock.boot_id()
        await clock.sleep(100)
        assert clock.boot_seconds() - before == pytest.approx(100)
        assert loop.time() == pytest.approx(100 / 1.01)
        assert (clock.now() - START).total_seconds() == pytest.approx(100)
        clock.boot()
        assert clock.boot_id() != boot
        assert clock.boot_seconds() == pytest.approx(0)

    run_virtually(Random(1), main)

"""Running worlds: one, or many on all processors."""

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import structlog

from chaos.simulation.checkers import judge
from chaos.simulation.plan import Kind, Plan, draw_plan
from chaos.simulation.utility import Blueprint
from chaos.simulation.virtual_time import START, Stuck, VirtualLoop, run_virtually
from chaos.simulation.world import World

FAST_DISK: Final = Path("/dev/shm")  # noqa: S108 - a file system in memory, not a name
DEFAULT_SECONDS: Final = 20.0


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """
    What became of a world: what is wrong, the story, and figures.

    ``mark`` stands for all that happened: the same plan has the same, or simulation is not repeatable. ``virtual`` are
    its seconds, ``real`` those it took.
    """

    plan: Plan
    wrong: list[str]
    story: list[str]
    mark: str
    payments: int
    looks: int
    calls: int
    virtual: float
    real: float


class _DayBefore:
    """The clock that a blueprint is made by."""

    def now(self) -> object:
        return START - timedelta(days=1)

    def boot_seconds(self) -> float:
        return 0.0

    def boot_id(self) -> str:
        return "before"

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody waits {seconds} s for a blueprint")


def live_through(plan: Plan) -> Judged:
    """Live through a world and judge it."""
    begun = time.process_time()
    with quiet(), tempfile.TemporaryDirectory(dir=_work_folder()) as folder:

        async def main(loop: VirtualLoop) -> tuple[World, list[str], float]:
            world = World(loop, plan, _blueprint(), Path(folder))
            await world.live()
            return world, judge(world), loop.time()

        try:
            world, wrong, virtual = run_virtually(Random(f"order {plan.seed}"), main)
        except Stuck as stuck:
            return _stuck(plan, stuck, time.process_time() - begun)
    return Judged(
        plan=plan,
        wrong=wrong,
        story=world.facts.story,
        mark=world.facts.mark(),
        payments=len(world.facts.told),
        looks=len(world.facts.shown),
        calls=world.network.calls,
        virtual=virtual,
        real=time.process_time() - begun,
    )


def _stuck(plan: Plan, stuck: Stuck, real: float) -> Judged:
    return Judged(
        plan=plan,
        wrong=[f"stuck: {stuck}"],
        story=[],
        mark="",
        payments=0,
        looks=0,
        calls=0,
        virtual=0.0,
        real=real,
    )


def live_through_seed(
    seed: int, seconds: float = DEFAULT_SECONDS, only: Sequence[Kind] = ()
) -> Judged:
    """Live through the world of a seed; ``only`` as in `draw_plan`."""
    return live_through(draw_plan(seed, seconds=seconds, only=only))


def live_through_many(first: int, count: int, *, seconds: float, jobs: int) -> Iterator[Judged]:
    """Live through the worlds of many seeds, as they end."""
    if jobs == 1:
        yield from (live_through_seed(seed, seconds) for seed in range(first, first + count))
        return
    with ProcessPoolExecutor(jobs, max_tasks_per_child=200) as pool:
        yield from pool.map(
            live_through_seed, range(first, first + count), [seconds] * count, chunksize=1
        )


@cache
def _work_folder() -> Path | None:
    return FAST_DISK if FAST_DISK.is_dir() else None


@cache
def _blueprint() -> Blueprint:
    """Make the utility that all worlds of this process begin with."""
    holder = tempfile.TemporaryDirectory(dir=_work_folder(), prefix="blueprint-")
    _KEPT.append(holder)
    return Blueprint(Path(holder.name), _DayBefore())  # type: ignore[arg-type]


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the product's log to itself for as long as a world lives: its faults are wanted."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        cache_logger_on_first_use=False,
    )
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        structlog.configure(**before)

"""``simulate``: living through worlds, telling what went wrong, hunting planted bugs."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from chaos.errors import ChaosError
from chaos.simulation.minimize import minimized
from chaos.simulation.mutants import MUTANTS, SEEDS_MAX, Caught, hunt
from chaos.simulation.plan import Plan, draw_plan
from chaos.simulation.run import Judged, live_through, live_through_many

Tell = Callable[[str], None]

_TOLD_MAX = 8
_EVERY_SECONDS = 10.0


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a run of many worlds came to; ``failed`` are the seeds that went wrong, with what was.

    ``cpu_seconds`` is what the worlds took of processors, ``virtual_seconds`` what passed in them.
    """

    first: int
    worlds: int
    failed: dict[int, list[str]]
    payments: int
    looks: int
    calls: int
    virtual_seconds: float
    cpu_seconds: float


def run_many(first: int, count: int, *, seconds: float, jobs: int, tell: Tell) -> Figures:
    """Live through the worlds of many seeds, and tell of each that goes wrong at once."""
    failed: dict[int, list[str]] = {}
    payments = looks = calls = 0
    virtual = cpu = 0.0
    told_at = time.monotonic()
    for number, judged in enumerate(
        live_through_many(first, count, seconds=seconds, jobs=jobs), start=1
    ):
        payments, looks, calls = (
            payments + judged.payments,
            looks + judged.looks,
            calls + judged.calls,
        )
        virtual, cpu = virtual + judged.virtual, cpu + judged.real
        if judged.wrong:
            failed[judged.plan.seed] = judged.wrong
            tell(f"seed {judged.plan.seed} went wrong")
            tell_wrong(judged, tell)
        if time.monotonic() - told_at > _EVERY_SECONDS:
            told_at = time.monotonic()
            tell(f"{number} of {count} worlds, {len(failed)} went wrong")
    return Figures(
        first=first,
        worlds=count,
        failed=failed,
        payments=payments,
        looks=looks,
        calls=calls,
        virtual_seconds=round(virtual, 1),
        cpu_seconds=round(cpu, 1),
    )


def tell_figures(figures: Figures, tell: Tell) -> None:
    """Tell what a run came to."""
    per_second = figures.worlds / figures.cpu_seconds if figures.cpu_seconds else 0.0
    tell(
        f"{figures.worlds:,} worlds, {len(figures.failed)} went wrong; {figures.virtual_seconds:,.0f} s lived in"
        f" {figures.cpu_seconds:,.0f} s of processor time, {per_second:.2f} worlds a second and core"
    )
    tell(
        f"{figures.payments:,} receipts, {figures.looks:,} pages and {figures.calls:,} calls between nodes were checked"
    )
    for seed in figures.failed:
        tell(f"again: ./ridethrough simulate --seed {seed} --minimize")


def tell_wrong(judged: Judged, tell: Tell) -> None:
    """Tell what was wrong with a world."""
    for sentence in judged.wrong[:_TOLD_MAX]:
        tell(f"  {sentence}")
    if len(judged.wrong) > _TOLD_MAX:
        tell(f"  and {len(judged.wrong) - _TOLD_MAX} more")


def read_plan(path: Path) -> Plan:
    """
    Read a plan that was kept.

    Raises:
        ChaosError: It is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Plan)
    except (OSError, msgspec.DecodeError) as error:
        raise ChaosError(f"{path} is not a plan: {error}") from error


def tell_world(plan: Plan, *, minimize: bool, tell: Tell) -> Judged:
    """Live through one world and tell its story; where it goes wrong, that of the smallest one that still does."""
    judged = live_through(plan)
    if judged.wrong and minimize:
        kinds = _kinds(judged)
        small = minimized(plan, lambda smaller: bool(kinds & _kinds(live_through(smaller))))
        tell(f"{len(plan.events)} faults in {plan.seconds:g} s, {len(small.events)} of them needed")
        judged = live_through(small)
    for line in judged.story:
        tell(line)
    tell("all is well" if not judged.wrong else "wrong:")
    tell_wrong(judged, tell)
    tell(f"{judged.virtual:.1f} s, {judged.real:.2f} s of processor time, mark {judged.mark}")
    return judged


def _kinds(judged: Judged) -> set[str]:
    """Tell which checkers complained."""
    return {sentence.partition(":")[0] for sentence in judged.wrong}


def run_mutants(*, first: int, seconds: float, jobs: int, tell: Tell) -> list[Caught]:
    """Hunt every planted bug; returns those that got away."""
    hunting = partial(hunt, first=first, seeds=SEEDS_MAX, seconds=seconds)
    with ProcessPoolExecutor(jobs) as pool:
        missed = []
        for caught in pool.map(hunting, MUTANTS):
            if caught.seed < 0:
                missed.append(caught)
                tell(f"GOT AWAY  {caught.mutant}: {caught.tried} worlds went well")
            else:
                tell(f"caught    {caught.mutant}: seed {caught.seed}, {caught.wrong}")
    return missed


def plan_of(seed: int, seconds: float) -> Plan:
    """Draw the plan of a seed."""
    return draw_plan(seed, seconds=seconds)


def processors() -> int:
    """Tell how many processors this process may use."""
    return len(os.sched_getaffinity(0))

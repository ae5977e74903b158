"""
What a drill is: data, and plain functions.

A drill has what an experiment of the Chaos Toolkit has: a steady state, a method of steps with pauses before them,
probes, and what undoes it. Two things are other: each fault is a *lease* that ends by itself, and whether the drill
passed is judged from its customers' histories and the core's books, not from the steady state alone.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from chaos.drills.stage import Stage
from chaos.fleet_file import FleetFile
from chaos.history import FaultFacts, History, StatusSample
from chaos.invariants import Invariant

STEADY_LAG_SECONDS_MAX = 5.0
FleetKind = Literal["plain", "postgresql", "redis", "small disk", "wrong clock"]


class Target(msgspec.Struct, frozen=True):
    """One thing that a drill touches, and what it does to it, as a dry run tells it."""

    what: str
    fate: str


class Lease(Protocol):
    """
    A fault in force.

    It ends by itself when nobody renews it in time, or when the process that took it is gone.
    """

    async def renew(self) -> None:
        """Keep it in force. Raises `ControlError` when it has ended meanwhile."""
        ...

    async def heal(self) -> None:
        """End it; safe to repeat. Raises `ControlError` when that cannot be done."""
        ...


class Fault(Protocol):
    """One way to break something: a frozen structure that says of what, and takes a lease of it."""

    def targets(self, fleet: FleetFile) -> list[Target]:
        """List what it touches, without touching it."""
        ...

    async def take(self, stage: Stage) -> Lease:
        """Put it in force; returns when it certainly is. Raises `ControlError`."""
        ...


class Step(msgspec.Struct, frozen=True):
    """
    One fault of a drill.

    ``after`` is the share of the hold that passes before it is taken. ``to_the_end``: it is healed when the others
    are, the core answers and nothing waits any more.
    """

    fault: Fault
    after: float = 0.0
    to_the_end: bool = False


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which edges a fault concerns, by their number in the fleet, from 0; ``None`` for every one.

    ``without_core``: they lose the core, or what they need to work with it, and say `degraded`. ``away``: they are
    broken themselves, and customers have to turn to another.
    """

    core_silent: bool = False
    without_core: tuple[int, ...] | None = ()
    away: tuple[int, ...] = ()


# Why a fleet is not well; empty when it is.
Check = Callable[[StatusSample], str]
# Why a drill has to end now; empty when it may go on. Sees what was seen so far, and what time it is.
Abort = Callable[[History, datetime], str]


def is_normal(sample: StatusSample) -> str:
    """Tell why an edge is not normal."""
    if not sample.mode:
        return f"{sample.edge} does not answer"
    return "" if sample.mode == "normal" else f"{sample.edge} is {sample.mode}: {sample.reason}"


def nothing_waits(sample: StatusSample) -> str:
    """Tell how many payments wait at an edge."""
    return f"{sample.edge} has {sample.pending} payments waiting" if sample.pending else ""


def is_fresh(sample: StatusSample) -> str:
    """Tell how old an edge's data is, when it is too old."""
    lag_seconds = sample.lag_seconds
    if not sample.mode or (lag_seconds is not None and lag_seconds <= STEADY_LAG_SECONDS_MAX):
        return ""
    return f"{sample.edge} shows data {lag_seconds} s old"


STEADY_STATE: tuple[Check, ...] = (is_normal, nothing_waits, is_fresh)


class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """
    A drill of the catalogue.

    ``did`` begins the report's first sentence ("We killed the core"), ``customers`` says what they should notice.
    The ``method`` is gone through ``rounds`` times within the hold, each time healed for ``pause_seconds``.
    ``prepare`` is run before any traffic; ``recovering`` are faults that are taken when the others are healed and the
    core answers, and last until nothing waits any more. ``needs`` name what a machine must have (see
    `chaos.drills.needs`). ``fleet`` is the kind it is run on; ``own_fleet``: not on one that somebody else runs.
    ``spoils``: the fleet is not used for another drill afterwards. ``on_trial``: it has not yet been seen to hold from
    its beginning to its end, so `--all` leaves it out.
    """

    name: str
    title: str
    purpose: str
    did: str
    customers: str
    recovery: str
    method: tuple[Step, ...]
    places: Places
    invariants: tuple[Invariant, ...]
    aborts: tuple[Abort, ...]
    steady_state: tuple[Check, ...] = STEADY_STATE
    began: str = "Fault begun"
    healing: str = "Healing begun"
    healed: str = "Healed"
    prepare: Callable[[Stage], Awaitable[None]] | None = None
    recovering: tuple[Fault, ...] = ()
    rounds: int = 1
    pause_seconds: float = 0.0
    needs: tuple[str, ...] = ()
    edges_min: int = 1
    fleet: FleetKind = "plain"
    own_fleet: bool = False
    spoils: bool = False
    on_trial: bool = False

    def facts(self, edges: list[str], returns_max: int = 0) -> FaultFacts:
        """Tell what the verdicts depend on, for a fleet of these edges."""
        places = self.places
        numbers = range(len(edges)) if places.without_core is None else places.without_core
        return FaultFacts(
            core_silent=places.core_silent,
            without_core=[edges[number] for number in numbers],
            away=[edges[number] for number in places.away],
            returns_max=returns_max,
            began=self.began,
            healing=self.healing,
            healed=self.healed,
        )

    def targets(self, fleet: FleetFile) -> list[Target]:
        """List everything that the drill touches in this fleet; nothing is touched."""
        faults = [*(step.fault for step in self.method), *self.recovering]
        return [target for fault in faults for target in fault.targets(fleet)]

"""
What goes wrong in a world, and when: drawn from a seed before it begins, to be told, cut down and run again.

Swarm testing (Groce et al., "Swarm Testing", ISSTA 2012): each world has only some kinds of faults, because a world
with all of them hides what only a few in a row bring about.
"""

from collections.abc import Sequence
from random import Random
from typing import Final, Literal

import msgspec

from chaos.simulation.utility import EDGES

Kind = Literal[
    "core killed",
    "core frozen",
    "core slow",
    "core fails",
    "core disk fails",
    "core backed up",
    "core restored",
    "wire bad",
    "wire cut",
    "wire cut one way",
    "siblings apart",
    "agent killed",
    "applier killed",
    "edge killed",
    "edge frozen",
    "edge disk fails",
    "edge disk slow",
    "edge power lost",
    "edge disk lost",
    "wall clock jumps",
    "password changed",
]

_LONG: Final[frozenset[Kind]] = frozenset({"core killed", "wire cut", "siblings apart"})
_ONCE: Final[frozenset[Kind]] = frozenset({"core restored", "edge disk lost"})
KINDS: Final[tuple[Kind, ...]] = Kind.__args__  # type: ignore[attr-defined]
_KIND_CHANCE: Final = 0.3
_EVENT_PAUSE_SECONDS: Final = 2.5


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """
    One fault: when it begins (true seconds), for how long, where, and how bad (0 to 1, what that means is its kind's).

    ``other`` is the other end of a wire.
    """

    at: float
    kind: Kind
    seconds: float
    where: str
    other: str
    badness: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """
    A world: its seed, how long faults go on, how busy customers are (mean seconds between two acts), clocks.

    ``skews`` are the seconds by which the wall clocks of the core and the edges are off, ``drifts`` how much faster
    they run, as a fraction.
    """

    seed: int
    seconds: float
    pause: float
    skews: dict[str, float]
    drifts: dict[str, float]
    events: list[Event]


def draw_plan(seed: int, *, seconds: float, only: Sequence[Kind] = ()) -> Plan:
    """Draw a world from a seed; ``only`` are the kinds of faults that it has, where they are not to be drawn."""
    rng = Random(f"plan {seed}")
    drawn = [kind for kind in KINDS if rng.random() < _KIND_CHANCE]
    kinds = [*only] or drawn
    nodes = ("core", *EDGES)
    skewed = rng.random() < 0.3  # noqa: PLR2004 - most machines keep time
    return Plan(
        seed=seed,
        seconds=seconds,
        pause=rng.choice((0.5, 1.0, 2.0)),
        skews={node: rng.uniform(-7200, 7200) if skewed else 0.0 for node in nodes},
        drifts={node: rng.uniform(-1e-4, 1e-4) for node in nodes},
        events=_events(rng, kinds, seconds),
    )


def _events(rng: Random, kinds: list[Kind], seconds: float) -> list[Event]:
    events: list[Event] = []
    used: set[Kind] = set()
    at = 2.0 + rng.expovariate(1 / _EVENT_PAUSE_SECONDS)
    if "core restored" in kinds:
        # What is not backed up cannot be restored; and two holders of a payment are only ever lost one at a time.
        events.append(_event(rng, rng.uniform(0.5, at), "core backed up"))
        kinds = [kind for kind in kinds if kind != "edge disk lost"]
    while kinds and at < seconds:
        kind = rng.choice(kinds)
        if kind not in used or kind not in _ONCE:
            events.append(_event(rng, at, kind))
            used.add(kind)
        at += rng.expovariate(1 / _EVENT_PAUSE_SECONDS)
    return sorted(events, key=lambda event: event.at)


def _event(rng: Random, at: float, kind: Kind) -> Event:
    where = rng.choice(EDGES)
    other = rng.choice([node for node in ("core", *EDGES) if node != where])
    if kind == "siblings apart":
        other = rng.choice([node for node in EDGES if node != where])
    return Event(
        at=round(at, 3),
        kind=kind,
        seconds=round(rng.expovariate(1 / (6.0 if kind in _LONG else 2.0)), 3),
        where=where,
        other=other,
        badness=round(rng.random(), 3),
    )

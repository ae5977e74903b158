"""
From a commit at the core to readers of an edge, against Redis replication at the same rate.

Ours runs from the moment when the core's transaction is durable to the first look at the edge's snapshot that has it,
over HTTP, with frames hashed and applied. The reference is the time from the acknowledgement of a write by a Redis to
the first look at its replica that has it. Both are looked at in the same loop.
"""

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from cache_sync.clock import SystemClock
from cache_sync.replica_reader import ReplicaReader
from chaos.bench.committing_core import Committed, Plan
from chaos.bench.figures import Figure, Goal, Result, percentile
from chaos.bench.fleet import BenchFleet
from chaos.bench.redis_pair import counter, redis_pair, write_steadily
from chaos.bench.setting import Setting
from chaos.errors import FleetError
from chaos.process import FleetProcess, python_module

LOOK_SECONDS: Final = 0.0002
_PATIENCE_SECONDS: Final = 60.0
_NS_A_MS: Final = 1e6


def bench_visible(setting: Setting) -> Result:
    """Measure both at the same rate, one after the other."""
    sizes = setting.sizes
    commits = max(20, round(sizes.seconds * 2 * sizes.commits_a_second))
    ours = _edge_delays(setting, commits)
    theirs = _redis_delays(setting, commits)
    return Result(
        bench="visible",
        figures=[
            Figure(
                name=f"commit to visible, {name}",
                unit="ms",
                ours=percentile(ours, share),
                reference=percentile(theirs, share),
                compared_with="Redis replication",
                goal=goal,
            )
            for name, share, goal in (
                ("median", 0.5, None),
                ("99th percentile", 0.99, Goal("at most", 2.0)),
            )
        ],
        notes=[f"{commits} commits of one document, {sizes.commits_a_second} a second"],
    )


def delays(done: Sequence[tuple[int, int]], seen: Sequence[tuple[int, int]]) -> list[float]:
    """
    Return for each number that was done (with its time, ns) the ms until it was first seen, or a later one was.

    Raises:
        FleetError: One was never seen.
    """
    found, index = [], 0
    for number, done_ns in done:
        while index < len(seen) and seen[index][0] < number:
            index += 1
        if index == len(seen):
            raise FleetError(f"commit {number} never became visible")
        found.append(max(0, seen[index][1] - done_ns) / _NS_A_MS)
    return found


def watch(look: Callable[[], int], ended: Callable[[int], bool]) -> list[tuple[int, int]]:
    """Look again and again and note every new number with the time of the look, until the end is seen."""
    seen: list[tuple[int, int]] = []
    newest, until = -1, time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        number = look()
        if number != newest:
            seen.append((number, time.monotonic_ns()))
            newest = number
            until = time.monotonic() + _PATIENCE_SECONDS
            if ended(number):
                return seen
        time.sleep(LOOK_SECONDS)
    raise FleetError("nothing new became visible any more")


def committing_core(made: BenchFleet, rate: int, commits: int, notes: Path) -> FleetProcess:
    """Put a core that commits by itself in the place of the fleet's own."""
    fleet = made.fleet
    plan = Plan(
        data=str(fleet.core_data),
        port=fleet.plan.core_port,
        rate=rate,
        commits=commits,
        accounts=made.accounts,
        notes=str(notes),
    )
    argument = msgspec.json.encode(plan).decode()
    fleet.core = FleetProcess(
        "core",
        python_module("chaos.bench.committing_core", argument),
        fleet.data / "logs" / "core.log",
    )
    return fleet.core


def read_notes(notes: Path, core: FleetProcess) -> list[Committed]:
    """Wait for what a committing core has noted."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while not notes.exists():
        if time.monotonic() > until or not core.alive:
            raise FleetError(f"the core did not finish its commits:\n{core.log_tail()}")
        time.sleep(0.05)
    return msgspec.json.decode(notes.read_bytes(), type=list[Committed])


def _edge_delays(setting: Setting, commits: int) -> list[float]:
    made = BenchFleet(setting.part("fleet"), setting.sizes.fleet_accounts, setting.tell)
    (name,) = made.fleet.edges
    made.without_proxy(name)
    notes = setting.folder / "commits.json"
    core = committing_core(made, setting.sizes.commits_a_second, commits, notes)
    with made.running() as fleet:
        reader = ReplicaReader(fleet.edge_data(name) / "snapshot", clock=SystemClock())
        try:

            def look() -> int:
                with reader.read() as view:
                    return view.place[1]

            last = look() + commits
            core.send(signal.SIGUSR1)
            seen = watch(look, lambda number: number >= last)
        finally:
            reader.close()
        committed = read_notes(notes, core)
    return delays([(one.seq, one.done_ns) for one in committed], seen)


def _redis_delays(setting: Setting, commits: int) -> list[float]:
    with redis_pair(setting.part("redis")) as (primary, replica), counter(replica) as count:
        done: list[tuple[int, int]] = []
        writing = write_steadily(primary, setting.sizes.commits_a_second, commits, done)
        try:
            seen = watch(count.read, lambda number: number >= commits)
        finally:
            writing.join()
    return delays(done, seen)

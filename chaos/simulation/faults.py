"""What each kind of fault does to a world, and how it ends by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from chaos.simulation.network import Weather
from chaos.simulation.plan import Event, Kind
from chaos.simulation.utility import ACCOUNTS, email_of, verifier_of
from core_cis.importing.customers import set_password
from core_cis.store import Transaction

if TYPE_CHECKING:
    from chaos.simulation.world import World

Fault = Callable[["World", Event], Awaitable[None]]

_SLOW_SECONDS: Final = 2.0
_JUMP_SECONDS: Final = 14_400.0
_HALF: Final = 0.5


async def happen(world: "World", event: Event) -> None:
    """Wait for a fault's time, and let it happen."""
    await asyncio.sleep(event.at)
    world.facts.tell(
        world.loop.time(),
        f"-- {event.kind} ({event.where}, {event.other}, {event.seconds:.1f} s, {event.badness})",
    )
    await FAULTS[event.kind](world, event)


async def _last(world: "World", event: Event) -> None:
    """Wait for a fault's end; none outlasts the plan."""
    await asyncio.sleep(min(event.seconds, max(0.0, world.plan.seconds - world.loop.time())))


# The core


async def _core_killed(world: "World", event: Event) -> None:
    world.core.kill()
    await _last(world, event)
    if world.core.life is None:
        await world.core.start()


async def _core_frozen(world: "World", event: Event) -> None:
    world.core.freeze()
    await _last(world, event)
    world.core.thaw()


async def _core_slow(world: "World", event: Event) -> None:
    world.core.slow_seconds = _SLOW_SECONDS * event.badness
    await _last(world, event)
    world.core.slow_seconds = 0.0


async def _core_fails(world: "World", event: Event) -> None:
    world.core.fail_chance = event.badness
    await _last(world, event)
    world.core.fail_chance = 0.0


async def _core_disk_fails(world: "World", event: Event) -> None:
    world.core.disk_fail_chance = event.badness
    await _last(world, event)
    world.core.disk_fail_chance = 0.0


async def _core_backed_up(world: "World", _: Event) -> None:
    world.core.back_up()


async def _core_restored(world: "World", event: Event) -> None:
    core = world.core
    if not core.has_backup:
        return
    core.kill()
    await _last(world, event)
    # Somebody else may have started it meanwhile.
    core.kill()
    core.restore()
    world.restored = True
    core.raise_epoch()
    await core.start()


async def _password_changed(world: "World", event: Event) -> None:
    account_id = ACCOUNTS[int(event.badness * len(ACCOUNTS)) % len(ACCOUNTS)]
    password = f"changed at {event.at}"

    def change(tx: Transaction) -> None:
        set_password(tx, email_of(account_id), verifier_of(password))

    if await world.at_core(change):
        world.customers[account_id].forget(password)


# Wires


def _ways(event: Event) -> list[tuple[str, str]]:
    return [(event.where, event.other), (event.other, event.where)]


async def _wire_bad(world: "World", event: Event) -> None:
    bad = event.badness
    weather = Weather(
        delay=0.003 + bad / 3, lost=bad / 4, doubled=bad / 3, reset=bad / 4, garbled=bad / 20
    )
    for way in _ways(event):
        world.network.set_weather(*way, weather)
    await _last(world, event)
    for way in _ways(event):
        world.network.mend(*way)


async def _cut(world: "World", event: Event, ways: list[tuple[str, str]]) -> None:
    for way in ways:
        world.network.cut(*way)
    await _last(world, event)
    for way in ways:
        world.network.mend(*way)


async def _wire_cut(world: "World", event: Event) -> None:
    await _cut(world, event, _ways(event))


async def _wire_cut_one_way(world: "World", event: Event) -> None:
    await _cut(world, event, [_ways(event)[event.badness < _HALF]])


# Edges


async def _agent_killed(world: "World", event: Event) -> None:
    edge = world.edges[event.where]
    edge.kill_agent()
    await _last(world, event)
    await edge.start()


async def _applier_killed(world: "World", event: Event) -> None:
    edge = world.edges[event.where]
    edge.kill_applier()
    await _last(world, event)
    await edge.start()


async def _edge_killed(world: "World", event: Event) -> None:
    edge = world.edges[event.where]
    edge.kill()
    await _last(world, event)
    await edge.start()


async def _edge_power_lost(world: "World", event: Event) -> None:
    edge = world.edges[event.where]
    edge.lose_power()
    await _last(world, event)
    await edge.start()


async def _edge_disk_lost(world: "World", event: Event) -> None:
    edge = world.edges[event.where]
    edge.lose_disk()
    world.lost_disk = True
    await _last(world, event)
    await edge.start()


async def _edge_frozen(world: "World", event: Event) -> None:
    edge = world.edges[event.where]
    edge.freeze()
    await _last(world, event)
    edge.thaw()


async def _edge_disk_fails(world: "World", event: Event) -> None:
    disk = world.edges[event.where].disk
    disk.fail_chance = event.badness * _HALF
    await _last(world, event)
    disk.mend()


async def _edge_disk_slow(world: "World", event: Event) -> None:
    disk = world.edges[event.where].disk
    disk.sync_seconds = event.badness
    await _last(world, event)
    disk.mend()


async def _wall_clock_jumps(world: "World", event: Event) -> None:
    clock = world.edges[event.where].clock
    clock.skew += timedelta(seconds=_JUMP_SECONDS * (event.badness - _HALF))


FAULTS: Final[dict[Kind, Fault]] = {
    "core killed": _core_killed,
    "core frozen": _core_frozen,
    "core slow": _core_slow,
    "core fails": _core_fails,
    "core disk fails": _core_disk_fails,
    "core backed up": _core_backed_up,
    "core restored": _core_restored,
    "wire bad": _wire_bad,
    "wire cut": _wire_cut,
    "wire cut one way": _wire_cut_one_way,
    "siblings apart": _wire_cut,
    "agent killed": _agent_killed,
    "applier killed": _applier_killed,
    "edge killed": _edge_killed,
    "edge frozen": _edge_frozen,
    "edge disk fails": _edge_disk_fails,
    "edge disk slow": _edge_disk_slow,
    "edge power lost": _edge_power_lost,
    "edge disk lost": _edge_disk_lost,
    "wall clock jumps": _wall_clock_jumps,
    "password changed": _password_changed,
}

"""Faults of processes: the core or an edge killed or frozen, or one process of an edge."""

import asyncio
import signal

import msgspec

from chaos.customers import EdgeClient
from chaos.drills.drill import Lease, Target
from chaos.drills.stage import Place, Stage, edge_at, known_pid, name_at
from chaos.errors import ControlError
from chaos.fleet_file import FleetFile
from chaos.watchdog_orders import Freeze, Kill

PART_SECONDS_MAX = 30.0
_ASK_SECONDS_MAX = 2.0
_POLL_SECONDS = 0.1


def named(fleet: FleetFile, place: Place) -> str:
    """Name a process for a list of targets."""
    pid = known_pid(fleet, place)
    name = name_at(fleet, place)
    return f"{name} (process {pid})" if pid else name


def serving(stage: Stage, place: Place) -> int:
    """Find the process that serves now, the core's for None. Raises `ControlError` when there is none to break."""
    pid = stage.keeper.pid(name_at(stage.fleet, place))
    if not pid:
        raise ControlError(f"{name_at(stage.fleet, place)} is not running")
    return pid


class Killed(msgspec.Struct, frozen=True):
    """Kill the core, a whole edge or a service; healed, it is started again."""

    place: Place = None
    number: signal.Signals = signal.SIGKILL

    def targets(self, fleet: FleetFile) -> list[Target]:
        """Name the process."""
        all_of_it = " with all its processes" if isinstance(self.place, int) else ""
        return [Target(named(fleet, self.place), f"kill -{self.number}{all_of_it}, started again")]

    async def take(self, stage: Stage) -> Lease:
        """Kill it; returns when it is gone."""
        name = name_at(stage.fleet, self.place)
        order = Kill(
            pid=serving(stage, self.place),
            heal_url=stage.keeper.heal_url,
            number=int(self.number),
        )
        return await stage.watchdog.take(order, after=stage.keeper.after_kill(name))


class Frozen(msgspec.Struct, frozen=True):
    """Stop the core, a whole edge or a service where it stands; healed, it goes on as if nothing had been."""

    place: Place = None

    def targets(self, fleet: FleetFile) -> list[Target]:
        """Name the process."""
        return [Target(named(fleet, self.place), "SIGSTOP, then SIGCONT")]

    async def take(self, stage: Stage) -> Lease:
        """Stop it, an edge with everything under it."""
        order = Freeze(pid=serving(stage, self.place), family=isinstance(self.place, int))
        return await stage.watchdog.take(order)


class Healed:
    """The lease of what the product itself mends: there is nothing to end."""

    async def renew(self) -> None:
        """Do nothing."""

    async def heal(self) -> None:
        """Do nothing."""


class PartKilled(msgspec.Struct, frozen=True):
    """Kill one process of an edge by its name (``agent``, ``applier``); the edge puts another in its place."""

    place: int
    part: str

    def targets(self, fleet: FleetFile) -> list[Target]:
        """Name the process's owner."""
        name = edge_at(fleet, self.place).name
        return [Target(f"{name}: its {self.part}", "kill -9; the edge replaces it by itself")]

    async def take(self, stage: Stage) -> Lease:
        """Kill it once, as soon as the edge tells its process."""
        edge = stage.edges[self.place]
        until = asyncio.get_running_loop().time() + PART_SECONDS_MAX
        while not (pid := await self._find(edge, stage.fleet.core.operator_token)):
            if asyncio.get_running_loop().time() > until:
                raise ControlError(f"{edge.name} names no process {self.part}")
            await asyncio.sleep(_POLL_SECONDS)
        await stage.watchdog.take(Kill(pid=pid))
        return Healed()

    async def _find(self, edge: EdgeClient, token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        status = await edge.ask("GET", "/status", seconds=_ASK_SECONDS_MAX, headers=headers)
        listed = status.members.get("processes") or []
        return next((int(one["pid"]) for one in listed if one["name"] == self.part), 0)

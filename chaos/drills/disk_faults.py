"""Faults of an edge’s disk."""

from pathlib import Path

import msgspec

from chaos.drills.drill import Lease, Target
from chaos.drills.process_faults import named, serving
from chaos.drills.stage import Stage, edge_at
from chaos.fleet_file import FleetFile
from chaos.small_disk import SMALL_DISK_BYTES, seen_by
from chaos.watchdog_orders import Destroy, Fill, RefuseWrites


class WritesRefused(msgspec.Struct, frozen=True):
    """Every write to a file fails at an edge, as on a full or failing disk; what is on it can be read."""

    place: int

    def targets(self, fleet: FleetFile) -> list[Target]:
        """Name the edge."""
        return [Target(f"{edge_at(fleet, self.place).name}: its disk", "every write fails")]

    async def take(self, stage: Stage) -> Lease:
        """Let the writes of all its processes fail."""
        return await stage.watchdog.take(RefuseWrites(pid=serving(stage, self.place)))


class DiskFilled(msgspec.Struct, frozen=True):
    """The first edge's small disk is full to the last byte; healed, there is room again."""

    def targets(self, fleet: FleetFile) -> list[Target]:
        """Name the edge."""
        return [Target(f"{edge_at(fleet, 0).name}: its disk", "filled to the last byte")]

    async def take(self, stage: Stage) -> Lease:
        """Fill it, and nobody else's."""
        folder = seen_by(serving(stage, 0), Path(edge_at(stage.fleet, 0).data))
        order = Fill(file=str(folder / "ballast"), bytes_max=SMALL_DISK_BYTES)
        return await stage.watchdog.take(order)


class Destroyed(msgspec.Struct, frozen=True):
    """An edge is killed and its data folder deleted; healed, it is started with an empty disk."""

    place: int

    def targets(self, fleet: FleetFile) -> list[Target]:
        """Name the edge and its folder."""
        edge = edge_at(fleet, self.place)
        return [Target(f"{named(fleet, self.place)} and {edge.data or 'its disk'}", "destroyed")]

    async def take(self, stage: Stage) -> Lease:
        """Kill it and delete everything that it has."""
        edge = edge_at(stage.fleet, self.place)
        order = Destroy(pid=serving(stage, self.place), folder=edge.data)
        return await stage.watchdog.take(order, after=stage.keeper.after_kill(edge.name))

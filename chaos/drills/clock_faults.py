"""A wall clock that is wrong at the first edge of a fleet that was started with one that can be moved."""

from pathlib import Path

import msgspec

from chaos.drills.drill import Lease, Target
from chaos.drills.stage import Stage, edge_at
from chaos.fleet_file import FleetFile
from chaos.watchdog_orders import Skew

CLOCK_FILE = "clock"


def clock_file(fleet: FleetFile) -> Path:
    """Tell where the offset of the first edge's clock stands; beside the core's folder."""
    return Path(fleet.core.data).parent / CLOCK_FILE


class ClockSkewed(msgspec.Struct, frozen=True):
    """The first edge's wall clock jumps, ``+2h`` for instance; healed, it jumps back."""

    by: str

    def targets(self, fleet: FleetFile) -> list[Target]:
        """Name the edge."""
        return [Target(f"{edge_at(fleet, 0).name}: its wall clock", f"jumps by {self.by}")]

    async def take(self, stage: Stage) -> Lease:
        """Let it jump."""
        return await stage.watchdog.take(Skew(file=str(clock_file(stage.fleet)), by=self.by))

"""What operators do on purpose: holding edges away from the core ahead of planned work."""

import asyncio

import msgspec

from chaos.drills.core_faults import run_command
from chaos.drills.drill import Lease, Target
from chaos.drills.stage import Stage
from chaos.errors import ControlError
from chaos.fleet_file import FleetFile

REASON = "a drill of planned maintenance"


class BreakersHeld(msgspec.Struct, frozen=True):
    """
    Every edge's breaker is held open by an order that ends by itself, and is let to itself again.

    ``minutes`` is how long an order lasts whatever becomes of the drill.
    """

    minutes: int = 10

    def targets(self, fleet: FleetFile) -> list[Target]:
        """Name the edges."""
        words = f"`edge breaker open --for {self.minutes}m`, then `automatic`"
        return [Target(f"{edge.name}: its breaker to the core", words) for edge in fleet.edges]

    async def take(self, stage: Stage) -> Lease:
        """Give the orders."""
        folders = [edge.data for edge in stage.fleet.edges]
        lease = _Order(folders)
        try:
            await asyncio.gather(*(self._hold(folder) for folder in folders))
        except ControlError:
            await lease.heal()
            raise
        return lease

    async def _hold(self, folder: str) -> None:
        words = ("breaker", "open", "--data", folder, "--reason", REASON)
        await run_command("edge_portal", *words, "--for", f"{self.minutes}m")


class _Order:
    def __init__(self, folders: list[str]) -> None:
        self._folders = folders

    async def renew(self) -> None:
        """Do nothing: the order itself says when it ends."""

    async def heal(self) -> None:
        for folder in self._folders:
            words = ("breaker", "automatic", "--data", folder, "--reason", REASON)
            await run_command("edge_portal", *words)

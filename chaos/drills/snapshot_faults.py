"""Damage to the snapshot files that the core hands out to nodes that begin."""

from pathlib import Path
from typing import Literal

import msgspec

from chaos.drills.core_faults import run_command
from chaos.drills.drill import Lease, Target
from chaos.drills.process_faults import named
from chaos.drills.stage import Stage
from chaos.errors import ControlError
from chaos.fleet_file import FleetFile
from chaos.watchdog_orders import Damage

_FILES = "snapshots/*/files/*.db"


async def build_snapshot_file(stage: Stage) -> None:
    """Have the core's operator build a snapshot file of now. Raises `ControlError`."""
    await run_command("core_cis", "snapshot", "build", "--data", stage.fleet.core.data)


def _files(fleet: FleetFile) -> list[str]:
    return [str(path) for path in sorted(Path(fleet.core.data).glob(_FILES))]


class SnapshotsDamaged(msgspec.Struct, frozen=True):
    """Every snapshot file of the core is damaged; healed, it is as it was."""

    how: Literal["flip", "truncate"]

    def targets(self, fleet: FleetFile) -> list[Target]:
        """Name the files' owner."""
        words = {"flip": "a bit is flipped", "truncate": "cut in half"}[self.how]
        return [Target(f"the snapshot files of {named(fleet, None)}", words)]

    async def take(self, stage: Stage) -> Lease:
        """Damage them. Raises `ControlError` when there is none."""
        files = _files(stage.fleet)
        if not files:
            raise ControlError("the core has no snapshot file to damage")
        return await stage.watchdog.take(Damage(files=files, how=self.how))

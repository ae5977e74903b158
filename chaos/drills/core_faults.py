"""Faults of what the core knows and can do: an old backup, an account that it cannot post to, too small a machine."""

import asyncio
import subprocess
from pathlib import Path

import httpx
import msgspec

from chaos.drills.drill import Lease, Target
from chaos.drills.process_faults import named, serving
from chaos.drills.stage import Stage
from chaos.errors import ControlError
from chaos.fleet_file import FleetFile
from chaos.keepers import CORE
from chaos.process import python_module
from chaos.watchdog import WatchdogLease
from chaos.watchdog_orders import Kill, Poison, Weaken

BACKUP = "drill-backup.db"
COMMAND_SECONDS_MAX = 120.0
NOTICED_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.2


async def run_command(module: str, *words: str) -> None:
    """Run one of the product's commands, as an operator would. Raises `ControlError` with what it said."""
    command = python_module(module, *words)
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
    if done.returncode:
        raise ControlError(f"{module} {' '.join(words[:2])} failed: {done.stderr.strip()}")


async def back_up(stage: Stage) -> None:
    """Copy the core's books beside the serving core; a copy of an earlier drill is replaced. Raises `ControlError`."""
    data = Path(stage.fleet.core.data)
    (data / BACKUP).unlink(missing_ok=True)
    await run_command("core_cis", "backup", str(data / BACKUP), "--data", str(data))


class RestoredLater(msgspec.Struct, frozen=True):
    """Kill the core; healed, it comes back with the books of a backup that `back_up` made before, in a new epoch."""

    def targets(self, fleet: FleetFile) -> list[Target]:
        """Name the core and its books."""
        return [
            Target(named(fleet, None), "kill -9, its books put back to a backup, started again")
        ]

    async def take(self, stage: Stage) -> Lease:
        """Kill it."""
        lease = await stage.watchdog.take(Kill(pid=serving(stage, None)))
        return _Restoring(stage, lease)


class _Restoring:
    def __init__(self, stage: Stage, lease: WatchdogLease) -> None:
        self._stage = stage
        self._lease = lease
        self._done = False

    async def renew(self) -> None:
        await self._lease.renew()

    async def heal(self) -> None:
        if self._done:
            return
        await self._lease.heal()
        stage, data = self._stage, Path(self._stage.fleet.core.data)
        await asyncio.to_thread(_put_back, data)
        start = stage.keeper.after_kill(CORE)
        if start is not None:
            start()
        stage.say(
            "The backup is restored; waiting until the core is told that edges have seen more"
        )
        await self._wait_noticed()
        stage.say("An operator raises the epoch")
        await run_command("core_cis", "epoch", "raise", "--data", str(data))
        self._done = True

    async def _wait_noticed(self) -> None:
        core = self._stage.fleet.core
        headers = {"Authorization": f"Bearer {core.operator_token}"}
        until = asyncio.get_running_loop().time() + NOTICED_SECONDS_MAX
        async with httpx.AsyncClient(base_url=core.url, timeout=5.0, trust_env=False) as http:
            while asyncio.get_running_loop().time() < until:
                try:
                    answer = await http.get("/status", headers=headers)
                    if answer.is_success and answer.json().get("restored") is not None:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(_POLL_SECONDS)
        raise ControlError("the restored core did not notice that edges have seen more")


def _put_back(data: Path) -> None:
    for left_over in data.glob("core.db-*"):
        left_over.unlink()
    (data / "core.db").write_bytes((data / BACKUP).read_bytes())


class Poisoned(msgspec.Struct, frozen=True):
    """The core cannot post to the account of one paying customer, who is drawn when the drill runs."""

    def targets(self, fleet: FleetFile) -> list[Target]:
        """Name the core's books."""
        return [
            Target(f"the books of {named(fleet, None)}", "refuse what is posted to one account")
        ]

    async def take(self, stage: Stage) -> Lease:
        """Draw a payer and put the trigger in. Raises `ControlError` when nobody pays, or the books are no file."""
        database = Path(stage.fleet.core.data) / "core.db"
        if stage.traffic is None or not stage.traffic.payers:
            raise ControlError("nobody pays in this drill")
        if not database.exists():
            raise ControlError("the core's books are not in a file")
        account = stage.traffic.payers[0].account_id
        return await stage.watchdog.take(Poison(database=str(database), account_id=account))


class Weakened(msgspec.Struct, frozen=True):
    """The core runs for a share of the time only."""

    share: float

    def targets(self, fleet: FleetFile) -> list[Target]:
        """Name the core."""
        return [Target(named(fleet, None), f"runs {self.share:.0%} of the time")]

    async def take(self, stage: Stage) -> Lease:
        """Slow it down from now on."""
        return await stage.watchdog.take(Weaken(pid=serving(stage, None), share=self.share))

"""Who keeps the processes of a fleet that a drill breaks: ourselves, or a running demo."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from chaos.errors import ControlError, FleetError
from chaos.fleet import Fleet
from chaos.fleet_file import FleetFile, read_fleet_file
from chaos.folder_locks import holder
from chaos.process import FleetProcess

CORE = "core"


class OwnFleet:
    """A fleet that this process started; its processes are tied to us and go when we do."""

    heal_url = ""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def _process(self, name: str) -> FleetProcess:
        if name in self._fleet.services:
            return self._fleet.services[name].process
        return self._fleet.core if name == CORE else self._fleet.edges[name]

    def pid(self, name: str) -> int:
        """Tell the process that serves under a name now; 0 when there is none."""
        process = self._process(name)
        return process.pid if process.alive else 0

    def after_kill(self, name: str) -> Callable[[], None] | None:
        """Return what starts a killed process again."""
        return partial(self._start, name)

    def _start(self, name: str) -> None:
        process = self._process(name)
        if not process.alive:
            # What is left of the one before would hold its folder and its port.
            process.clean_up()
            process.start()
            self._fleet.write_file()


class DemoFleet:
    """
    The fleet of a running demo, which starts its processes again when asked.

    Started by us they would die with us; the demo keeps them, and stops them with everything else.
    """

    def __init__(self, fleet_file: Path) -> None:
        self._file = fleet_file

    @property
    def heal_url(self) -> str:
        """Where the demo is asked to start everything again. Raises `ControlError` when it has no such page."""
        play_url = self._read().play_url
        if not play_url:
            raise ControlError("this fleet has no page that could start its processes again")
        return f"{play_url}/core"

    def _read(self) -> FleetFile:
        return read_fleet_file(self._file)

    def pid(self, name: str) -> int:
        """Find the process that serves now: anybody may have started it again by the command in the file."""
        fleet = self._read()
        if name == CORE:
            serving = holder(Path(fleet.core.data) / "core.lock") if fleet.core.data else None
            return serving or fleet.core.pid
        edge = next((one for one in fleet.edges if one.name == name), None)
        if edge is None:
            raise FleetError(f"{self._file} names no {name}")
        return holder(Path(edge.data) / "edge.lock") or edge.pid

    @staticmethod
    def after_kill(name: str) -> Callable[[], None] | None:
        """Return None: the watchdog asks the demo itself."""
        del name
        return None

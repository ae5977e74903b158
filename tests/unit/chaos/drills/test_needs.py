"""What a machine lacks for a drill is said before anything is started."""

import msgspec

from chaos.drills.catalogue import CATALOGUE
from chaos.drills.needs import OWN_FLEET, Need, missing

DRILL = msgspec.structs.replace(CATALOGUE["core-blackout"], needs=("a moon", "a sun"))
PROBES = {
    "a moon": Need("a moon", lambda: "needs a moon"),
    "a sun": Need("a sun", lambda: ""),
    **{name: Need(name, lambda: "needs room") for name in OWN_FLEET},
}


def test_only_what_is_missing_is_told() -> None:
    """In the words of each probe; what a fleet of its own needs is asked for only then."""
    assert missing(DRILL, own_fleet=False, probes=PROBES) == ["needs a moon"]
    assert missing(DRILL, own_fleet=True, probes=PROBES) == ["needs a moon"] + ["needs room"] * 2

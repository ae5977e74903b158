"""The drills of the catalogue: each says everything that a drill has to say, and touches only what it lists."""

import pytest

from chaos.drill import count_sharing
from chaos.drills.catalogue import CATALOGUE, find, in_fleets
from chaos.drills.drill import Drill
from chaos.drills.needs import NEEDS
from chaos.errors import RefusedError
from chaos.fleet_file import CoreEntry, EdgeEntry, FleetFile

EDGES = ["edge-1", "edge-2"]
FLEET = FleetFile(
    core=CoreEntry(url="", pid=11, command=[], operator_token=""),
    edges=[
        EdgeEntry(name=name, url="", pid=20, command=[], data="", proxy="", peer_proxy="")
        for name in EDGES
    ],
    customers=[],
)

every_drill = pytest.mark.parametrize("drill", CATALOGUE.values(), ids=list(CATALOGUE))


@every_drill
def test_a_drill_is_whole(drill: Drill) -> None:
    """It has words for its reader, something to break, something to hold, a way out, and needs that are known."""
    words = (drill.title, drill.purpose, drill.did, drill.customers, drill.recovery)
    assert all(words)
    assert drill.did.startswith("We ")
    assert drill.method
    assert drill.invariants
    assert drill.aborts
    assert drill.steady_state
    assert len({drill.began, drill.healing, drill.healed}) == 3
    assert set(drill.needs) <= set(NEEDS)
    assert all(0 <= step.after < 1 for step in drill.method)
    assert len({one.__name__ for one in drill.invariants}) == len(drill.invariants)


@every_drill
def test_a_drill_lists_its_targets(drill: Drill) -> None:
    """And leaves at least one edge to customers."""
    targets = drill.targets(FLEET)
    assert targets
    assert all(target.what and target.fate for target in targets)
    facts = drill.facts(EDGES)
    assert set(facts.away) < set(EDGES)
    assert set(facts.without_core) <= set(EDGES)


def test_a_drill_is_found_by_its_name() -> None:
    """What is not there is refused with what is."""
    assert find("core-blackout").name == "core-blackout"
    with pytest.raises(RefusedError, match="core-blackout"):
        find("core-blackout ")


def test_drills_are_ordered_by_fleet() -> None:
    """A fleet is started once for all that can share it; those that spoil theirs come last, each with its own."""
    ordered = in_fleets(CATALOGUE.values())
    assert {drill.name for drill in ordered} == set(CATALOGUE)
    plain = [drill for drill in ordered if drill.fleet == "plain"]
    assert ordered[: len(plain)] == plain
    kept = sum(not drill.spoils for drill in plain)
    assert count_sharing(ordered) == kept + 1
    assert count_sharing(ordered[kept + 1 :]) == 1
    assert count_sharing(ordered[len(plain) :]) == sum(
        drill.fleet == ordered[len(plain)].fleet for drill in ordered
    )


def test_every_edge_and_none() -> None:
    """A fault names edges by number, all of them or none."""
    assert CATALOGUE["core-blackout"].facts(EDGES).without_core == EDGES
    assert CATALOGUE["edge-cut-off"].facts(EDGES).without_core == ["edge-1"]
    assert CATALOGUE["edges-apart"].facts(EDGES).without_core == []
    assert CATALOGUE["edge-killed"].facts(EDGES, returns_max=3).returns_max == 3

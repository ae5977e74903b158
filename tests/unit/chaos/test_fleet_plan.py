"""The plan of a fleet's ports and the proxies on its links."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from chaos import fleet_plan
from chaos.errors import FleetError
from chaos.fleet_plan import PORTS, choose_plan, read_plan, refresh_plan, write_plan


@pytest.fixture(autouse=True)
def taken(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Ports that somebody listens on; no socket is opened to find out."""
    ports: set[int] = set()
    monkeypatch.setattr(fleet_plan, "port_is_free", lambda port: port not in ports)
    return ports


def test_every_port_is_planned_once() -> None:
    """No two processes share a port, and none is one that outgoing connections may get."""
    ports = choose_plan(3, None, Random(1)).ports()
    assert len(ports) == len(set(ports))
    assert all(port in PORTS for port in ports)


def test_the_first_edge_gets_the_port_asked_for() -> None:
    """`--port` is the first edge's."""
    assert choose_plan(2, 8080, Random(1)).edges[0].port == 8080


def test_a_taken_port_is_refused_by_number(taken: set[int]) -> None:
    """Whoever asks for a port that is taken is told so."""
    taken.add(8080)
    with pytest.raises(FleetError, match="port 8080 is taken"):
        choose_plan(2, 8080, Random(1))


@pytest.mark.parametrize("edges", [0, 9])
def test_a_local_fleet_is_small(edges: int) -> None:
    """One to eight edges."""
    with pytest.raises(FleetError, match="1 to 8 edges"):
        choose_plan(edges, None, Random(1))


def test_each_link_has_its_proxies() -> None:
    """One to the core for each edge; an edge's peer link is every way between it and its siblings, feeds too."""
    plan = choose_plan(3, None, Random(1)).proxies(seed=1)
    links: dict[str, int] = {}
    for proxy in plan.proxies:
        for link in proxy.links:
            links[link] = links.get(link, 0) + 1
    assert links == {f"edge-{n}-core": 1 for n in (1, 2, 3)} | {
        f"edge-{n}-peers": 8 for n in (1, 2, 3)
    }
    leads_to = {proxy.target_port for proxy in plan.proxies}
    assert {edge.feed_port for edge in choose_plan(3, None, Random(1)).edges} <= leads_to


def test_a_lonely_edge_still_has_a_peer_link() -> None:
    """Its control answers, though there is nothing to break."""
    assert choose_plan(1, None, Random(1)).proxies(seed=1).idle_links == ["edge-1-peers"]


def test_a_second_start_finds_the_same_ports(tmp_path: Path) -> None:
    """The plan is kept and used again."""
    plan = choose_plan(2, None, Random(1))
    write_plan(tmp_path / "plan.json", plan)
    kept = read_plan(tmp_path / "plan.json")
    assert kept == plan
    assert refresh_plan(plan, None, Random(2)) == plan


@pytest.mark.parametrize(
    "content", [None, "", "{}", "no json"], ids=["absent", "empty", "other", "broken"]
)
def test_a_plan_that_cannot_be_used_is_none(tmp_path: Path, content: str | None) -> None:
    """A new one is made then."""
    if content is not None:
        (tmp_path / "plan.json").write_text(content, encoding="utf-8")
    assert read_plan(tmp_path / "plan.json") is None


@pytest.mark.parametrize(
    "lost",
    [
        lambda plan: plan.core_port,
        lambda plan: plan.control_port,
        lambda plan: plan.play_port,
        lambda plan: plan.edges[1].port,
        lambda plan: plan.peers[0].port,
        lambda plan: plan.edges[0].feed_port,
        lambda plan: plan.peers[1].feed_port,
    ],
    ids=["core", "control", "play", "edge", "peer proxy", "feed", "feed proxy"],
)
def test_a_port_taken_meanwhile_is_replaced(
    taken: set[int], lost: Callable[[fleet_plan.FleetPlan], int]
) -> None:
    """Everything else stays where it was."""
    plan = choose_plan(2, None, Random(1))
    taken.add(lost(plan))
    fresh = refresh_plan(plan, None, Random(2))
    assert lost(fresh) != lost(plan)
    assert len(set(fresh.ports()) & set(plan.ports())) == len(plan.ports()) - 1


def test_a_plan_of_before_edges_fed_edges_gets_ports_for_it() -> None:
    """A demo's folder of an earlier release goes on, with its peer ports and now with feeds."""
    plan = choose_plan(2, None, Random(1))
    old = replace(
        plan,
        edges=[replace(edge, feed_port=0) for edge in plan.edges],
        peers=[replace(peer, feed_port=0) for peer in plan.peers],
    )
    fresh = refresh_plan(old, None, Random(2))
    ports = fresh.ports()
    assert 0 not in ports
    assert len(ports) == len(set(ports))
    assert [edge.peer_port for edge in fresh.edges] == [edge.peer_port for edge in plan.edges]


def test_a_peer_port_cannot_be_replaced(taken: set[int]) -> None:
    """The core knows an edge by it; that it is taken mostly means that the fleet runs already."""
    plan = choose_plan(2, None, Random(1))
    taken.add(plan.edges[0].peer_port)
    with pytest.raises(FleetError, match="does a fleet run on this data already"):
        refresh_plan(plan, None, Random(2))


def test_another_first_port_can_be_asked_for_later() -> None:
    """`--port` on a second start moves the first edge alone."""
    plan = choose_plan(2, None, Random(1))
    moved = refresh_plan(plan, 8080, Random(2))
    assert moved.edges[0].port == 8080
    assert moved.edges[1] == plan.edges[1]
    assert moved.peers == plan.peers

"""Which processes a fleet has and where each listens; kept in its data folder so that a second start finds the same."""

import socket
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec

from chaos.errors import FleetError
from chaos.fleet_file import write_private
from chaos.proxy_control import ProxiesPlan, ProxyPlan

# Below the ports that the kernel gives to outgoing connections: while the core is dead nobody may take its port, and a
# connection to it must not by accident meet itself.
PORTS = range(20_000, 32_000)
EDGES_MAX = 8


class EdgePlan(msgspec.Struct, frozen=True, kw_only=True):
    """
    One edge's ports; ``core_port`` is the proxy through which it reaches the core.

    ``feed_port`` is where it passes documents on; a plan of before edges did has 0 until it is used again.
    """

    name: str
    port: int
    peer_port: int
    core_port: int
    feed_port: int = 0


class PeerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The proxies through which one edge reaches another one's peer API, and its feed."""

    source: str
    target: str
    port: int
    feed_port: int = 0


class FleetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All ports of a fleet on the loopback interface."""

    core_port: int
    control_port: int
    play_port: int
    edges: list[EdgePlan]
    peers: list[PeerPlan]

    def ports(self) -> list[int]:
        """List every port that something must be able to listen on."""
        ports = [self.core_port, self.control_port, self.play_port]
        for edge in self.edges:
            ports += [edge.port, edge.peer_port, edge.core_port, edge.feed_port]
        return ports + [port for peer in self.peers for port in (peer.port, peer.feed_port)]

    def edge(self, name: str) -> EdgePlan:
        """Return one edge's plan."""
        return next(edge for edge in self.edges if edge.name == name)

    def proxies(self, seed: int) -> ProxiesPlan:
        """Plan the fault proxies: one to the core for each edge, two for each direction between two edges."""
        to_core = [
            ProxyPlan(port=edge.core_port, target_port=self.core_port, links=[core_link(edge.name)])
            for edge in self.edges
        ]
        between = [
            ProxyPlan(
                port=port,
                target_port=target_port,
                links=[peer_link(peer.source), peer_link(peer.target)],
            )
            for peer in self.peers
            for port, target_port in (
                (peer.port, self.edge(peer.target).peer_port),
                (peer.feed_port, self.edge(peer.target).feed_port),
            )
        ]
        # An edge without siblings has a peer link too: a fault on it just breaks nothing.
        lonely = [] if self.peers else [peer_link(edge.name) for edge in self.edges]
        return ProxiesPlan(
            control_port=self.control_port, seed=seed, proxies=to_core + between, idle_links=lonely
        )


def core_link(edge: str) -> str:
    """Name the link between an edge and the core."""
    return f"{edge}-core"


def peer_link(edge: str) -> str:
    """Name the link between an edge and its siblings."""
    return f"{edge}-peers"


def port_is_free(port: int) -> bool:
    """Whether something could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(rng: Random) -> Iterator[int]:
    """Yield free ports, none twice. Raises `FleetError` when the range is used up."""
    for port in rng.sample(PORTS, len(PORTS)):
        if port_is_free(port):
            yield port
    raise FleetError(f"no free port between {PORTS.start} and {PORTS.stop}")


def choose_plan(edges: int, first_port: int | None, rng: Random) -> FleetPlan:
    """
    Plan a fleet on free ports.

    ``first_port`` is the first edge's own, None for any. Raises `FleetError` when it is taken.
    """
    if not 1 <= edges <= EDGES_MAX:
        raise FleetError(f"a local fleet has 1 to {EDGES_MAX} edges, not {edges}")
    if first_port is not None and not port_is_free(first_port):
        raise FleetError(f"port {first_port} is taken by another process; choose another --port")
    ports = (port for port in free_ports(rng) if port != first_port)
    names = [f"edge-{number}" for number in range(1, edges + 1)]
    return FleetPlan(
        core_port=next(ports),
        control_port=next(ports),
        play_port=next(ports),
        edges=[
            EdgePlan(
                name=name,
                port=first_port if number == 0 and first_port is not None else next(ports),
                peer_port=next(ports),
                core_port=next(ports),
                feed_port=next(ports),
            )
            for number, name in enumerate(names)
        ],
        peers=[
            PeerPlan(source=source, target=target, port=next(ports), feed_port=next(ports))
            for source in names
            for target in names
            if source != target
        ],
    )


def refresh_plan(kept: FleetPlan, first_port: int | None, rng: Random) -> FleetPlan:
    """
    Use a plan again, with other ports in place of those that somebody has taken meanwhile.

    The peer ports stay: the core knows the edges by them. Raises `FleetError` when one of those, or ``first_port``,
    is taken.
    """
    for edge in kept.edges:
        if not port_is_free(edge.peer_port):
            raise FleetError(
                f"port {edge.peer_port} of {edge.name} is taken; does a fleet run on this data already?"
            )
    fresh = choose_plan(len(kept.edges), first_port, rng)
    names = zip(kept.edges, fresh.edges, strict=True)

    def usable(old: int, new: int) -> int:
        return old if old and port_is_free(old) else new

    return FleetPlan(
        core_port=usable(kept.core_port, fresh.core_port),
        control_port=usable(kept.control_port, fresh.control_port),
        play_port=usable(kept.play_port, fresh.play_port),
        edges=[
            EdgePlan(
                name=old.name,
                port=new.port if new.port == first_port else usable(old.port, new.port),
                peer_port=old.peer_port,
                core_port=usable(old.core_port, new.core_port),
                feed_port=usable(old.feed_port, new.feed_port),
            )
            for old, new in names
        ],
        peers=[
            PeerPlan(
                source=old.source,
                target=old.target,
                port=usable(old.port, new.port),
                feed_port=usable(old.feed_port, new.feed_port),
            )
            for old, new in zip(kept.peers, fresh.peers, strict=True)
        ],
    )


def read_plan(path: Path) -> FleetPlan | None:
    """Read the plan of an earlier start; None when there is none that can be used."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=FleetPlan)
    except (OSError, msgspec.DecodeError):
        return None


def write_plan(path: Path, plan: FleetPlan) -> None:
    """Keep the plan for the next start."""
    write_private(path, msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n")

"""Faults of the links between nodes, ordered from the fleet's fault proxies, which hold the leases themselves."""

from typing import Literal

import httpx
import msgspec

from chaos.drills.drill import Lease, Target
from chaos.drills.stage import Stage, edge_at
from chaos.errors import ControlError
from chaos.faults import Fault
from chaos.fleet_file import EdgeEntry, FleetFile

CONTROL_SECONDS_MAX = 5.0
_WORDS = {
    "cut": "loses what is sent",
    "latency": "delivers late",
    "rate": "delivers slowly",
    "reset": "is reset",
    "refuse": "refuses",
    "flaky": "fails some calls",
}
_LOST = {
    "both": "loses what is sent",
    "forward": "loses what the edge sends",
    "backward": "loses what the edge is answered",
}


async def order(url: str, fault: Fault | None) -> None:
    """Put a fault in force at a proxy, or end it. Raises `ControlError`."""
    method = "DELETE" if fault is None else "POST"
    body = None if fault is None else msgspec.json.encode(fault)
    async with httpx.AsyncClient(timeout=CONTROL_SECONDS_MAX, trust_env=False) as client:
        try:
            answer = await client.request(method, f"{url}/fault", content=body)
        except httpx.HTTPError as error:
            raise ControlError(f"a fault proxy does not answer: {error}") from error
    if answer.is_error:
        raise ControlError(f"a fault proxy answered {answer.status_code}: {answer.text}")


class LinkLease:
    """One fault on several links."""

    def __init__(self, urls: list[str], fault: Fault) -> None:
        self._urls = urls
        self._fault = fault

    async def renew(self) -> None:
        """Keep it in force. Raises `ControlError`."""
        for url in self._urls:
            await order(url, self._fault)

    async def heal(self) -> None:
        """End it. Raises `ControlError`."""
        for url in self._urls:
            await order(url, None)


class LinkBroken(msgspec.Struct, frozen=True):
    """
    A fault on the links of some edges, by number, or of all (None).

    ``to`` the core, or to the ``peers``: everything between the edge and its siblings.
    """

    fault: Fault
    to: Literal["core", "peers"] = "core"
    places: tuple[int, ...] | None = None

    def _edges(self, fleet: FleetFile) -> list[EdgeEntry]:
        if self.places is None:
            return fleet.edges
        return [edge_at(fleet, place) for place in self.places]

    def targets(self, fleet: FleetFile) -> list[Target]:
        """Name the links."""
        told = msgspec.to_builtins(self.fault)
        words = _LOST[told["direction"]] if told["kind"] == "cut" else _WORDS[told["kind"]]
        other = "the core" if self.to == "core" else "its siblings"
        return [
            Target(f"the link between {edge.name} and {other}", words)
            for edge in self._edges(fleet)
        ]

    async def take(self, stage: Stage) -> Lease:
        """Order it from the proxies, for as long as a lease of the watchdog."""
        fault = msgspec.structs.replace(self.fault, ttl_seconds=stage.watchdog.ttl_seconds)
        urls = [
            edge.proxy if self.to == "core" else edge.peer_proxy
            for edge in self._edges(stage.fleet)
        ]
        lease = LinkLease(urls, fault)
        try:
            await lease.renew()
        except ControlError:
            await lease.heal()
            raise
        return lease

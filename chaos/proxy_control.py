"""
The process of all fault proxies of a fleet, and the HTTP by which faults are ordered.

``POST {proxy}/fault`` puts a fault in force, ``DELETE {proxy}/fault`` heals it, ``GET {proxy}/fault`` tells. One
``{proxy}`` controls one link, which may be several proxies: what runs between an edge and its siblings is two for each
sibling.
"""

import asyncio
import signal
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, delete, get, post
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from chaos.errors import ControlError
from chaos.faults import Fault, Lease, LinkState
from chaos.proxy import FaultProxy, open_listener
from failover.http_server import open_socket, serve
from failover.web import Problem, decode_json, exception_handlers, read_body

HOST = "127.0.0.1"
_LOOPBACK_NAMES = {"127.0.0.1", "localhost", "[::1]"}


class ProxyPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One proxy: the port it listens on, where it leads, and the links whose faults it suffers."""

    port: int
    target_port: int
    links: list[str]


class ProxiesPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All proxies of a fleet and the port of their control; ``idle_links`` have no proxy."""

    control_port: int
    seed: int = 0
    proxies: list[ProxyPlan]
    idle_links: list[str] = []


def control_url(control_port: int, link: str) -> str:
    """Return the ``{proxy}`` of a link."""
    return f"http://{HOST}:{control_port}/links/{link}"


class Link:
    """The proxies that suffer together, under one lease."""

    def __init__(self, name: str, proxies: list[FaultProxy]) -> None:
        self.name = name
        self._proxies = proxies
        self.lease = Lease(self._follow)
        for proxy in proxies:
            proxy.lie_on(self.lease)

    def state(self) -> LinkState:
        """Tell the fault in force and what was lost so far."""
        return LinkState(
            link=self.name,
            fault=self.lease.fault,
            remaining_seconds=round(self.lease.remaining_seconds, 3),
            connections=sum(proxy.connections for proxy in self._proxies),
            swallowed_bytes=sum(proxy.swallowed_bytes for proxy in self._proxies),
        )

    def _follow(self) -> None:
        for proxy in self._proxies:
            proxy.follow()


def loopback_tools_only(
    connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler
) -> None:
    """
    Keep web pages out: a page in somebody's browser can reach loopback ports too.

    Browsers name the page's origin, or, after its name was pointed at this machine, a foreign host.
    """
    name = connection.headers.get("host", "").rpartition(":")[0]
    if name not in _LOOPBACK_NAMES or "origin" in connection.headers:
        raise Problem(
            "not_from_here", status=403, title="Faults are ordered by tools on this machine"
        )


def _answer(link: Link) -> Response[LinkState]:
    return Response(link.state(), headers={"Cache-Control": "no-store"}, status_code=200)


def create_control_app(links: dict[str, Link]) -> Litestar:
    """Build the control's application; ``links`` by name."""

    def find(name: str) -> Link:
        if name not in links:
            raise Problem("no_such_link", status=404, title="No such link", links=sorted(links))
        return links[name]

    @get("/healthz", sync_to_thread=False)
    def healthz() -> dict[str, int]:
        return {"links": len(links)}

    @get(["/links/{link:str}", "/links/{link:str}/fault"], sync_to_thread=False)
    def show(link: FromPath[str]) -> Response[LinkState]:
        return _answer(find(link))

    @post("/links/{link:str}/fault", status_code=200)
    async def take(request: Request[Any, Any, Any], link: FromPath[str]) -> Response[LinkState]:
        found = find(link)
        found.lease.take(decode_json(await read_body(request), Fault))  # type: ignore[arg-type]
        return _answer(found)

    @delete("/links/{link:str}/fault", status_code=200, sync_to_thread=False)
    def heal(link: FromPath[str]) -> Response[LinkState]:
        found = find(link)
        found.lease.heal()
        return _answer(found)

    return Litestar(
        [healthz, show, take, heal],
        guards=[loopback_tools_only],
        exception_handlers=exception_handlers,
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )


def build_links(plan: ProxiesPlan) -> tuple[list[FaultProxy], dict[str, Link]]:
    """Bind every proxy's port and tie the proxies to their links. Raises OSError when a port is taken."""
    rng = Random(plan.seed)
    proxies: list[FaultProxy] = []
    members: dict[str, list[FaultProxy]] = {link: [] for link in plan.idle_links}
    for planned in plan.proxies:
        listener = open_listener(HOST, planned.port)
        proxy = FaultProxy(listener, (HOST, planned.target_port), Random(rng.getrandbits(64)))
        proxies.append(proxy)
        for link in planned.links:
            members.setdefault(link, []).append(proxy)
    return proxies, {name: Link(name, on) for name, on in members.items()}


async def run_proxies(plan: ProxiesPlan) -> None:
    """Carry all connections until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    proxies, links = build_links(plan)
    for proxy in proxies:
        proxy.start()
    control = open_socket(HOST, plan.control_port)
    try:
        await serve(create_control_app(links), control, stop=stop)
    finally:
        control.close()
        for proxy in proxies:
            await proxy.close()


def main(plan_file: Path) -> None:
    """Run the process that a fleet starts for its proxies. Raises `ControlError`."""
    try:
        plan = msgspec.json.decode(plan_file.read_bytes(), type=ProxiesPlan)
    except (OSError, msgspec.DecodeError) as error:
        raise ControlError(f"cannot use the proxies' plan {plan_file}: {error}") from error
    try:
        asyncio.run(run_proxies(plan))
    except OSError as error:
        raise ControlError(f"the fault proxies cannot start: {error}") from error

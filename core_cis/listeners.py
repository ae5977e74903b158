"""
Where callers come in: nodes of the fleet and operators on one port, or each on a port of their own.

With TLS the nodes' port hears only who shows a certificate of the fleet, which operators have none of; theirs is a port
on this machine, without. What is for the others is refused on either.
"""

from typing import Any, Literal

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from core_cis.api.guards import fleet_guard
from failover.web import Problem

Audience = Literal["nodes", "operators"]
_KEY = "listener"


class Listener:
    """
    An application as one audience reaches it. Starting and stopping it is left to whoever serves it to several.

    Args:
        app: The application, already started.
        audience: Whom this is for.
    """

    def __init__(self, app: ASGIApp, audience: Audience) -> None:
        self._app = app
        self._audience = audience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] == "lifespan":  # type: ignore[comparison-overlap]  # the annotation leaves it out
            await _answer_lifespan(receive, send)
            return
        scope.setdefault("state", {})[_KEY] = self._audience
        await self._app(scope, receive, send)


def is_for_nodes(scope: Scope) -> bool:
    """Tell whether a request came in where nodes are heard."""
    return scope.get("state", {}).get(_KEY) != "operators"


async def listener_guard(
    connection: ASGIConnection[Any, Any, Any, Any], route_handler: BaseRouteHandler
) -> None:
    """
    Answer at the nodes' port only what is guarded for nodes, and at the operators' the rest; a guard of everything.

    Raises:
        Problem: 403 `wrong_listener`.
    """
    reached: Audience | None = connection.state.get(_KEY)
    meant: Audience = "nodes" if fleet_guard in route_handler.resolve_guards() else "operators"
    if reached not in {None, meant}:
        raise Problem(
            "wrong_listener",
            status=403,
            title="This is served on another port",
            detail=f"It is for {meant} only.",
        )


async def _answer_lifespan(receive: Receive, send: Send) -> None:
    while True:
        event: Any = await receive()
        done: Any = {"type": f"{event['type']}.complete"}
        await send(done)
        if event["type"] == "lifespan.shutdown":
            return

"""Who may call the core: nodes of the fleet by their secret, operators by their token."""

from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from core_cis.services import CoreServices
from failover.web import Problem, bearer_token, node_guard


def services(request: Request[Any, Any, Any]) -> CoreServices:
    """Return the running core of a request."""
    running: CoreServices = request.app.state.services
    return running


# All are coroutines: the framework runs plain functions in threads, where the loop's database connection cannot go.


async def fleet_guard(
    connection: ASGIConnection[Any, Any, Any, Any], route_handler: BaseRouteHandler
) -> None:
    """Let only registered edges in: ``Authorization: Node <id>:<secret>``; a litestar guard."""
    running: CoreServices = connection.app.state.services
    await running.look_at_registry()
    node_guard(connection, route_handler)


async def shard_guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """
    Let an edge read the ``shard`` of a route only where it was granted that; a litestar guard, after `fleet_guard`.

    Raises:
        Problem: 403 `wrong_shard`.
    """
    running: CoreServices = connection.app.state.services
    running.check_may_read(connection.state.node_id, connection.path_params["shard"])


async def operator_guard(
    connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler
) -> None:
    """Let only operators in: ``Authorization: Bearer <operator token>``; a litestar guard."""
    running: CoreServices = connection.app.state.services
    if not running.is_operator(bearer_token(connection.headers.get("authorization"))):
        raise Problem(
            "not_an_operator",
            status=401,
            title="This is for operators",
            headers={"WWW-Authenticate": "Bearer"},
        )

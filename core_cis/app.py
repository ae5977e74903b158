"""The core as an ASGI application, wired in one place."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ASGIApp

from cache_sync.clock import Clock
from cache_sync.sql import OperationalError
from core_cis.api.accounts import show_archived_statement, show_ledger
from core_cis.api.digests import compare_digests
from core_cis.api.feed import probe, read_feed
from core_cis.api.intents import deliver_intents, show_intent
from core_cis.api.processor_events import hear_event
from core_cis.api.returns import take_outcomes_back
from core_cis.api.snapshots import fetch_snapshot, offer_snapshot
from core_cis.api.status import healthz, readyz, show_metrics, show_status
from core_cis.errors import NotBegun, WriterFull
from core_cis.hot_feed import HotFeed
from core_cis.keys import load_keys
from core_cis.listeners import listener_guard
from core_cis.ops.api import API_ROUTES
from core_cis.ops.collection_pages import COLLECTION_ROUTES
from core_cis.ops.desk import OperationsDesk
from core_cis.ops.limit_api import LIMIT_ROUTES
from core_cis.ops.pages import PAGE_HANDLERS, PAGES
from core_cis.ops.reconciliation_pages import RECONCILIATION_ROUTES
from core_cis.ops.reconciling import ReconciliationDesk
from core_cis.ops.session import Sessions
from core_cis.ops.ticket_api import TICKET_ROUTES
from core_cis.peer_journals import PeerJournals
from core_cis.redis_feed import publishing
from core_cis.services import CoreServices
from core_cis.settings import ServerSettings, Utility
from failover.head_requests import HeadAsGet
from failover.node_config import CORE_NODE_ID
from failover.tls_door import RefusedHandshakes
from failover.web import NodeKeys, Problem, exception_handlers, problem_response

VERSION = "0.1.0"
_ROUTES = [
    read_feed,
    probe,
    compare_digests,
    offer_snapshot,
    fetch_snapshot,
    deliver_intents,
    hear_event,
    take_outcomes_back,
    show_intent,
    show_ledger,
    show_archived_statement,
    show_status,
    healthz,
    readyz,
    show_metrics,
    *API_ROUTES,
    *COLLECTION_ROUTES,
    *LIMIT_ROUTES,
    *TICKET_ROUTES,
    *PAGES,
    *RECONCILIATION_ROUTES,
]
_log = structlog.get_logger(__name__)


def _handle_database(request: Request[Any, Any, Any], error: OperationalError) -> Response[bytes]:
    """Tell whoever asked that the database does not answer: it is not he who did something wrong."""
    route = request.scope.get("path_template", "")
    _log.warning("the database does not answer", route=route, reason=str(error))
    return problem_response(
        Problem(
            "core_unavailable",
            status=503,
            title="The core's database does not answer now",
            retry="same",
        )
    )


@asynccontextmanager
async def _looking_after_edges(services: CoreServices) -> AsyncIterator[None]:
    """Forget tombstones that nobody needs, and look at what edges read, for as long as a block lasts."""
    stop = asyncio.Event()
    running = asyncio.gather(services.floors.run(stop), services.edge_reads.run(stop))
    try:
        yield
    finally:
        stop.set()
        await running


def _handle_busy(_: Request[Any, Any, Any], error: NotBegun | WriterFull) -> Response[bytes]:
    del error
    return problem_response(
        Problem(
            "core_busy",
            status=503,
            title="The core is busy",
            detail="Nothing was done.",
            retry="same",
        )
    )


def in_front(app: Litestar) -> ASGIApp:
    """Put before an application what answers faster than the framework, or what that would refuse."""
    return HeadAsGet(HotFeed(app))


def create_app(
    data_dir: Path,
    clock: Clock,
    settings: ServerSettings | None = None,
    *,
    utility: Utility | None = None,
    journals: PeerJournals | None = None,
) -> Litestar:
    """
    Build the core's application; it opens the database when it starts.

    Args:
        data_dir: The core's folder, made when it is not there.
        clock: Time.
        settings: Limits of the server.
        utility: Whose books these are, for a new core.
        journals: Another way to ask edges than over the network.
    """
    limits = settings or ServerSettings()

    @asynccontextmanager
    async def running(app: Litestar) -> AsyncIterator[None]:
        async with CoreServices(data_dir, clock, limits, utility=utility) as services:
            app.state.services = services
            app.state.node_keys = NodeKeys(services.node_hash)
            keys = load_keys(data_dir)
            app.state.sessions = Sessions(keys)
            asking = journals or PeerJournals(
                keys.node_secret, tls=keys.certify(CORE_NODE_ID, clock.now())
            )
            desk = OperationsDesk(services, keys, clock, asking)
            app.state.desk = desk
            app.state.reconciling = ReconciliationDesk(data_dir, keys, clock, asking, desk)
            async with (
                publishing(services, keys, limits.redis_feed),
                _looking_after_edges(services),
            ):
                yield

    return Litestar(
        route_handlers=_ROUTES,
        state=State({"handshakes": RefusedHandshakes(clock)}),
        guards=[listener_guard],
        lifespan=[running],
        exception_handlers={
            **exception_handlers,
            **PAGE_HANDLERS,
            OperationalError: _handle_database,
            NotBegun: _handle_busy,
            WriterFull: _handle_busy,
        },
        request_max_body_size=limits.body_bytes_max,
        openapi_config=OpenAPIConfig(
            title="Ridethrough core",
            version=VERSION,
            use_handler_docstrings=True,
            render_plugins=[JsonRenderPlugin()],
            description="The system of record: documents downstream, intents upstream, the ledger.",
        ),
        logging_config=None,
    )

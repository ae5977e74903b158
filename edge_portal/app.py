"""The application that a worker serves: pages, API and operations around one portal."""

from typing import Final

from litestar import Litestar
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ASGIApp

from cache_sync.clock import Clock
from edge_portal.api.customers import api_router
from edge_portal.api.operations import OPERATIONS
from edge_portal.guarded import Guarded
from edge_portal.hot_reads import HotReads
from edge_portal.metrics import REQUEST_COUNTS
from edge_portal.node_status import NodeStatus
from edge_portal.pages.failures import with_pages
from edge_portal.pages.routes import page_handlers
from edge_portal.pages.site import Site
from edge_portal.portal import Portal
from edge_portal.receipt_desk import ReceiptDesk
from edge_portal.snapshot_watch import SnapshotWatch
from failover.head_requests import HeadAsGet
from failover.web import exception_handlers

FORM_BYTES_MAX: Final = 64 * 1024


def create_app(
    portal: Portal,
    node: NodeStatus,
    site: Site,
    *,
    secure_cookies: bool,
    clock: Clock,
    receipts: ReceiptDesk,
    watch: SnapshotWatch | None = None,
) -> ASGIApp:
    """
    Wire a worker's application; ``node`` answers operators, ``receipts`` signs them.

    With a ``watch`` answers are kept while they hold.
    """
    app = Litestar(
        [api_router(), *OPERATIONS, *page_handlers()],
        exception_handlers=with_pages(exception_handlers),
        request_max_body_size=FORM_BYTES_MAX,
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="Ridethrough edge",
            version="1",
            path="/schema",
            render_plugins=[JsonRenderPlugin()],
        ),
        state=State(
            {
                "portal": portal,
                "node": node,
                "site": site,
                "receipts": receipts,
                "secure_cookies": secure_cookies,
            }
        ),
    )
    served: ASGIApp = Guarded(app, app.routes, REQUEST_COUNTS, clock)
    if watch is not None:
        served = HotReads(served, portal, watch, REQUEST_COUNTS, clock)
    return HeadAsGet(served)

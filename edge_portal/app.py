"""The application that a worker serves: pages, API and operations around one portal."""

from collections.abc import Sequence
from typing import Any, Final

from litestar import Litestar
from litestar.datastructures import State
from litestar.enums import HttpMethod, ScopeType
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

from cache_sync.clock import Clock
from edge_portal.api.customers import api_router
from edge_portal.api.operations import OPERATIONS
from edge_portal.hot_reads import HotReads
from edge_portal.metrics import REQUESTS, SECONDS
from edge_portal.node_status import NodeStatus
from edge_portal.pages.failures import with_pages
from edge_portal.pages.routes import page_handlers
from edge_portal.pages.site import Site
from edge_portal.portal import Portal
from edge_portal.snapshot_watch import SnapshotWatch
from failover.head_requests import HeadAsGet
from failover.web import exception_handlers

FORM_BYTES_MAX: Final = 64 * 1024
_HEADERS: Final = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


def create_app(
    portal: Portal,
    node: NodeStatus,
    site: Site,
    *,
    secure_cookies: bool,
    clock: Clock,
    watch: SnapshotWatch | None = None,
) -> ASGIApp:
    """Wire a worker's application; ``node`` answers operators. With a ``watch`` answers are kept while they hold."""
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
            {"portal": portal, "node": node, "site": site, "secure_cookies": secure_cookies}
        ),
    )
    served: ASGIApp = app if watch is None else HotReads(app, portal, watch, clock)
    return HeadAsGet(Guarded(served, app.routes, clock))


class Guarded:
    """Puts the security headers on every answer that lacks them, errors too, and counts it."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute], clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._counters: dict[tuple[str, int], Any] = {}
        self._allowed = {
            route.path_format: {str(method) for method in route.methods}
            for route in routes
            if isinstance(route, HTTPRoute)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        started = self._clock.boot_seconds()

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._start(scope, message)
            await send(message)

        await self._app(scope, receive, guarded_send)
        SECONDS.observe(self._clock.boot_seconds() - started)

    def _allow(self, scope: Scope, named: bytes) -> bytes:
        # The framework names the methods of the first handler at an address, and knows nothing of `HeadAsGet`.
        methods = {method.strip() for method in named.decode().split(",")}
        methods |= self._allowed.get(str(scope.get("path_template", "")), set())
        if HttpMethod.GET in methods:
            methods.add(HttpMethod.HEAD)
        return ", ".join(sorted(methods)).encode()

    def _start(self, scope: Scope, message: HTTPResponseStartEvent) -> None:
        headers = list(message["headers"])
        present = {name.lower() for name, _ in headers}
        headers += [(name, value) for name, value in _HEADERS if name not in present]
        message["headers"] = [
            (name, self._allow(scope, value) if name.lower() == b"allow" else value)
            for name, value in headers
        ]
        # The template, not the path: ids stay out of metrics.
        key = (str(scope.get("path_template") or "none"), message["status"])
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = REQUESTS.labels(key[0], str(key[1]))
        counter.inc()

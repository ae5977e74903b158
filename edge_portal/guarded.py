"""What every answer of the framework gains on its way out: security headers, all methods in ``Allow``, its count."""

from collections.abc import Sequence
from typing import Final

from litestar.enums import HttpMethod, ScopeType
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

from cache_sync.clock import Clock
from edge_portal.request_counts import RequestCounts

_HEADERS: Final = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Guarded:
    """
    Puts the security headers on every answer that lacks them, errors too, and counts it.

    Args:
        app: Answers.
        routes: Its routes.
        counts: Told what it answers.
        clock: How long an answer takes.
    """

    def __init__(
        self, app: ASGIApp, routes: Sequence[BaseRoute], counts: RequestCounts, clock: Clock
    ) -> None:
        self._app = app
        self._counts = counts
        self._clock = clock
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
        self._counts.took(self._clock.boot_seconds() - started)

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
        self._counts.answered(str(scope.get("path_template") or "none"), message["status"])

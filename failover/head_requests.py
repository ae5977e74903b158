"""HEAD for every address that has GET (RFC 9110, section 9.3.2): uptime monitors ask so."""

from collections.abc import Awaitable

from litestar.enums import HttpMethod, ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send


class HeadAsGet:
    """Serves a HEAD as the GET that it asks about, without the body; the framework alone would answer 405."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection event."""
        if scope["type"] != ScopeType.HTTP or scope["method"] != HttpMethod.HEAD:
            return self._app(scope, receive, send)
        return self._serve_head(scope, receive, send)

    async def _serve_head(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        scope["method"] = HttpMethod.GET

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        await self._app(scope, receive, without_body)

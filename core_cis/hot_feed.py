"""
Questions to the feed, answered before the framework: every follower asks after every commit, most are told the same.

Whatever is out of the ordinary is the framework's: other routes, parameters written otherwise than our own nodes write
them, whoever is not let in, a database that does not answer.
"""

import re
from typing import Final, NamedTuple

from litestar import Litestar
from litestar.enums import HttpMethod, ScopeType
from litestar.types import Receive, Scope, Send

from cache_sync.sql import Error
from core_cis.api.feed import FeedQuestion, feed_answer
from core_cis.listeners import is_for_nodes
from core_cis.services import CoreServices
from failover.web import (
    CERTIFIED_NODE,
    Problem,
    let_in,
    problem_response,
    refuse_late,
    send_response,
)

_PATH: Final = re.compile(r"/feed/([0-9a-z]{1,32})")
_QUERY: Final = re.compile(
    r"after=([0-9]{1,18})&epoch=([0-9]{1,18})&limit=([1-9][0-9]{0,8})&wait=([0-5]?[0-9](?:\.[0-9]{1,6})?)"
    r"&proof=([0-9a-f.]{0,256})"
)
_HEADERS: Final = frozenset({b"authorization", b"accept-encoding", b"ridethrough-deadline-ms"})


class _Asked(NamedTuple):
    """A question that may be answered here, and the headers that it depends on."""

    question: FeedQuestion
    headers: dict[str, str]


class HotFeed:
    """
    Stands before the framework; an ASGI application.

    Args:
        app: The core's application; answers everything else.
    """

    def __init__(self, app: Litestar) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        asked = _asked(scope)
        if asked is None:
            await self._app(scope, receive, send)
            return
        running: CoreServices = self._app.state.services
        try:
            node_id = await self._let_in(running, asked, scope)
        except (Problem, Error):
            # The framework says why not.
            await self._app(scope, receive, send)
            return
        answer = feed_answer(running, node_id, asked.question, asked.headers)
        try:
            await answer(scope, receive, send)
        except Problem as problem:
            await send_response(problem_response(problem), send)
        except Error:
            await self._app(scope, receive, send)

    async def _let_in(self, running: CoreServices, asked: _Asked, scope: Scope) -> str:
        await running.look_at_registry()
        certified = scope.get("state", {}).get(CERTIFIED_NODE)
        header = asked.headers.get("authorization")
        node_id = let_in(self._app.state.node_keys, header, certified)
        refuse_late(asked.headers)
        running.check_may_read(node_id, asked.question.shard)
        return node_id


def _asked(scope: Scope) -> _Asked | None:
    """Read a request; None for one that is the framework's."""
    if scope["type"] != ScopeType.HTTP or scope["method"] != HttpMethod.GET:
        return None
    path = _PATH.fullmatch(scope["path"])
    if path is None or not is_for_nodes(scope):
        return None
    query = _QUERY.fullmatch(scope["query_string"].decode("latin-1"))
    if query is None:
        return None
    after, epoch, limit, wait, proof = query.groups()
    question = FeedQuestion(path[1], int(after), int(epoch), int(limit), float(wait), proof)
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name in _HEADERS:
            key = name.decode("latin-1")
            if key in headers:
                return None
            headers[key] = value.decode("latin-1")
    return _Asked(question, headers)

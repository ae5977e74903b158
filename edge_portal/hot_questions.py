"""The requests that may be answered before the framework: who asks for what, and how far he has seen."""

from collections.abc import Callable
from typing import Final

import msgspec
from litestar.enums import HttpMethod, ScopeType
from litestar.types import Scope

from cache_sync.frames import Position
from edge_portal.cookies import POSITION_COOKIE, SESSION_COOKIE

ACCOUNT: Final = "/api/v1/account"
BILLS: Final = "/bills/"
_HTTP: Final = ScopeType.HTTP
_GET: Final = HttpMethod.GET
_BEARER: Final = b"bearer "
_REMEMBERED_MAX: Final = 4096
_REMEMBERED_BYTES: Final = 2048

_Raw = tuple[str, bytes | None, bytes | None, bytes | None]


class Question(msgspec.Struct, frozen=True):
    """
    A request that may be answered before the framework.

    ``key`` are its address and its token. ``page`` tells a page for people, asked for with cookies, from JSON.
    """

    key: tuple[str, str]
    page: bool
    seen: tuple[Position, ...]

    @property
    def token(self) -> str:
        """The sign-in token, not checked yet."""
        return self.key[1]

    @property
    def statement_id(self) -> str:
        """Which bill is asked for."""
        return self.key[0][len(BILLS) :]


class HotQuestions:
    """
    Reads requests; what it read of the last ones is remembered, as the same come again and again.

    Args:
        read_positions: Reads a position cookie; empty when it is nobody's of this installation.
    """

    def __init__(self, read_positions: Callable[[str], tuple[Position, ...]]) -> None:
        self._read_positions = read_positions
        self._remembered: dict[_Raw, Question] = {}

    def read(self, scope: Scope) -> Question | None:
        """Tell what is asked; None for whatever is the framework's."""
        if scope["type"] != _HTTP or scope["method"] != _GET:
            return None
        path = scope["path"]
        if (path != ACCOUNT and not path.startswith(BILLS)) or scope["query_string"]:
            return None
        authorization = cookies = position = None
        for name, value in scope["headers"]:
            if name == b"cookie":
                if cookies is not None:
                    return None
                cookies = value
            elif name == b"authorization":
                if authorization is not None:
                    return None
                authorization = value
            elif name == b"ridethrough-position":
                if position is not None:
                    return None
                position = value
        raw = (path, authorization, cookies, position)
        return self._remembered.get(raw) or self._read(raw)

    def _read(self, raw: _Raw) -> Question | None:
        path, authorization, cookies, position = raw
        header = (position or b"").decode("latin-1")
        if path != ACCOUNT:
            question = self._page(path, (cookies or b"").decode("latin-1"), header)
        elif cookies is None and (authorization or b"")[: len(_BEARER)].lower() == _BEARER:
            token = (authorization or b"")[len(_BEARER) :].decode("latin-1")
            question = Question((path, token), page=False, seen=self._seen(header, ""))
        else:
            question = None
        size = len(path) + sum(len(part) for part in raw[1:] if part is not None)
        if question is not None and size <= _REMEMBERED_BYTES:
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[raw] = question
        return question

    def _page(self, path: str, cookies: str, header: str) -> Question | None:
        named = [part.strip().partition("=")[::2] for part in cookies.split(";")]
        tokens = [value for name, value in named if name == SESSION_COOKIE]
        positions = [value for name, value in named if name == POSITION_COOKIE]
        # Quoted values and doubled names are for those who know all the rules.
        plain = not any('"' in value or "%" in value for value in (*tokens, *positions))
        if len(tokens) != 1 or len(positions) > 1 or not plain or "/" in path[len(BILLS) :]:
            return None
        seen = self._seen(header, positions[0] if positions else "")
        return Question((path, tokens[0]), page=True, seen=seen)

    def _seen(self, header: str, cookie: str) -> tuple[Position, ...]:
        named = Position.parse(header) if header else None
        seen = self._read_positions(cookie) if cookie else ()
        return seen if named is None else (*seen, named)

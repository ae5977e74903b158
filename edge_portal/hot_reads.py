"""
The reads that customers make most, answered before the framework: the account as JSON, and a bill's page.

The first time the framework answers, and the answer is kept. It is given again, with fresh labels, while everything
that it was made from is the same: the token is still good and the credential the same, the account's documents and
recorded payments are those, the mode and the words about time would be the same. That is looked at with every request.
Whatever is out of the ordinary is the framework's: other methods, queries, customers who have seen more than this node
has, cookies to be renewed, a snapshot of another boot, errors.
"""

from datetime import datetime
from typing import Final, NamedTuple

from litestar.enums import HttpMethod, ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from cache_sync.clock import Clock
from cache_sync.errors import SyncError
from cache_sync.frames import Position
from edge_portal import words
from edge_portal.cookies import POSITION_COOKIE, SESSION_COOKIE
from edge_portal.errors import EdgeError
from edge_portal.kept_answers import (
    KEPT_SECONDS,
    Conditions,
    Headers,
    Kept,
    KeptAnswers,
    take_apart,
    with_labels,
)
from edge_portal.pages.band import FRESH_SECONDS, as_of_words
from edge_portal.portal import Portal
from edge_portal.session import IDLE_LIFETIME, RENEW_AFTER, Session
from edge_portal.snapshot_watch import Moment, SnapshotWatch
from edge_portal.views import Freshness, ModeView
from failover.errors import JournalError

_ACCOUNT: Final = "/api/v1/account"
_BILLS: Final = "/bills/"
_OK: Final = 200
_RENEWED_BEFORE: Final = IDLE_LIFETIME - RENEW_AFTER
_BEARER: Final = b"bearer "
_POSITIONS_MAX: Final = 4096
_UNREADABLE: Final = (SyncError, JournalError)


class _Question(NamedTuple):
    """A request that may be answered here: who asks for what, and how far he has seen."""

    path: str
    token: str
    page: bool
    seen: tuple[Position, ...]

    @property
    def key(self) -> tuple[str, str]:
        return self.path, self.token


class HotReads:
    """
    Stands before the framework; an ASGI application.

    Args:
        app: Answers everything that is not kept.
        portal: The worker's.
        watch: Looks at what the portal reads.
        clock: How long an answer is kept.
    """

    def __init__(self, app: ASGIApp, portal: Portal, watch: SnapshotWatch, clock: Clock) -> None:
        self._app = app
        self._portal = portal
        self._watch = watch
        self._clock = clock
        self._kept = KeptAnswers()
        self._positions: dict[str, tuple[Position, ...]] = {}
        self._written: tuple[Position | None, bytes] = (None, b"")
        self._told: dict[tuple[object, ...], tuple[object, ...]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        question = self._question(scope)
        if question is None:
            await self._app(scope, receive, send)
            return
        try:
            moment = self._watch.look()
            kept = self._kept.get(question.key)
            if _is_ordinary(question, moment) and kept and self._holds(kept, question, moment):
                await self._answer(kept, moment, scope, send)
                return
        except (*_UNREADABLE, EdgeError):
            # The framework has words for that.
            await self._app(scope, receive, send)
            return
        await self._ask(question, moment, scope, receive, send)

    # -- what is asked -------------------------------------------------------------------------------------------------

    def _question(self, scope: Scope) -> _Question | None:
        if scope["type"] != ScopeType.HTTP or scope["method"] != HttpMethod.GET:
            return None
        path = scope["path"]
        page = path.startswith(_BILLS)
        if scope["query_string"] or not (page or path == _ACCOUNT):
            return None
        found: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in {b"authorization", b"cookie", b"ridethrough-position"}:
                if name in found:
                    return None
                found[name] = value
        header = found.get(b"ridethrough-position", b"").decode("latin-1")
        if page:
            return self._page_question(path, found.get(b"cookie", b"").decode("latin-1"), header)
        bearer = found.get(b"authorization", b"")
        if b"cookie" in found or bearer[: len(_BEARER)].lower() != _BEARER:
            return None
        token = bearer[len(_BEARER) :].decode("latin-1")
        return _Question(path, token, page=False, seen=self._seen(header, ""))

    def _page_question(self, path: str, cookies: str, header: str) -> _Question | None:
        named = [part.strip().partition("=")[::2] for part in cookies.split(";")]
        tokens = [value for name, value in named if name == SESSION_COOKIE]
        positions = [value for name, value in named if name == POSITION_COOKIE]
        # Quoted values and doubled names are for those who know all the rules.
        plain = not any('"' in value or "%" in value for value in (*tokens, *positions))
        if len(tokens) != 1 or len(positions) > 1 or not plain or "/" in path[len(_BILLS) :]:
            return None
        seen = self._seen(header, positions[0] if positions else "")
        return _Question(path, tokens[0], page=True, seen=seen)

    def _seen(self, header: str, cookie: str) -> tuple[Position, ...]:
        named = Position.parse(header) if header else None
        seen = self._cookie_positions(cookie) if cookie else ()
        return seen if named is None else (*seen, named)

    def _cookie_positions(self, cookie: str) -> tuple[Position, ...]:
        seen = self._positions.get(cookie)
        if seen is None:
            if len(self._positions) >= _POSITIONS_MAX:
                self._positions.clear()
            seen = self._positions[cookie] = self._portal.read_positions(cookie)
        return seen

    # -- whether what is kept still holds ------------------------------------------------------------------------------

    def _holds(self, kept: Kept, question: _Question, moment: Moment) -> bool:
        too_old = self._clock.boot_seconds() - kept.made_at > KEPT_SECONDS
        if too_old or moment.core_now.timestamp() >= kept.until:
            return False
        if kept.conditions != self._conditions(question, moment, kept.timezone):
            return False
        if kept.place == moment.place and kept.journal == moment.journal:
            return True
        # Something has moved, of this account or of another; the token is checked against the credential of now.
        session = self._portal.authenticate(question.token)
        if session.account_id != kept.account_id:
            return False
        if self._watch.facts(kept.account_id) != kept.facts:
            return False
        kept.place, kept.journal = moment.place, moment.journal
        return True

    def _conditions(self, question: _Question, moment: Moment, timezone: str) -> Conditions:
        mode = self._portal.mode()
        if not question.page:
            return Conditions(mode, ())
        return Conditions(mode, self._told_words(moment, mode, timezone))

    def _told_words(self, moment: Moment, mode: ModeView, timezone: str) -> tuple[object, ...]:
        """Tell the day and, where the page names it, the as-of time in words; once a minute for each zone."""
        now = moment.core_now
        stale = moment.age_seconds > FRESH_SECONDS
        named = mode.mode != "normal"
        key = (timezone, now.timestamp() // 60, stale, moment.state.as_of if named else None)
        told = self._told.get(key)
        if told is None:
            if len(self._told) >= _POSITIONS_MAX:
                self._told.clear()
            told = self._told[key] = _told(moment, timezone, stale=stale, named=named)
        return told

    # -- answering -----------------------------------------------------------------------------------------------------

    async def _answer(self, kept: Kept, moment: Moment, scope: Scope, send: Send) -> None:
        headers, body = with_labels(kept.made, moment, self._written_position(moment))
        scope["path_template"] = kept.path_template
        await send({"type": "http.response.start", "status": _OK, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _written_position(self, moment: Moment) -> bytes:
        position = moment.state.position
        if self._written[0] != position:
            self._written = (position, self._portal.write_positions((position,)).encode())
        return self._written[1]

    async def _ask(
        self, question: _Question, moment: Moment, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Have the framework answer, and keep the answer where nothing moved meanwhile and all of it is known."""
        try:
            session = self._portal.authenticate(question.token)
            facts = self._watch.facts(session.account_id)
            timezone = self._watch.timezone(session.account_id)
            conditions = self._conditions(question, moment, timezone)
        except (*_UNREADABLE, EdgeError):
            await self._app(scope, receive, send)
            return
        spied = _Spied(send)
        await self._app(scope, receive, spied)
        if spied.status != _OK or not _is_ordinary(question, moment) or session.renew:
            return
        if question.page and not self._is_held(session, question):
            return
        try:
            after = self._watch.look()
        except _UNREADABLE:
            return
        unmoved = (after.place, after.journal) == (moment.place, moment.journal)
        made = take_apart(spied.headers, spied.body, self._written_position(moment))
        if not unmoved or made is None or conditions != self._conditions(question, after, timezone):
            return
        kept = Kept(
            account_id=session.account_id,
            timezone=timezone,
            path_template=str(scope.get("path_template") or "none"),
            made=made,
            conditions=conditions,
            facts=facts,
            until=_until(question, session).timestamp(),
            made_at=self._clock.boot_seconds(),
            place=moment.place,
            journal=moment.journal,
        )
        self._kept.put(question.key, kept)

    def _is_held(self, session: Session, question: _Question) -> bool:
        """Tell whether a bill is this node's own: what the core was asked for is asked for again."""
        statement_id = question.path[len(_BILLS) :]
        return self._portal.statement(session.account_id, statement_id) is not None


class _Spied:
    """Passes an answer on and remembers it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.headers: Headers = []
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = list(message["headers"])
        elif message["type"] == "http.response.body":
            self.body += message["body"]
        await self._send(message)


def _is_ordinary(question: _Question, moment: Moment) -> bool:
    """Tell whether the age is known, and the asker has not seen more elsewhere."""
    state = moment.state
    return not state.at_least and all(
        seen.shard == state.shard and (seen.epoch, seen.seq) <= (state.epoch, state.cursor)
        for seen in question.seen
    )


def _until(question: _Question, session: Session) -> datetime:
    """Tell when the token must be seen to again: it ends, or a page renews its cookie."""
    return session.expires_at - _RENEWED_BEFORE if question.page else session.expires_at


def _told(moment: Moment, timezone: str, *, stale: bool, named: bool) -> tuple[object, ...]:
    state = moment.state
    today = words.local_date(moment.core_now, timezone)
    if not named:
        return (today,)
    freshness = Freshness(
        position=state.position,
        as_of=state.as_of,
        age_seconds=moment.age_seconds,
        at_least=state.at_least,
    )
    return (today, stale, *as_of_words(freshness, timezone))

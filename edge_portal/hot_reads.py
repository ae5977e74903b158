"""
The reads that customers make most, answered before the framework: the account as JSON, and a bill's page.

The first time the framework answers, and the answer is kept. It is given again, with fresh labels, while everything
that it was made from is the same: the token is still good and the credential the same, the account's documents and
recorded payments are those, the mode and the words about time would be the same. That is looked at for every request,
once for those that wait together. Whatever is out of the ordinary is the framework's: other methods, queries, customers
who have seen more than this node has, cookies to be renewed, a snapshot of another boot, errors.
"""

from datetime import datetime
from typing import Final

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from cache_sync.clock import Clock
from cache_sync.errors import SyncError
from cache_sync.once_a_turn import OnceATurn
from edge_portal.errors import EdgeError
from edge_portal.hot_moments import HotMoment, HotMoments
from edge_portal.hot_questions import HotQuestions, Question
from edge_portal.kept_answers import KEPT_SECONDS, Headers, Kept, KeptAnswers, take_apart
from edge_portal.portal import Portal
from edge_portal.request_counts import RequestCounts
from edge_portal.session import IDLE_LIFETIME, RENEW_AFTER, Session
from edge_portal.snapshot_watch import SnapshotWatch
from failover.errors import JournalError

_OK: Final = 200
_RENEWED_BEFORE: Final = IDLE_LIFETIME - RENEW_AFTER
_UNREADABLE: Final = (SyncError, JournalError)
_NOT_HERE: Final = (*_UNREADABLE, EdgeError)


class HotReads:
    """
    Stands before the framework; an ASGI application.

    Args:
        app: Answers everything that is not kept, and counts what it answers.
        portal: The worker's.
        watch: Looks at what the portal reads.
        counts: Told what is answered here.
        clock: How long an answer is kept, and how long it takes.
    """

    def __init__(
        self,
        app: ASGIApp,
        portal: Portal,
        watch: SnapshotWatch,
        counts: RequestCounts,
        clock: Clock,
    ) -> None:
        self._app = app
        self._portal = portal
        self._watch = watch
        self._counts = counts
        self._clock = clock
        self._questions = HotQuestions(portal.read_positions)
        self._look = HotMoments(watch, portal.mode, portal.write_positions, clock).look
        self._moments = OnceATurn(self._look)
        self._kept = KeptAnswers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        question = self._questions.read(scope)
        if question is None:
            await self._app(scope, receive, send)
            return
        started = self._clock.boot_seconds()
        try:
            now = self._moments.get()
            kept = self._kept.get(question.key)
            holds = kept is not None and self._holds(kept, question, now)
        except _NOT_HERE:
            # The framework has words for that.
            await self._app(scope, receive, send)
            return
        if kept is None or not holds:
            await self._ask(question, now, scope, receive, send)
            return
        headers, body = kept.made.with_labels(now.labels)
        await send({"type": "http.response.start", "status": _OK, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
        self._counts.answered(kept.path_template, _OK)
        self._counts.took(self._clock.boot_seconds() - started)

    def _holds(self, kept: Kept, question: Question, now: HotMoment) -> bool:
        """Tell whether the framework would answer the same now, but for the labels."""
        if now.at - kept.made_at > KEPT_SECONDS or now.core_seconds >= kept.until:
            return False
        if not now.is_ordinary(question):
            return False
        conditions = now.conditions(kept.timezone, page=question.page)
        if kept.conditions is not conditions and kept.conditions != conditions:
            return False
        if kept.standing != now.standing:
            # Something has moved, of this account or of another; the token is checked against the credential of now.
            session = self._portal.authenticate(question.token)
            if session.account_id != kept.account_id:
                return False
            if self._watch.facts(kept.account_id) != kept.facts:
                return False
        kept.standing, kept.conditions = now.standing, conditions
        return True

    async def _ask(
        self,
        question: Question,
        before: HotMoment,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """
        Have the framework answer, and keep the answer where nothing moved meanwhile and all of it is known.

        ``before`` is from before anything is read for it.
        """
        try:
            session = self._portal.authenticate(question.token)
            facts = self._watch.facts(session.account_id)
            timezone = self._watch.timezone(session.account_id)
        except _NOT_HERE:
            await self._app(scope, receive, send)
            return
        spied = _Spied(send)
        await self._app(scope, receive, spied)
        if spied.status != _OK or not before.is_ordinary(question) or session.renew:
            return
        try:
            if question.page and not self._is_held(session, question):
                return
            after = self._look()
        except _UNREADABLE:
            return
        conditions = before.conditions(timezone, page=question.page)
        unmoved = after.standing == before.standing
        made = take_apart(spied.headers, spied.body, before.labels.written_position)
        if (
            not unmoved
            or made is None
            or conditions != after.conditions(timezone, page=question.page)
        ):
            return
        kept = Kept(
            account_id=session.account_id,
            timezone=timezone,
            path_template=str(scope.get("path_template") or "none"),
            made=made,
            conditions=conditions,
            facts=facts,
            until=_until(question, session).timestamp(),
            made_at=before.at,
            standing=before.standing,
        )
        self._kept.put(question.key, kept)

    def _is_held(self, session: Session, question: Question) -> bool:
        """Tell whether a bill is this node's own: what the core was asked for is asked for again."""
        return self._watch.holds_statement(session.account_id, question.statement_id)


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


def _until(question: Question, session: Session) -> datetime:
    """Tell when the token must be seen to again: it ends, or a page renews its cookie."""
    return session.expires_at - _RENEWED_BEFORE if question.page else session.expires_at

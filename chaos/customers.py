"""Customers of a drill: they sign in, read and pay over the real API, and write down what they were told."""

import asyncio
import contextlib
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from cache_sync.frames import Position
from chaos.fleet_file import Customer
from chaos.history import Attempt, History, Read, Sighting
from chaos.money_invariants import FINAL, TAKEN

READ_SECONDS_MAX = 5.0
PAY_SECONDS_MAX = 10.0
SIGN_IN_TRIES = 20
SIGN_IN_PAUSE_SECONDS = 0.5
# A token lives a quarter of an hour; a long drill outlives it.
SESSION_RENEWED_AFTER = timedelta(minutes=10)
SESSION_COOKIE = "ridethrough_session"


def now() -> datetime:
    """Tell the wall-clock time, UTC; everything runs on one machine."""
    return datetime.now(UTC)


class EdgeClient:
    """One edge as its customers reach it; an async context manager."""

    def __init__(
        self, name: str, url: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.name = name
        self._http = httpx.AsyncClient(
            base_url=url,
            transport=transport,
            timeout=PAY_SECONDS_MAX,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=50),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        headers: dict[str, str] | None = None,
        body: dict[str, object] | None = None,
    ) -> "Answer":
        """Ask once, within ``seconds`` altogether; an answer that did not come has status 0."""
        sent = now()
        try:
            # Requests are few and the pool has no bound, so a deadline around one leaks nothing.
            async with asyncio.timeout(seconds):
                response = await self._http.request(method, path, headers=headers, json=body)
        except (httpx.HTTPError, TimeoutError) as error:
            return Answer(sent, now(), 0, {}, None, type(error).__name__)
        received = now()
        content: Any = None
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            content = msgspec.json.decode(response.content)
        return Answer(
            sent, received, response.status_code, response.headers, content, response.text
        )


class Answer:
    """What came back, and when."""

    def __init__(
        self,
        sent_at: datetime,
        received_at: datetime,
        status: int,
        headers: "httpx.Headers | dict[str, str]",
        content: Any,
        text: str,
    ) -> None:
        self.sent_at = sent_at
        self.received_at = received_at
        self.status = status
        self.headers = headers
        self.text = text
        self.members: dict[str, Any] = content if isinstance(content, dict) else {}

    @property
    def ok(self) -> bool:
        """Whether it is a 200."""
        return self.status == httpx.codes.OK

    @property
    def problem(self) -> str:
        """The slug of the problem, or what went wrong on the way; empty when nothing did."""
        if self.status == 0:
            return self.text
        return str(self.members.get("type", "")).rpartition(":")[2] if self.status >= 400 else ""  # noqa: PLR2004

    def number(self, name: str) -> int | None:
        """Return a member that is an integer."""
        value = self.members.get(name)
        return value if isinstance(value, int) else None

    @property
    def age_seconds(self) -> float | None:
        """The age that the answer claims."""
        try:
            return float(self.headers["Age"])
        except (KeyError, ValueError):
            return None

    @property
    def as_of(self) -> datetime | None:
        """The as-of time that the answer claims."""
        try:
            at = datetime.fromisoformat(self.headers["Ridethrough-As-Of"])
        except (KeyError, ValueError):
            return None
        return at if at.tzinfo is not None else None


class CustomerSession:
    """
    One signed-in customer who moves between edges, one request after the other.

    Remembers the position and every payment's last known state, as an attentive customer would.
    """

    def __init__(self, customer: Customer, history: History, *, untouched: bool = False) -> None:
        self.customer = customer
        self.account_id = customer.account_id
        self.payments: dict[str, str] = {}
        self.method_id = ""
        self.statements: list[str] = []
        self.archived: list[str] = []
        self._amounts: dict[str, int] = {}
        self._history = history
        self._untouched = untouched
        self._token = ""
        self._signed_in_at = now()
        self._position = ""

    @property
    def open_payments(self) -> list[str]:
        """Payments whose end this customer has not been told yet."""
        return [intent for intent, state in self.payments.items() if state not in FINAL]

    @property
    def cookie(self) -> dict[str, str]:
        """The headers with which a browser would ask for a page."""
        return {"Cookie": f"{SESSION_COOKIE}={self._token}"}

    def _headers(self) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self._token}"}
        if self._position:
            headers["Ridethrough-Position"] = self._position
        return headers

    def _own_cents(self) -> tuple[int, int]:
        """Sum what was said to be taken, and what may have been."""
        taken = sum(
            self._amounts[intent] for intent, state in self.payments.items() if state in TAKEN
        )
        maybe = sum(
            self._amounts[intent]
            for intent, state in self.payments.items()
            if state not in TAKEN and state not in FINAL
        )
        return taken, maybe

    async def sign_in(self, edge: EdgeClient) -> None:
        """Sign in, waiting while the edge is busy; a sign-in that fails is kept as a failed read."""
        body: dict[str, object] = {"email": self.customer.email, "password": self.customer.password}
        answer = await edge.ask("POST", "/api/v1/session", seconds=READ_SECONDS_MAX, body=body)
        for _ in range(SIGN_IN_TRIES):
            if answer.status not in {429, 503}:
                break
            await asyncio.sleep(SIGN_IN_PAUSE_SECONDS)
            answer = await edge.ask("POST", "/api/v1/session", seconds=READ_SECONDS_MAX, body=body)
        token = answer.members.get("token")
        if not isinstance(token, str):
            self._keep(edge, answer, "session", archive=False)
            return
        self._token = token
        self._signed_in_at = answer.received_at

    async def _stay_signed_in(self, edge: EdgeClient) -> None:
        if not self._token or now() - self._signed_in_at > SESSION_RENEWED_AFTER:
            await self.sign_in(edge)

    async def read(
        self, edge: EdgeClient, path: str, what: str, *, archive: bool = False
    ) -> Answer:
        """Read a resource and write down what came."""
        await self._stay_signed_in(edge)
        taken, maybe = self._own_cents()
        headers = self._headers()
        answer = await edge.ask("GET", f"/api/v1{path}", seconds=READ_SECONDS_MAX, headers=headers)
        self._keep(edge, answer, what, archive=archive, taken=taken, maybe=maybe)
        self._remember_position(answer)
        return answer

    def _remember_position(self, answer: Answer) -> None:
        """Keep the furthest position ever seen, so that falling behind is noticed every time."""
        seen = Position.parse(str(answer.headers.get("Ridethrough-Position", "")))
        known = Position.parse(self._position)
        if seen is not None and (
            known is None or (seen.epoch, seen.seq) > (known.epoch, known.seq)
        ):
            self._position = str(seen)

    def _keep(
        self,
        edge: EdgeClient,
        answer: Answer,
        what: str,
        *,
        archive: bool,
        taken: int = 0,
        maybe: int = 0,
    ) -> None:
        balance = what == "account"
        self._history.reads.append(
            Read(
                sent_at=answer.sent_at,
                received_at=answer.received_at,
                edge=edge.name,
                session=self.account_id,
                account_id=self.account_id,
                what=what,
                status=answer.status,
                problem=answer.problem,
                age_seconds=answer.age_seconds,
                as_of=answer.as_of,
                mode=str(answer.headers.get("Ridethrough-Mode", "")),
                position=str(answer.headers.get("Ridethrough-Position", "")),
                catching_up=bool(answer.members.get("catching_up")),
                balance_cents=answer.number("balance") if balance else None,
                pending_cents=answer.number("pending_amount") if balance else None,
                archive=archive,
                untouched=self._untouched,
                own_cents=taken,
                own_maybe_cents=maybe,
            )
        )

    async def read_account(self, edge: EdgeClient) -> Answer:
        """Read the account; remembers the first verified way to pay."""
        answer = await self.read(edge, "/account", "account")
        for method in answer.members.get("payment_methods") or []:
            if method.get("status", "verified") == "verified":
                self.method_id = self.method_id or str(method["id"])
        return answer

    async def read_statements(self, edge: EdgeClient) -> Answer:
        """Read the list of statements; remembers which are held here and which only in the core."""
        answer = await self.read(edge, "/statements", "statements")
        if answer.ok:
            items = answer.members.get("items") or []
            archived = [item for item in items if item.get("archived")]
            archived += answer.members.get("archived") or []
            self.archived = [str(item["id"]) for item in archived]
            self.statements = [str(item["id"]) for item in items if not item.get("archived")]
        return answer

    async def read_payment(self, edge: EdgeClient, intent_id: str) -> Sighting:
        """Ask what became of a payment and write down what was said."""
        answer = await self.read(edge, f"/payments/{intent_id}", "payment")
        seen = self._sight(edge, answer, intent_id)
        self._history.sightings.append(seen)
        return seen

    async def read_payments(self, edge: EdgeClient) -> None:
        """Read the list of payments; every own one in it is a sighting."""
        answer = await self.read(edge, "/payments", "payments")
        for item in answer.members.get("items") or []:
            if item.get("id") in self.payments:
                one = Answer(
                    answer.sent_at, answer.received_at, answer.status, answer.headers, item, ""
                )
                self._history.sightings.append(self._sight(edge, one, str(item["id"])))

    async def read_page(self, edge: EdgeClient, path: str) -> Answer:
        """Read a page as a browser does and write down whether it came."""
        await self._stay_signed_in(edge)
        answer = await edge.ask("GET", path, seconds=READ_SECONDS_MAX, headers=self.cookie)
        self._keep(edge, answer, f"page {path}", archive=False)
        return answer

    async def pay(self, edge: EdgeClient, *, key: str, intent_id: str, amount_cents: int) -> str:
        """
        Try to pay once and return the state told; empty when none was.

        Repeat with the same key when nothing was told: it can never pay twice.
        """
        await self._stay_signed_in(edge)
        first = intent_id not in self.payments
        if first:
            self.payments[intent_id] = ""
            self._amounts[intent_id] = amount_cents
        answer = await edge.ask(
            "POST",
            "/api/v1/payments",
            seconds=PAY_SECONDS_MAX,
            headers={**self._headers(), "Idempotency-Key": key},
            body={"amount": amount_cents, "method_id": self.method_id},
        )
        told = answer.status in {200, 201, 202}
        state = str(answer.members.get("state", "")) if told else ""
        self._history.attempts.append(
            Attempt(
                sent_at=answer.sent_at,
                received_at=answer.received_at,
                edge=edge.name,
                session=self.account_id,
                account_id=self.account_id,
                intent_id=intent_id,
                amount_cents=amount_cents,
                status=answer.status,
                state=state,
                problem=answer.problem,
            )
        )
        if state:
            self._remember_position(answer)
            self._history.sightings.append(self._sight(edge, answer, intent_id))
        elif first and answer.status in {409, 422}:
            # Refused for good before anything was recorded under this key.
            del self.payments[intent_id]
        return state

    def _sight(self, edge: EdgeClient, answer: Answer, intent_id: str) -> Sighting:
        state = str(answer.members.get("state", "")) if answer.status < 300 else ""  # noqa: PLR2004
        if state and intent_id in self.payments:
            self.payments[intent_id] = state
        day = answer.members.get("value_date")
        return Sighting(
            sent_at=answer.sent_at,
            received_at=answer.received_at,
            edge=edge.name,
            session=self.account_id,
            account_id=self.account_id,
            intent_id=str(answer.members.get("id") or intent_id),
            status=answer.status,
            state=state,
            amount_cents=answer.number("amount") or 0,
            value_date=date.fromisoformat(day) if isinstance(day, str) else None,
            reason=str(answer.members.get("reason") or ""),
        )

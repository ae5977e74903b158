"""A drill's customers: what they carry on, what they write down, and that they never pay twice by mistake."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from chaos.customers import CustomerSession, EdgeClient
from chaos.fleet_file import Customer
from chaos.history import History, Milestones

CUSTOMER = Customer(account_id="account-1", email="a@example.com", password="secret")
LABELS = {
    "Age": "3",
    "Ridethrough-As-Of": "2026-11-17T15:00:00.000001Z",
    "Ridethrough-Mode": "normal",
}


class Edge:
    """An edge that answers as told and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.answer: Callable[[httpx.Request], httpx.Response] = self.well
        self.position = "1.0.10"

    def well(self, request: httpx.Request) -> httpx.Response:
        """Answer every read with an account."""
        body: dict[str, Any] = {"balance": 500, "pending_amount": 0, "payment_methods": []}
        return httpx.Response(
            200, json=body, headers={**LABELS, "Ridethrough-Position": self.position}
        )

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Let customers in, and answer everything else as told."""
        if request.url.path == "/api/v1/session":
            return httpx.Response(201, json={"token": "token"})
        self.asked.append(request)
        return self.answer(request)


@pytest.fixture
def edge() -> Edge:
    """Return an edge in memory."""
    return Edge()


@pytest.fixture
def client(edge: Edge) -> EdgeClient:
    """Return its client."""
    return EdgeClient("edge-1", "http://edge", httpx.MockTransport(edge.handle))


@pytest.fixture
def history() -> History:
    """Return an empty history."""
    begun = Milestones(begun_at=datetime(2026, 11, 17, 15, 0, tzinfo=UTC))
    return History(edges=["edge-1"], timezone="UTC", milestones=begun)


async def test_a_read_is_written_down_with_its_labels(client: EdgeClient, history: History) -> None:
    """Age, as-of time, mode, position and balances are kept as they were shown."""
    await CustomerSession(CUSTOMER, history).read_account(client)
    (read,) = history.reads
    assert (read.status, read.age_seconds, read.mode, read.position) == (200, 3, "normal", "1.0.10")
    assert read.as_of == datetime(2026, 11, 17, 15, 0, 0, 1, tzinfo=UTC)
    assert (read.balance_cents, read.pending_cents) == (500, 0)
    assert read.sent_at <= read.received_at


async def test_the_furthest_position_is_carried_on(
    edge: Edge, client: EdgeClient, history: History
) -> None:
    """Also after an answer from an edge that is behind, so that every later one is measured against it."""
    session = CustomerSession(CUSTOMER, history)
    for position in ("1.0.10", "1.0.30", "1.0.20"):
        edge.position = position
        await session.read_account(client)
    await session.read_account(client)
    carried = [request.headers.get("Ridethrough-Position") for request in edge.asked]
    assert carried == [None, "1.0.10", "1.0.30", "1.0.30"]


async def test_no_answer_is_a_failed_read(edge: Edge, client: EdgeClient, history: History) -> None:
    """A connection that breaks is written down, not raised."""

    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    edge.answer = broken
    await CustomerSession(CUSTOMER, history).read_account(client)
    assert (history.reads[0].status, history.reads[0].problem) == (0, "ConnectError")


async def test_what_was_accepted_is_expected_to_show(
    edge: Edge, client: EdgeClient, history: History
) -> None:
    """After "accepted" every later read is kept with what this customer has paid; before the answer, with maybe."""
    session = CustomerSession(CUSTOMER, history)

    def unknown(request: httpx.Request) -> httpx.Response:
        return httpx.Response(504, json={"type": "urn:ridethrough:problem:payment_unknown"})

    def accepted(request: httpx.Request) -> httpx.Response:
        body = {"id": "intent-1", "state": "accepted", "amount": 120}
        return httpx.Response(202, json=body, headers=LABELS)

    expected = []
    for answer, state in ((unknown, ""), (accepted, "accepted")):
        edge.answer = answer
        told = await session.pay(client, key="key-1", intent_id="intent-1", amount_cents=120)
        assert told == state
        edge.answer = edge.well
        await session.read_account(client)
        expected.append((history.reads[-1].own_cents, history.reads[-1].own_maybe_cents))
    assert expected == [(0, 120), (120, 0)]
    keys = [
        request.headers["Idempotency-Key"] for request in edge.asked if request.method == "POST"
    ]
    assert keys == ["key-1", "key-1"]
    assert [attempt.problem for attempt in history.attempts] == ["payment_unknown", ""]
    assert session.open_payments == ["intent-1"]


async def test_a_refusal_at_once_is_the_end_of_it(
    edge: Edge, client: EdgeClient, history: History
) -> None:
    """A payment over a limit is not waited for; one that may have been taken before still is."""
    session = CustomerSession(CUSTOMER, history)
    edge.answer = lambda _: httpx.Response(422, json={"type": "urn:ridethrough:problem:over_limit"})
    await session.pay(client, key="key-1", intent_id="intent-1", amount_cents=120)
    assert session.payments == {}
    edge.answer = lambda _: httpx.Response(504, json={})
    await session.pay(client, key="key-2", intent_id="intent-2", amount_cents=120)
    edge.answer = lambda _: httpx.Response(422, json={})
    await session.pay(client, key="key-2", intent_id="intent-2", amount_cents=120)
    assert session.open_payments == ["intent-2"]


async def test_an_archived_statement_is_known_as_such(
    edge: Edge, client: EdgeClient, history: History
) -> None:
    """Statements that only the core holds are told apart from those that every edge must show."""
    items = [{"id": "new", "archived": False}, {"id": "old", "archived": True}]
    edge.answer = lambda _: httpx.Response(200, json={"items": items}, headers=LABELS)
    session = CustomerSession(CUSTOMER, history)
    await session.read_statements(client)
    assert (session.statements, session.archived) == (["new"], ["old"])

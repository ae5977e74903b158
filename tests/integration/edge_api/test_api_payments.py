"""Paying over ``/api/v1``: nothing bad that is sent changes anything."""

from typing import Any

import httpx
import msgspec
import pytest

from cache_sync.frames import Position
from edge_portal.agent_link import AgentSilent, ReceiptReply, RefusedReply
from failover.intents import intent_id
from tests.integration.edge_api.asking import GOOD, assert_problem, pay
from tests.unit.edge_portal.edge_world import (
    BANK,
    EXPIRED_CARD,
    MINE,
    OTHERS_BANK,
    EdgeWorld,
    receipt,
)


async def test_a_payment_is_handed_over_as_asked(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """And answered with the position at which the core decided it, so that other edges know."""
    answer = await pay(client)
    assert answer.status_code == 201
    assert answer.json()["id"] == intent_id(MINE, "key-1")
    assert answer.json()["amount"] == 2_500
    assert answer.headers["Ridethrough-Position"] == str(Position(1, "0", 11))
    (asked,) = world.agent.asked
    assert msgspec.to_builtins(asked) == {
        "type": "pay",
        "account_id": MINE,
        "idempotency_key": "key-1",
        "amount_cents": 2_500,
        "currency": "USD",
        "method_id": BANK,
        "method_verified": True,
        "method_type": "bank_account",
    }


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("posted", 201),
        ("accepted", 202),
        ("checking", 202),
        ("rejected", 200),
        ("dead_letter", 200),
        ("cancelled", 200),
        ("void", 503),
    ],
)
async def test_the_status_tells_the_state(
    client: httpx.AsyncClient, world: EdgeWorld, state: Any, status: int
) -> None:
    """As the contract names them."""
    world.agent.reply = ReceiptReply(receipt("key-1", state=state))
    answer = await pay(client)
    assert answer.status_code == status
    if status < 300:
        assert answer.json()["state"] == state


@pytest.mark.parametrize(
    ("reply", "status", "slug", "retry"),
    [
        (RefusedReply("key_reused"), 409, "key_reused", None),
        (RefusedReply("over_limit", "per_payment", "over"), 422, "over_limit", None),
        (RefusedReply("not_taken"), 503, "not_taken", "same"),
        (RefusedReply("unknown"), 504, "payment_unknown", "same"),
        (AgentSilent("down"), 504, "payment_unknown", "same"),
    ],
)
async def test_what_did_not_work_says_what_to_do(
    client: httpx.AsyncClient,
    world: EdgeWorld,
    reply: Any,
    status: int,
    slug: str,
    retry: str | None,
) -> None:
    """And names the payment's id, so that it can be asked for."""
    world.agent.reply = reply
    answer = await pay(client)
    assert_problem(answer, status, slug)
    assert answer.json().get("retry") == retry
    assert answer.json()["id"] == intent_id(MINE, "key-1")


@pytest.mark.parametrize(
    ("body", "status", "slug", "field"),
    [
        ({"amount": 0, "method_id": BANK}, 422, "invalid_payment", "amount"),
        ({"amount": -5, "method_id": BANK}, 422, "invalid_payment", "amount"),
        ({"amount": 10**12, "method_id": BANK}, 422, "invalid_payment", "amount"),
        ({"amount": 1_000_001, "method_id": BANK}, 422, "invalid_payment", "amount"),
        ({"amount": 1.5, "method_id": BANK}, 422, "invalid_body", "amount"),
        (b'{"amount": 1e2, "method_id": "pm_bank"}', 422, "invalid_body", "amount"),
        ({"amount": "12", "method_id": BANK}, 422, "invalid_body", "amount"),
        ({"amount": True, "method_id": BANK}, 422, "invalid_body", "amount"),
        ({"amount": None, "method_id": BANK}, 422, "invalid_body", "amount"),
        ({"method_id": BANK}, 422, "invalid_body", "amount"),
        ({"amount": 5}, 422, "invalid_body", "method_id"),
        ({**GOOD, "currency": "EUR"}, 422, "invalid_body", "currency"),
        ({"amount": 5, "method_id": OTHERS_BANK}, 422, "invalid_payment", "method_id"),
        ({"amount": 5, "method_id": EXPIRED_CARD}, 422, "invalid_payment", "method_id"),
        ({"amount": 5, "method_id": "x" * 5_000}, 422, "invalid_payment", "method_id"),
        ([1, 2], 422, "invalid_body", ""),
        (b"{broken", 400, "bad_body", ""),
        (b'{"amount": 5, "amount": 6, "method_id": "pm_bank"}', 400, "bad_body", ""),
        (b'{"amount": 5, "\\u0061mount": 5, "method_id": "pm_bank"}', 400, "bad_body", ""),
        (b"\xff\xfe", 400, "bad_body", ""),
        (b"", 400, "bad_body", ""),
        (b"[" * 100_000 + b"]" * 100_000, 400, "bad_body", ""),
        (b'{"amount": ' + b"[" * 100_000, 400, "bad_body", ""),
        (b'{"amount": 5, "method_id": "' + b"x" * 10_000_000 + b'"}', 413, "body_too_large", ""),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_bad_bodies_are_refused_and_change_nothing(
    client: httpx.AsyncClient, world: EdgeWorld, body: object, status: int, slug: str, field: str
) -> None:
    """A problem detail with the field and its rule; the agent is never asked."""
    assert_problem(await pay(client, body), status, slug, field)
    assert world.agent.asked == []


@pytest.mark.parametrize("key", [None, "", "two words", "x" * 129])
async def test_a_payment_needs_a_usable_key(
    client: httpx.AsyncClient, world: EdgeWorld, key: str | None
) -> None:
    """400, because the request itself is not as it must be."""
    answer = await pay(client, key=key)
    slug = "idempotency_key_invalid" if key else "idempotency_key_missing"
    assert_problem(answer, 400, slug, "Idempotency-Key")
    assert world.agent.asked == []


async def test_one_payment_is_told_from_snapshot_journal_or_siblings(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """In this order; what nobody knows is 404, and 504 when nobody could be asked."""
    settled, waiting, elsewhere = (
        receipt("a", state="posted", seq=9),
        receipt("b"),
        receipt("c", state="posted", seq=50),
    )
    world.put_payment(settled)
    world.journal.rows = [waiting]
    for known in (settled, waiting):
        answer = await client.get(f"/api/v1/payments/{known.intent_id}")
        assert answer.json()["state"] == known.state
    assert world.agent.asked == []
    assert_problem(await client.get("/api/v1/payments/unknown"), 404, "not_found")
    world.agent.reply = ReceiptReply(elsewhere)
    answer = await client.get(f"/api/v1/payments/{elsewhere.intent_id}")
    assert answer.json()["state"] == "posted"
    assert answer.headers["Ridethrough-Position"] == "1.0.50"
    world.agent.reply = AgentSilent("down")
    assert_problem(await client.get("/api/v1/payments/unknown"), 504, "payment_unknown")


async def test_a_payment_that_was_not_taken_here_may_have_been_elsewhere(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """An attempt voided at this edge is no answer before its siblings were asked."""
    attempt = receipt("a", state="void")
    world.journal.rows = [attempt]
    world.agent.reply = ReceiptReply(receipt("a"))
    answer = await client.get(f"/api/v1/payments/{attempt.intent_id}")
    assert answer.json()["state"] == "accepted"
    world.agent.reply = AgentSilent("down")
    answer = await client.get(f"/api/v1/payments/{attempt.intent_id}")
    assert_problem(answer, 504, "payment_unknown")


async def test_payments_are_listed_once(client: httpx.AsyncClient, world: EdgeWorld) -> None:
    """Document and journal row of the same payment are one item."""
    world.put_payment(receipt("a", state="posted", seq=9))
    world.journal.rows = [receipt("a"), receipt("b", minutes=3)]
    items = (await client.get("/api/v1/payments")).json()["items"]
    assert [(item["id"], item["state"]) for item in items] == [
        (intent_id(MINE, "b"), "accepted"),
        (intent_id(MINE, "a"), "posted"),
    ]

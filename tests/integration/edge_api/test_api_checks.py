"""``POST /payments/check``: asked before paying, it warns and takes nothing."""

from typing import Any

import httpx
import pytest

from tests.integration.edge_api.asking import assert_problem
from tests.unit.edge_portal.edge_world import EdgeWorld, receipt

CHECK = "/api/v1/payments/check"


async def check(client: httpx.AsyncClient, amount: int, **headers: str) -> dict[str, Any]:
    """Ask; returns the answer."""
    answer = await client.post(CHECK, json={"amount": amount}, headers=headers)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_nothing_covers_a_first_payment(client: httpx.AsyncClient, world: EdgeWorld) -> None:
    """The answer says how much is left, and nobody was asked to pay."""
    assert await check(client, 10_000) == {
        "amount": 10_000,
        "currency": "USD",
        "left_to_pay": 10_000,
        "covered_by": None,
        "may_miss": None,
    }
    assert world.agent.asked == []


async def test_what_covers_it_is_named(client: httpx.AsyncClient, world: EdgeWorld) -> None:
    """With amount, state and time, as the payment itself is told; its own key asks for its own."""
    made = receipt("first", 10_000)
    world.journal.rows = [made]
    told = (await check(client, 10_000))["covered_by"]
    assert (told["why"], told["over"]) == ("nothing_left", 10_000)
    (payment,) = told["payments"]
    assert payment["id"] == made.intent_id
    assert (payment["state"], payment["amount"]) == ("accepted", 10_000)
    assert payment["accepted_at"] == "2026-11-24T12:00:00Z"
    own = await check(client, 10_000, **{"Idempotency-Key": "first"})
    assert own["covered_by"] is None


async def test_the_payment_can_be_made_all_the_same(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """A warning blocks nothing."""
    world.journal.rows = [receipt("first", 10_000)]
    answer = await client.post(
        "/api/v1/payments",
        json={"amount": 10_000, "method_id": "pm_bank"},
        headers={"Idempotency-Key": "second"},
    )
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        ({"amount": 0}, "invalid_payment"),
        ({"amount": 1_000_001}, "invalid_payment"),
        ({"amount": "1"}, "invalid_body"),
        ({"amount": 1, "method_id": "pm_bank"}, "invalid_body"),
        ({}, "invalid_body"),
    ],
)
async def test_what_cannot_be_paid_is_not_checked(
    client: httpx.AsyncClient, body: object, slug: str
) -> None:
    """As the payment itself would be refused."""
    assert_problem(await client.post(CHECK, json=body), 422, slug)


async def test_it_needs_a_sign_in_and_a_key_that_can_be_one(client: httpx.AsyncClient) -> None:
    """Like every other question."""
    bad = await client.post(CHECK, json={"amount": 1}, headers={"Idempotency-Key": "a b"})
    assert_problem(bad, 400, "idempotency_key_invalid")
    del client.headers["Authorization"]
    assert_problem(await client.post(CHECK, json={"amount": 1}), 401, "not_signed_in")

"""What every HTTP client may expect of an edge, whatever it asks."""

import asyncio

import httpx
import msgspec
import pytest

from edge_portal.agent_link import ReceiptReply, RefusedReply
from failover.intents import intent_id
from tests.integration.edge_api.asking import pay
from tests.unit.edge_portal.edge_world import (
    HELD,
    MINE,
    EdgeWorld,
    receipt,
)


async def test_every_answer_carries_the_security_headers(client: httpx.AsyncClient) -> None:
    """Errors too."""
    for path in ("/api/v1/account", "/nothing", "/sign-in", "/status", "/metrics"):
        headers = (await client.get(path)).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


async def test_the_interface_is_described(client: httpx.AsyncClient) -> None:
    """With the bodies that are decoded strictly, and closed against unknown fields."""
    told = (await client.get("/schema/openapi.json")).json()
    body = told["paths"]["/api/v1/payments"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["additionalProperties"] is False
    assert set(body["schema"]["properties"]) == {"amount", "method_id"}


async def test_metrics_hold_no_ids(client: httpx.AsyncClient) -> None:
    """Routes are counted by their templates."""
    await client.get(f"/api/v1/statements/{HELD}")
    text = (await client.get("/metrics")).text
    assert 'route="/api/v1/statements/{statement_id}"' in text
    assert HELD not in text
    assert MINE not in text


async def test_the_same_key_at_once_asks_the_agent_with_one_id(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """Twenty at once name the same payment; the journal makes them one."""
    answers = await asyncio.gather(*(pay(client) for _ in range(20)))
    assert {answer.json()["id"] for answer in answers} == {intent_id(MINE, "key-1")}


@pytest.mark.parametrize("path", ["/api/v1/account", "/healthz", "/status", "/sign-in"])
async def test_head_is_get_without_the_body(client: httpx.AsyncClient, path: str) -> None:
    """A monitor asks with HEAD and gets what GET would say, less the body."""
    asked, told = await client.head(path), await client.get(path)
    assert asked.status_code == told.status_code
    assert asked.headers["content-type"] == told.headers["content-type"]
    assert asked.content == b""


async def test_the_charset_is_named_once(client: httpx.AsyncClient) -> None:
    """Pages and styles say their charset, once."""
    page = await client.get("/sign-in")
    assert page.headers["content-type"] == "text/html; charset=utf-8"


async def test_the_loser_of_a_key_is_told_that_it_was_used(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """Two edges took different payments under one key at once, the core took the other one: 409 here too."""
    lost = msgspec.structs.replace(receipt("key-1", state="rejected", seq=9), reason="id_conflict")
    world.agent.reply = ReceiptReply(lost)
    answer = await pay(client)
    assert answer.status_code == 409
    assert answer.json()["type"].endswith("key_reused")
    assert answer.json()["id"] == lost.intent_id


async def test_the_winner_of_a_key_is_told_so_at_the_losers_edge(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """This edge's journal knows the losing payment only; the document says that this one was posted."""
    world.put_payment(receipt("key-1", state="posted", seq=9))
    world.agent.reply = RefusedReply("key_reused")
    answer = await pay(client)
    assert (answer.status_code, answer.json()["state"]) == (201, "posted")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/pay", "GET, HEAD, OPTIONS, POST"),
        ("/api/v1/payments", "GET, HEAD, OPTIONS, POST"),
        ("/api/v1/payments/some-id", "GET, HEAD, OPTIONS"),
        ("/api/v1/session", "DELETE, OPTIONS, POST"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ],
)
async def test_every_method_is_named(client: httpx.AsyncClient, path: str, methods: str) -> None:
    """By OPTIONS, and by the refusal of a method that an address does not have."""
    assert (await client.options(path)).headers["allow"] == methods
    refused = await client.put(path)
    assert refused.status_code == 405
    assert refused.headers["allow"] == methods


@pytest.mark.parametrize("path", ["/a/b", "/favicon.ico", "/bills/a/b/c"])
async def test_a_customer_is_told_by_a_page(client: httpx.AsyncClient, path: str) -> None:
    """Addresses outside of the machines' own answer with HTML, whatever goes wrong."""
    missing = await client.get(path)
    assert (missing.status_code, missing.headers["content-type"]) == (
        404,
        "text/html; charset=utf-8",
    )
    assert "We could not find that page" in missing.text
    wrong = await client.put("/pay")
    assert (wrong.status_code, wrong.headers["content-type"]) == (405, "text/html; charset=utf-8")


async def test_no_body_mentions_our_storage_names(client: httpx.AsyncClient) -> None:
    """Amounts are named as the contract names them, everywhere: minor units without a suffix."""
    told = (await client.get("/schema/openapi.json")).text
    assert "_cents" not in told
    for path in ("account", "statements", f"statements/{HELD}", "usage", "payments"):
        answer = await client.get(f"/api/v1/{path}")
        assert answer.status_code == 200
        assert "_cents" not in answer.text

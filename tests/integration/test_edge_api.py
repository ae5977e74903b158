"""``/api/v1`` in process: what it tells, and that nothing bad that is sent changes anything."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cache_sync.clock import SystemClock
from cache_sync.frames import Position
from cache_sync.replica_reader import ReplicaReader
from edge_portal.agent_link import AgentSilent, ReceiptReply, RefusedReply
from edge_portal.app import create_app
from edge_portal.node_status import NodeStatus
from edge_portal.pages.site import Site
from edge_portal.session import IDLE_LIFETIME, Tokens
from edge_portal.settings import EdgePaths
from failover.intents import intent_id
from failover.mode_lease import LeaseReader
from tests.unit.edge_portal.edge_world import (
    ARCHIVED,
    BANK,
    EMAIL,
    EXPIRED_CARD,
    HELD,
    MINE,
    OTHERS_BANK,
    OTHERS_STATEMENT,
    PASSWORD,
    EdgeWorld,
    receipt,
    statement,
)

GOOD = {"amount": 2_500, "method_id": BANK}


@pytest.fixture
def world() -> EdgeWorld:
    """Return an edge in memory."""
    return EdgeWorld()


@pytest.fixture
async def client(world: EdgeWorld, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Return a signed-in program."""
    clock, paths = SystemClock(), EdgePaths(tmp_path)
    node = NodeStatus(
        "edge-1",
        paths,
        lease=LeaseReader(paths.lease, clock),
        snapshot=ReplicaReader(paths.snapshot, clock=clock),
        clock=clock,
    )
    site = Site(
        utility_name="Northwater",
        utility_phone="1-800-555-0142",
        timezone="UTC",
        currency="USD",
        retention_months=24,
    )
    app: Any = create_app(world.portal, node, site, secure_cookies=False, clock=clock)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://edge.test"
    ) as made:
        made.headers["Authorization"] = f"Bearer {world.token()}"
        yield made
    world.sign_in.close()


async def pay(
    client: httpx.AsyncClient, body: object = None, key: str | None = "key-1"
) -> httpx.Response:
    """Pay; ``body`` is sent as it is when it is bytes."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body or GOOD)
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post("/api/v1/payments", content=content, headers=headers)


def assert_problem(answer: httpx.Response, status: int, slug: str, field: str = "") -> None:
    """Check that an answer is a problem detail that says what is wrong."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    told = answer.json()
    assert told["status"] == status
    assert told["title"]
    assert told["type"] == f"urn:ridethrough:problem:{slug}"
    if field:
        assert [error["field"] for error in told["errors"]] == [field]
        assert all(error["rule"] for error in told["errors"])


# Reads


async def test_the_account_is_told_with_its_labels(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """Three balances, never mixed, and the age rounded up."""
    world.journal.rows = [receipt("k")]
    answer = await client.get("/api/v1/account")
    told = answer.json()
    assert told["balance"] == 10_000
    assert told["billed_balance"] == 12_000
    assert told["pending_amount"] == 2_500
    assert told["left_to_pay"] == 7_500
    assert [method["id"] for method in told["payment_methods"]] == [BANK, EXPIRED_CARD]
    assert answer.headers["Age"] == "2"
    assert answer.headers["Ridethrough-As-Of"] == "2026-11-24T12:00:00.000000Z"
    assert answer.headers["Ridethrough-Mode"] == "normal"
    assert answer.headers["Ridethrough-Position"] == "1.0.10"


@pytest.mark.parametrize(
    "path",
    ["account", "statements", f"statements/{HELD}", f"statements/{HELD}/pdf", "usage", "payments"],
)
async def test_reads_do_not_depend_on_the_mode(
    client: httpx.AsyncClient, world: EdgeWorld, path: str
) -> None:
    """Degraded, the agent gone, the same answers under another label."""
    before = await client.get(f"/api/v1/{path}")
    world.agent.reply = AgentSilent("gone")
    world.mode_now = msgspec.structs.replace(
        world.mode_now, mode="degraded", payments_open=False, archive_open=False
    )
    after = await client.get(f"/api/v1/{path}")
    assert (before.status_code, after.status_code) == (200, 200)
    if path != "account":
        assert after.content == before.content
    assert after.headers["Ridethrough-Mode"] == "degraded"
    assert {"age", "ridethrough-as-of", "ridethrough-position"} <= set(after.headers)


async def test_a_caller_who_has_seen_more_is_told_that_this_edge_catches_up(
    client: httpx.AsyncClient,
) -> None:
    """By the position that the other edge gave."""
    for position, behind in (("1.0.10", False), ("1.0.11", True), ("2.0.1", True), ("x", False)):
        answer = await client.get("/api/v1/account", headers={"Ridethrough-Position": position})
        assert answer.json()["catching_up"] is behind


async def test_archived_statements_are_listed_and_asked_of_the_core(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """While the core is away the list stays and the statement is explained."""
    items = (await client.get("/api/v1/statements")).json()["items"]
    assert [(item["id"], item["archived"]) for item in items] == [(HELD, False), (ARCHIVED, True)]
    answer = await client.get(f"/api/v1/statements/{ARCHIVED}")
    assert_problem(answer, 503, "archive_unavailable")
    assert answer.json()["retry"] == "same"
    world.archive.found = statement(MINE, ARCHIVED)
    answer = await client.get(f"/api/v1/statements/{ARCHIVED}")
    assert (answer.status_code, answer.json()["archived"]) == (200, True)


async def test_the_core_is_never_asked_for_what_no_list_names(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """Unknown statements and those of others cost no archive read."""
    for statement_id in ("nothing", OTHERS_STATEMENT, "..%2F..%2Fx"):
        for suffix in ("", "/pdf"):
            answer = await client.get(f"/api/v1/statements/{statement_id}{suffix}")
            assert_problem(answer, 404, "not_found")
    assert world.archive.asked == 0


async def test_without_a_snapshot_it_says_so(client: httpx.AsyncClient, world: EdgeWorld) -> None:
    """503 with a time to come back, for reads and sign-ins alike."""
    world.snapshot.held = None
    assert_problem(await client.get("/api/v1/account"), 503, "no_snapshot")
    assert_problem(await pay(client), 503, "no_snapshot")
    assert_problem(
        await client.post("/api/v1/session", json={"email": EMAIL, "password": PASSWORD}),
        503,
        "no_snapshot",
    )
    assert_problem(await client.get("/readyz"), 503, "no_snapshot")
    assert (await client.get("/healthz")).status_code == 200


# Payments


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


async def test_payments_are_listed_once(client: httpx.AsyncClient, world: EdgeWorld) -> None:
    """Document and journal row of the same payment are one item."""
    world.put_payment(receipt("a", state="posted", seq=9))
    world.journal.rows = [receipt("a"), receipt("b", minutes=3)]
    items = (await client.get("/api/v1/payments")).json()["items"]
    assert [(item["id"], item["state"]) for item in items] == [
        (intent_id(MINE, "b"), "accepted"),
        (intent_id(MINE, "a"), "posted"),
    ]


# Sign-in


async def test_signing_in_gives_a_token_that_works(client: httpx.AsyncClient) -> None:
    """And the accounts that it opens."""
    answer = await client.post("/api/v1/session", json={"email": EMAIL, "password": PASSWORD})
    assert answer.status_code == 201
    assert answer.json()["account_ids"] == [MINE]
    token = answer.json()["token"]
    read = await client.get("/api/v1/account", headers={"Authorization": f"Bearer {token}"})
    assert read.json()["account_id"] == MINE


async def test_wrong_credentials_are_one_answer(client: httpx.AsyncClient) -> None:
    """Whether the address is known or not."""
    answers = [
        await client.post("/api/v1/session", json={"email": email, "password": "wrong"})
        for email in (EMAIL, "nobody@example.com")
    ]
    for answer in answers:
        assert_problem(answer, 401, "wrong_credentials")
    assert answers[0].content == answers[1].content


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{}", 422),
        (b'{"email": 1, "password": "x"}', 422),
        (b'{"email": "a", "password": "b", "admin": true}', 422),
        (b"nonsense", 400),
        (b"x" * 300_000, 413),
    ],
)
async def test_bad_sign_ins_are_refused(
    client: httpx.AsyncClient, body: bytes, status: int
) -> None:
    """Strict like every body."""
    answer = await client.post("/api/v1/session", content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "account"),
        ("GET", "statements"),
        ("GET", f"statements/{HELD}"),
        ("GET", f"statements/{HELD}/pdf"),
        ("GET", "usage"),
        ("GET", "payments"),
        ("GET", "payments/x"),
        ("POST", "payments"),
        ("POST", "session/account"),
        ("DELETE", "session"),
    ],
)
async def test_nothing_opens_without_a_valid_token(
    client: httpx.AsyncClient, world: EdgeWorld, method: str, path: str
) -> None:
    """Missing, forged, expired, revoked: 401 with a challenge, and nothing changed."""
    forged = Tokens(b"another key" * 4).issue(
        world.credential_key, world.put_credential(), now=world.portal.core_now(), session_id="s"
    )
    expired = world.tokens.issue(
        world.credential_key,
        world.put_credential(),
        now=world.portal.core_now() - IDLE_LIFETIME - timedelta(seconds=1),
        session_id="s",
    )
    revoked = world.token()
    world.put_credential(version=2)
    for token, slug in (
        ("", "not_signed_in"),
        (forged, "token_forged"),
        ("rubbish", "token_forged"),
        (expired, "token_expired"),
        (revoked, "token_revoked"),
    ):
        answer = await client.request(
            method,
            f"/api/v1/{path}",
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "k"},
            content=msgspec.json.encode(GOOD) if method == "POST" else None,
        )
        assert_problem(answer, 401, slug)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert world.agent.asked == []


async def test_a_cookie_pays_only_from_our_own_pages(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """A form of another site brings the cookie along and is refused."""
    del client.headers["Authorization"]
    client.cookies.set("ridethrough_session", world.token())
    foreign = await client.post(
        "/api/v1/payments",
        json=GOOD,
        headers={"Idempotency-Key": "k", "Origin": "http://evil.test"},
    )
    assert_problem(foreign, 403, "foreign_page")
    own = await client.post(
        "/api/v1/payments",
        json=GOOD,
        headers={"Idempotency-Key": "k", "Origin": "http://edge.test"},
    )
    assert own.status_code == 201
    assert len(world.agent.asked) == 1


async def test_switching_to_a_strangers_account_is_not_found(client: httpx.AsyncClient) -> None:
    """As if it did not exist."""
    answer = await client.post("/api/v1/session/account", json={"account_id": "A-2"})
    assert_problem(answer, 404, "not_found")


# Everything else


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

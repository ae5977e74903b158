"""Signing in over ``/api/v1``, and what opens without."""

from datetime import timedelta

import httpx
import msgspec
import pytest

from edge_portal.session import IDLE_LIFETIME, Tokens
from tests.integration.edge_api.asking import GOOD, assert_problem
from tests.unit.edge_portal.edge_world import (
    EMAIL,
    HELD,
    MINE,
    PASSWORD,
    EdgeWorld,
)


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


async def test_signing_out_ends_a_browsers_cookie_only_from_our_pages(
    client: httpx.AsyncClient,
) -> None:
    """Another site's page cannot; a program just forgets its token."""
    token = client.headers.pop("Authorization").removeprefix("Bearer ")
    headers = {"Cookie": f"ridethrough_session={token}"}
    foreign = await client.delete(
        "/api/v1/session", headers={**headers, "Origin": "http://elsewhere.test"}
    )
    assert foreign.status_code == 403
    assert "set-cookie" not in foreign.headers
    own = await client.delete("/api/v1/session", headers={**headers, "Origin": "http://edge.test"})
    assert own.status_code == 204
    assert "Max-Age=0" in own.headers["set-cookie"]

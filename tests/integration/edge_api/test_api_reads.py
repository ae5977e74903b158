"""What ``/api/v1`` tells of an account."""

from datetime import date

import httpx
import msgspec
import pytest

from cache_sync.body_versions import encode_version
from cache_sync.documents import USAGE, Document, UsageBody, UsageDay
from edge_portal.agent_link import AgentSilent
from tests.integration.edge_api.asking import assert_problem, pay
from tests.unit.edge_portal.edge_world import (
    ARCHIVED,
    BANK,
    EMAIL,
    EXPIRED_CARD,
    HELD,
    MINE,
    OTHERS_STATEMENT,
    PASSWORD,
    EdgeWorld,
    receipt,
    statement,
)


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


async def test_usage_is_told_whatever_version_it_is_held_in(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """As far as the version says it; one of a later release is not shown, and nothing else is kept from being."""
    day = UsageDay(
        day=date(2026, 11, 1),
        usage_wh=3,
        estimated_wh=1,
        complete=True,
        hours=[2, None],
        estimated_hours={1: 1},
    )
    body = UsageBody(
        account_id=MINE, service_point_id="sp", month="2026-11", timezone="UTC", days=[day]
    )
    told = {}
    for version in (1, 2):
        encoded = encode_version(body, version)
        world.snapshot.bodies[MINE, USAGE, "k"] = Document(MINE, USAGE, "k", 1, encoded, version)
        (month,) = (await client.get("/api/v1/usage")).json()["items"]
        told[version] = month["days"][0]
    assert told[2]["estimated_hours"] == [1]
    assert told[1] == told[2] | {"estimated_hours": [0, 1]}
    world.snapshot.bodies[MINE, USAGE, "k"] = Document(MINE, USAGE, "k", 1, b"[]", 3)
    assert_problem(await client.get("/api/v1/usage"), 503, "no_snapshot")
    assert (await client.get("/api/v1/statements")).status_code == 200

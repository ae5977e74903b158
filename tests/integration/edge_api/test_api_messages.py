"""Sending what is no payment over the API: the same states and statuses, errors that name field and rule."""

from datetime import date
from typing import Any

import httpx
import msgspec
import pytest

from edge_portal.agent_link import AgentSilent, ReceiptReply, RefusedReply, SendRequest
from failover.intents import State, intent_id
from failover.message_bodies import MessageBody, MeterReading
from tests.integration.edge_api.asking import assert_problem
from tests.unit.edge_portal.edge_world import MINE, EdgeWorld, receipt, sent

READING = {"meter_id": "M-A-1", "read_on": "2026-11-24", "register_wh": 12_345_000}


async def send(
    client: httpx.AsyncClient, body: Any, key: str | None = "key-1", path: str = "readings"
) -> httpx.Response:
    """Send a message."""
    headers = {} if key is None else {"Idempotency-Key": key}
    content = msgspec.json.encode(body)
    return await client.post(f"/api/v1/{path}", content=content, headers=headers)


def read_on(day: date, register_wh: int) -> MessageBody:
    """Read the customer's meter."""
    return MeterReading(
        salt="s",
        service_point_id="SP-A-1",
        meter_id="M-A-1",
        read_on=day,
        register_wh=register_wh,
    )


async def test_posted_message_is_told_without_its_salt(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """201, with what was sent, its id, and the position at which the core's decision stands."""
    answer = await send(client, READING)
    assert answer.status_code == 201
    told = answer.json()
    assert (told["type"], told["state"], told["id"]) == (
        "reading",
        "posted",
        intent_id(MINE, "key-1"),
    )
    assert told["content"] == READING | {"service_point_id": "SP-A-1"}
    (asked,) = world.agent.asked
    assert isinstance(asked, SendRequest)
    assert len(asked.body.salt) == 32


async def test_same_key_makes_the_same_message_at_every_edge(client: httpx.AsyncClient) -> None:
    """The salt comes from the key that edges share, so that a repetition elsewhere is the same wish."""
    other = EdgeWorld()
    world = EdgeWorld()
    for each in (world, other):
        await each.portal.send(
            MINE, idempotency_key="k", content=read_on(date(2026, 11, 24), 12_345_000)
        )
    assert world.agent.asked == other.agent.asked


@pytest.mark.parametrize(
    ("state", "status"), [("accepted", 202), ("checking", 202), ("rejected", 200)]
)
async def test_status_tells_how_it_stands(
    client: httpx.AsyncClient, world: EdgeWorld, state: State, status: int
) -> None:
    """As of payments."""
    world.agent.reply = ReceiptReply(sent("key-1", read_on(date(2026, 11, 24), 1), state))
    assert (await send(client, READING)).status_code == status


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"meter_id": "M-A-2"}, "meter_id"),
        ({"read_on": "2026-11-25"}, "read_on"),
        ({"register_wh": -1}, "register_wh"),
        ({"register_wh": 10**13}, "register_wh"),
        ({"register_wh": 11_000_000}, "register_wh"),
        ({"register_wh": 99_000_000}, "register_wh"),
    ],
)
async def test_error_names_field_and_rule(
    client: httpx.AsyncClient, world: EdgeWorld, change: dict[str, Any], field: str
) -> None:
    """What the snapshot tells to be wrong is told at once; the agent is not asked."""
    known = sent("before", read_on(date(2026, 11, 20), 12_000_000))
    world.put_message(known)
    assert_problem(await send(client, READING | change), 422, "invalid_message", field)
    assert world.agent.asked == []


@pytest.mark.parametrize(
    "body", [{"meter_id": "M-A-1"}, READING | {"register_wh": "12"}, READING | {"more": 1}]
)
async def test_body_must_be_as_described(client: httpx.AsyncClient, body: Any) -> None:
    """Missing, mistyped and unknown members are refused."""
    assert (await send(client, body)).status_code == 422


OUTAGE = {"service_point_id": "SP-A-1", "extent": "all"}


async def test_outage_is_reported(client: httpx.AsyncClient, world: EdgeWorld) -> None:
    """201 with what was said; another's service point and an unknown extent are refused by field."""
    answer = await send(client, OUTAGE, path="outage-reports")
    assert (answer.status_code, answer.json()["content"]) == (201, OUTAGE)
    other = OUTAGE | {"service_point_id": "SP-A-2"}
    refused = await send(client, other, key="k", path="outage-reports")
    assert_problem(refused, 422, "invalid_message", "service_point_id")
    odd = await send(client, OUTAGE | {"extent": "some"}, key="k", path="outage-reports")
    assert odd.status_code == 422
    assert len(world.agent.asked) == 1


SERVICE = {"kind": "move_out", "wished_on": "2026-12-01", "text": "Keys are with the neighbour"}


async def test_service_is_requested(client: httpx.AsyncClient, world: EdgeWorld) -> None:
    """201 with what was said; day and text may be left out."""
    answer = await send(client, SERVICE, path="service-requests")
    assert (answer.status_code, answer.json()["content"]) == (201, SERVICE)
    short = await send(client, {"kind": "tree"}, key="k", path="service-requests")
    assert short.status_code == 201
    assert short.json()["content"] == {"kind": "tree", "wished_on": None, "text": ""}
    assert len(world.agent.asked) == 2


@pytest.mark.parametrize(
    ("change", "slug", "field"),
    [
        ({"wished_on": "2026-11-23"}, "invalid_message", "wished_on"),
        ({"wished_on": "2027-02-23"}, "invalid_message", "wished_on"),
        ({"kind": "other", "text": " "}, "invalid_message", "text"),
        ({"text": "x" * 501}, "invalid_message", "text"),
        ({"text": "\x1b[2J"}, "invalid_message", "text"),
        ({"kind": "solar"}, "invalid_body", "kind"),
        ({"wished_on": "soon"}, "invalid_body", "wished_on"),
        ({"text": 1}, "invalid_body", "text"),
        ({"more": 1}, "invalid_body", "more"),
    ],
)
async def test_service_request_error_names_field_and_rule(
    client: httpx.AsyncClient, world: EdgeWorld, change: dict[str, Any], slug: str, field: str
) -> None:
    """What cannot be is refused before the agent is asked, without repeating what was written."""
    refused = await send(client, SERVICE | change, path="service-requests")
    assert_problem(refused, 422, slug, field)
    assert "neighbour" not in refused.text
    assert "solar" not in refused.text
    if field == "kind":
        kinds = "meter_check, move_in, move_out, other, tree"
        assert refused.json()["detail"] == f"must be one of {kinds}"
    assert world.agent.asked == []


async def test_contact_is_changed(client: httpx.AsyncClient, world: EdgeWorld) -> None:
    """One field or both; what is none is refused by field, without repeating what was typed."""
    answer = await send(client, {"phone": "555-010-0100"}, path="contact-changes")
    assert answer.status_code == 201
    assert answer.json()["content"] == {"email": None, "phone": "555-010-0100"}
    for body, field in (({}, "email"), ({"email": "me"}, "email"), ({"phone": "me"}, "phone")):
        refused = await send(client, body, key="k", path="contact-changes")
        assert_problem(refused, 422, "invalid_message", field)
    assert len(world.agent.asked) == 1


async def test_key_is_needed(client: httpx.AsyncClient) -> None:
    """Without one nothing could be repeated safely."""
    assert_problem(
        await send(client, READING, key=None), 400, "idempotency_key_missing", "Idempotency-Key"
    )


async def test_an_older_reading_passes_whatever_it_shows(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """It is history: the core keeps it as that."""
    world.put_message(sent("before", read_on(date(2026, 11, 20), 12_000_000)))
    older = READING | {"read_on": "2026-11-01", "register_wh": 1}
    assert (await send(client, older)).status_code == 201


async def test_what_was_taken_is_asked_for_and_not_judged_again(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """A reading that a later one has made impossible is still the one that was sent with this key."""
    await send(client, READING)
    (asked,) = world.agent.asked
    assert isinstance(asked, SendRequest)
    world.journal.rows = [
        sent("key-1", asked.body, "accepted"),
        sent("key-2", read_on(date(2026, 11, 23), 90_000_000)),
    ]
    assert (await send(client, READING)).status_code == 201


@pytest.mark.parametrize(
    ("reply", "status", "slug"),
    [
        (RefusedReply("key_reused"), 409, "key_reused"),
        (RefusedReply("over_limit", "account_day_count"), 422, "over_limit"),
        (RefusedReply("not_taken"), 503, "not_taken"),
        (AgentSilent("no answer"), 504, "payment_unknown"),
    ],
)
async def test_refusals_are_those_of_payments(
    client: httpx.AsyncClient, world: EdgeWorld, reply: Any, status: int, slug: str
) -> None:
    """One road, one way to say no."""
    world.agent.reply = reply
    assert_problem(
        await send(client, READING), status, slug, "amount" if slug == "over_limit" else ""
    )


async def test_messages_and_payments_are_listed_apart(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """Neither is found among the others, by list or by id, and no balance counts a message."""
    message = sent("m", read_on(date(2026, 11, 20), 1), "accepted")
    payment = receipt("p", 2_500)
    world.journal.rows = [message, payment]
    listed = (await client.get("/api/v1/messages")).json()["items"]
    assert [(each["id"], each["state"]) for each in listed] == [(message.intent_id, "accepted")]
    paid = (await client.get("/api/v1/payments")).json()["items"]
    assert [each["id"] for each in paid] == [payment.intent_id]
    assert (await client.get("/api/v1/account")).json()["pending_amount"] == 2_500
    assert (await client.get(f"/api/v1/messages/{message.intent_id}")).status_code == 200
    assert_problem(await client.get(f"/api/v1/messages/{payment.intent_id}"), 404, "not_found")
    assert_problem(await client.get(f"/api/v1/payments/{message.intent_id}"), 404, "not_found")


async def test_published_message_is_the_only_truth_about_it(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """Pending in the journal and decided in the snapshot, it is shown once, as decided."""
    body = read_on(date(2026, 11, 20), 1)
    world.journal.rows = [sent("m", body, "accepted")]
    world.put_message(sent("m", body))
    (told,) = (await client.get("/api/v1/messages")).json()["items"]
    assert told["state"] == "posted"

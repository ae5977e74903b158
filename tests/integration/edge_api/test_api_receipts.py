"""Signed receipts over the API and from a page: the facts, the edge's key, the core's word where it is known."""

from datetime import timedelta

import httpx
import msgspec
import pytest

from edge_portal.agent_link import AgentSilent, ReceiptReply
from failover.intents import Outcome, Receipt, State
from failover.signed_receipts import KnownKey, SignedReceipt, check_receipt
from failover.signing import Signer, public_key
from tests.integration.edge_api.asking import assert_problem
from tests.unit.edge_portal.edge_world import AS_OF, CORE_KEY, EDGE_KEY, EdgeWorld, receipt

KEYS = [
    KnownKey(node_id="core", key=public_key(CORE_KEY)),
    KnownKey(node_id="edge-1", key=public_key(EDGE_KEY)),
]


async def download(client: httpx.AsyncClient, payment: Receipt) -> SignedReceipt:
    """Download a payment's receipt and check it."""
    answer = await client.get(f"/api/v1/payments/{payment.intent_id}/receipt")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="receipt-')
    assert answer.headers["Cache-Control"] == "no-store"
    return check_receipt(answer.content, KEYS)


def decided(state: State = "posted", key: str = CORE_KEY) -> Receipt:
    """Build a payment that the core decided, with the signature of who has a key."""
    made = msgspec.structs.replace(
        receipt("paid", 10_000, state, seq=9), decided_at=AS_OF, value_date=AS_OF.date()
    )
    outcome = made.outcome()
    assert isinstance(outcome, Outcome)
    return msgspec.structs.replace(made, signature=Signer(key).sign_outcome(outcome).signature)


@pytest.mark.parametrize("state", ["accepted", "checking"])
async def test_what_the_edge_knows_is_signed_by_the_edge(
    client: httpx.AsyncClient, world: EdgeWorld, state: State
) -> None:
    """Masked account, amount in minor units, times, state; and no more of the customer."""
    paid = receipt("paid", 10_000, state)
    world.journal.rows = [paid]
    facts = (await download(client, paid)).facts
    assert (facts.said_by, facts.state, facts.core) == ("edge-1", state, None)
    assert (facts.amount, facts.currency, facts.account) == (10_000, "USD", "ending A-1")
    assert facts.said_at == AS_OF + timedelta(seconds=1.5)
    assert (facts.paid_on is not None) is (state == "accepted")
    assert b"Ines" not in msgspec.json.encode(facts)


async def test_the_cores_own_word_is_enclosed(client: httpx.AsyncClient, world: EdgeWorld) -> None:
    """The document is shown, and the journal has what the core signed."""
    paid = decided()
    world.put_payment(paid)
    document = (await client.get(f"/api/v1/payments/{paid.intent_id}")).json()
    assert document["state"] == "posted"
    world.journal.rows = [paid]
    facts = (await download(client, paid)).facts
    assert facts.core is not None
    assert (facts.core.state, facts.core.seq) == ("posted", 9)


async def test_a_sibling_is_asked_for_it(client: httpx.AsyncClient, world: EdgeWorld) -> None:
    """Where another edge took the payment; without it the receipt says that it is not enclosed."""
    paid = msgspec.structs.replace(decided(), value_date=None)
    outcome = paid.outcome()
    assert outcome is not None
    paid = msgspec.structs.replace(paid, signature=Signer(CORE_KEY).sign_outcome(outcome).signature)
    world.put_payment(paid)
    world.agent.reply = ReceiptReply(paid)
    assert (await download(client, paid)).facts.core is not None
    for reply in (ReceiptReply(None), AgentSilent("down")):
        world.agent.reply = reply
        without = await download(client, paid)
        assert without.facts.core is None
        assert "The main system's own signature is not in this file." in without.text


async def test_a_forged_outcome_is_not_passed_on(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """What the core did not sign is left out."""
    paid = decided(key=EDGE_KEY)
    world.journal.rows = [paid]
    assert (await download(client, paid)).facts.core is None


async def test_a_banks_no_is_signed_as_it_is_told(
    client: httpx.AsyncClient, world: EdgeWorld
) -> None:
    """Before the core has said so."""
    paid = msgspec.structs.replace(receipt("paid", 10_000, "checking"), reason="declined")
    world.journal.rows = [paid]
    told = await download(client, paid)
    assert told.facts.state == "rejected"
    assert "Not accepted. We did not take any money." in told.text


@pytest.mark.parametrize("state", ["void", "declined_limit"])
async def test_of_what_was_never_taken_there_is_none(
    client: httpx.AsyncClient, world: EdgeWorld, state: State
) -> None:
    """Nor of what is not this customer's."""
    paid = receipt("paid", 10_000, state)
    world.agent.reply = ReceiptReply(paid)
    answer = await client.get(f"/api/v1/payments/{paid.intent_id}/receipt")
    assert_problem(answer, 404, "not_found")
    world.agent.reply = ReceiptReply(None)
    answer = await client.get("/api/v1/payments/of-others/receipt")
    assert_problem(answer, 404, "not_found")


async def test_the_page_gives_the_same_file(client: httpx.AsyncClient, world: EdgeWorld) -> None:
    """With the session's cookie, from the receipt page's link."""
    paid = receipt("paid", 10_000)
    world.journal.rows = [paid]
    over_api = await client.get(f"/api/v1/payments/{paid.intent_id}/receipt")
    token = client.headers.pop("Authorization").split()[1]
    headers = {"Cookie": f"ridethrough_session={token}"}
    page = await client.get(f"/payments/{paid.intent_id}", headers=headers)
    assert f'href="/payments/{paid.intent_id}/receipt" download' in page.text
    from_page = await client.get(f"/payments/{paid.intent_id}/receipt", headers=headers)
    assert from_page.content == over_api.content

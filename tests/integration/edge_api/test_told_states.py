"""Every state of a payment in plain words: the same on its page and over the API, at whichever edge is asked."""

import html
from datetime import timedelta
from typing import get_args

import httpx
import msgspec
import pytest

from edge_portal.agent_link import ReceiptReply
from failover.intent_states import COPY, OWN
from failover.intents import ASKING_BANK, Receipt, State
from tests.unit.edge_portal.edge_world import AS_OF, EdgeWorld, mode, receipt

DAY = "November 24"
TOLD: dict[tuple[State, str], str] = {
    ("posted", ""): "We have posted your payment of $50.00. "
    f"It is on your account, dated {DAY}, the day you paid.",
    ("accepted", ""): "We have accepted your payment of $50.00. "
    f"It counts as paid today, {DAY}. We will post it in a moment. You do not need to do anything.",
    ("checking", ""): "We are checking your payment of $50.00. "
    "We could not confirm it yet. Please do not pay again.",
    ("checking", ASKING_BANK): "We are checking your payment of $50.00. "
    "Your bank has not told us yet if it will pay. Please do not pay again.",
    ("checking", "declined"): "Your payment of $50.00 was not accepted. "
    "Your bank said no. We did not take any money and your balance has not changed.",
    ("rejected", "account_closed"): "Your payment of $50.00 was not accepted. "
    "The account is closed. We did not take any money and your balance has not changed.",
    ("rejected", "refund_account_closed"): "Your payment of $50.00 was not accepted. "
    "The account is closed. We are giving the money back the way that you paid.",
    ("dead_letter", ""): "We are checking your payment of $50.00. "
    "A person is looking at it. Your case number is C-7. Please do not pay again.",
    ("cancelled", ""): "Your payment of $50.00 is cancelled. "
    "We did not take any money and your balance has not changed.",
    ("void", ""): "We did not take your payment of $50.00. "
    "We did not take any money and your balance has not changed.",
    ("declined_limit", ""): "We did not take your payment of $50.00. "
    "It was over the limit that holds while our main system is down. "
    "We did not take any money and your balance has not changed.",
}
NOT_LISTED = {"void", "declined_limit"}
"""Over the API there is no such payment: nothing was taken."""


def made(state: State, reason: str) -> Receipt:
    """Build a payment in a state."""
    decided = state in {"posted", "rejected", "dead_letter", "cancelled"}
    return msgspec.structs.replace(
        receipt("key", 5_000, state, seq=9 if decided else None),
        reason=reason,
        decided_at=AS_OF if decided else None,
        case_number="C-7" if state == "dead_letter" else "",
    )


def test_the_table_knows_every_state() -> None:
    """A state that is added needs words; so does whatever the journal's own states lead to."""
    assert {state for state, _ in TOLD} == set(get_args(State))
    answers = " ".join(move.answer for machine in (OWN, COPY) for move in machine.moves)
    for state in ("posted", "rejected", "dead_letter", "cancelled", "checking", "accepted"):
        assert f"`{state}`" in answers


@pytest.mark.parametrize("where", ["journal", "sibling"])
@pytest.mark.parametrize(("state", "reason"), TOLD)
async def test_page_and_api_say_the_same(
    client: httpx.AsyncClient, world: EdgeWorld, state: State, reason: str, where: str
) -> None:
    """Whether this edge recorded it, or another edge that was asked did."""
    payment = made(state, reason)
    # The agent looks into the same journal, and then asks siblings.
    world.agent.reply = ReceiptReply(payment)
    if where == "journal":
        world.journal.rows = [payment]
    sentence = TOLD[state, reason]
    answer = await client.get(f"/api/v1/payments/{payment.intent_id}")
    if state in NOT_LISTED:
        assert answer.status_code == 404
    else:
        assert answer.json()["told"] == sentence
    token = client.headers.pop("Authorization").split()[1]
    headers = {"Cookie": f"ridethrough_session={token}"}
    page = await client.get(f"/payments/{payment.intent_id}", headers=headers)
    assert page.status_code == 200
    text = html.unescape(page.text).replace("<b>", "").replace("</b>", "")
    heading, _, rest = sentence.partition(".00")
    heading += ".00" + rest.partition(".")[0]
    assert f">{heading}</h1>" in text
    assert sentence.removeprefix(f"{heading}. ") in text


async def test_the_words_follow_the_mode(client: httpx.AsyncClient, world: EdgeWorld) -> None:
    """While the core is away nobody is told "in a moment"."""
    payment = made("accepted", "")
    world.journal.rows = [payment]
    world.mode_now = msgspec.structs.replace(mode(), mode="degraded", since=AS_OF - timedelta(1))
    told = (await client.get(f"/api/v1/payments/{payment.intent_id}")).json()["told"]
    assert "We will post it when our main system is back." in told

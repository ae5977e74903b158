"""What customers read of a payment that was charged while the core was away."""

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from failover.intents import State
from tests.integration.pages.sample import PAID_TODAY, payment
from tests.integration.pages.world import World

Client = TestClient[Litestar]

TOLD: list[tuple[State, str, str, str]] = [
    (
        "checking",
        "asking_bank",
        "We are checking your payment of $50.00",
        "Your bank has not told us yet if it will pay. <b>Please do not pay again.</b>",
    ),
    (
        "checking",
        "declined",
        "Your payment of $50.00 was not accepted",
        "Your bank said no. <b>We did not take any money</b> and your balance has not changed.",
    ),
    (
        "checking",
        "declined_insufficient_funds",
        "Your payment of $50.00 was not accepted",
        "Your bank said no: there is not enough money.",
    ),
    (
        "checking",
        "not_captured",
        "Your payment of $50.00 was not accepted",
        "We could not ask your bank. <b>We did not take any money</b>",
    ),
    (
        "rejected",
        "refund_account_closed",
        "Your payment of $50.00 was not accepted",
        "The account is closed. <b>We are giving the money back</b> the way that you paid.",
    ),
]


@pytest.mark.parametrize(("state", "reason", "heading", "told"), TOLD)
def test_what_the_bank_said_is_told(
    customer: Client, world: World, state: State, reason: str, heading: str, told: str
) -> None:
    """In plain words, with whether money was taken and whether to pay again."""
    made = payment("k", 5000, state, PAID_TODAY, reason=reason)
    world.payments_made = [made]
    world.ride_through()
    text = customer.get(f"/payments/{made.intent_id}").text
    assert heading in text
    assert told in text
    assert ("Please do not pay again" in text) is (reason == "asking_bank")
    assert ("Being given back to you" in text) is reason.startswith("refund")
    overview = customer.get("/").text
    assert ("do not pay it again" in overview) is (reason == "asking_bank")

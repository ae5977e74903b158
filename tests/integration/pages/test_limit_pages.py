"""What a customer reads where a stand-in limit is in the way: which one, that nothing was taken, what to do next."""

from typing import get_args

import pytest

from edge_portal.api.limit_details import limit_detail
from edge_portal.errors import OverLimit
from failover.standin import Exceeded, Limits, Standing
from tests.integration.pages.sample import PAID_TODAY, payment
from tests.integration.pages.test_pay_pages import CHOICE, CONFIRMED, Client
from tests.integration.pages.world import World

ROOM = "You can pay up to $500.00 now."
BACK = "You can pay online again when our main system is back."
FULL = Standing(limits=Limits(edge_outstanding_cents=7_000), outstanding_cents=7_000)


@pytest.mark.parametrize(
    ("which", "told", "next_step"),
    [
        ("per_payment", "one payment can be up to $500.00.", ROOM),
        (
            "account_day_count",
            "we can accept 5 payments from one account in one day.",
            "when our main system is back",
        ),
        ("account_day_sum", "we can accept $500.00 from one account in one day.", ROOM),
        ("edge_outstanding", "that is nearly used up.", ROOM),
        ("snapshot_age", "What we know of your account is too old", BACK),
        ("outage_length", "Our main system has been down for too long", BACK),
        ("method_not_verified", "until it is verified.", "Choose another one."),
        (
            "method_type",
            "We cannot accept payments from a bank account",
            "Choose another way to pay.",
        ),
    ],
)
def test_every_limit_has_its_words(
    customer: Client, world: World, which: Exceeded, told: str, next_step: str
) -> None:
    """On the page of the payment that was not taken, with a way that works now."""
    world.ride_through()
    world.pay_outcome = OverLimit(which, "over")
    answer = customer.post("/pay", data=CONFIRMED)
    assert answer.status_code == 422
    for words in ("We did not take your payment.", told, next_step):
        assert words in answer.text
    assert "call <a href=" in answer.text


def test_every_limit_is_spoken_of() -> None:
    """To programs too: each has a field and a sentence of its own."""
    names = get_args(Exceeded)
    assert {limit_detail(name).field for name in names} == {"amount", "method_id"}
    assert len({limit_detail(name).detail for name in names}) == len(names)


@pytest.mark.parametrize(
    ("standing", "told"),
    [
        (FULL, "this website can accept only so much in all, and that is used up."),
        (Standing(outage_seconds=73 * 3600.0), "Our main system has been down for too long"),
        (Standing(limits=Limits(snapshot_age_seconds=60.0)), "too old to accept a payment"),
        (Standing(limits=Limits(method_types=())), "We do not accept online payments"),
        (Standing(limits=Limits(per_payment_cents=0)), "We do not accept online payments"),
        (Standing(outstanding_cents=None), "that is used up."),
    ],
)
def test_where_no_payment_can_be_made_no_page_invites_to_one(
    customer: Client, world: World, standing: Standing, told: str
) -> None:
    """Overview, door and status say that paying waits; the form stays away and says why; messages go on."""
    world.ride_through()
    world.standing = standing
    pay = customer.get("/pay").text
    assert "You cannot pay online right now" in pay
    assert told in pay
    assert BACK in pay
    assert "Check your payment</button>" not in pay
    reading = customer.get("/reading").text
    assert "You cannot send us anything online" not in reading
    assert "<button" in reading[reading.index("<main") :]
    refused = customer.get("/pay/review", params=CHOICE)
    assert refused.status_code == 422
    assert world.paid == []
    told_of = [customer.get(path).text for path in ("/", "/service")]
    customer.cookies.clear()
    for text in (*told_of, customer.get("/sign-in").text):
        assert "You cannot pay online right now." in text
        assert "and pay" not in text


def test_a_payment_that_may_have_been_taken_is_still_asked_for(
    customer: Client, world: World
) -> None:
    """The press of a form that was shown before the limit was reached: the edge knows what became of it."""
    world.ride_through()
    world.standing = FULL
    world.pay_outcome = "accepted"
    assert customer.post("/pay", data=CONFIRMED).status_code == 303
    assert len(world.paid) == 1


def test_only_methods_that_may_be_used_are_offered(customer: Client, world: World) -> None:
    """The others are named, with the reason; while all works they are offered again."""
    world.standing = Standing(limits=Limits(method_types=("card",)))
    bank = next(m for m in world.account.payment_methods if m.type == "bank_account")
    assert customer.get("/pay").text.count('name="method"') == 2
    world.ride_through()
    text = customer.get("/pay").text
    assert text.count('name="method"') == 1
    assert f"{bank.label} cannot be used while our main system is down." in text
    refused = customer.get("/pay/review", params={**CHOICE, "method": bank.method_id})
    assert refused.status_code == 422
    assert (
        "We cannot accept payments from a bank account while our main system is down."
        in refused.text
    )


def test_what_is_left_at_this_edge_bounds_what_is_offered(customer: Client, world: World) -> None:
    """A form never names more than what would be taken here now."""
    world.ride_through()
    world.standing = Standing(limits=Limits(edge_outstanding_cents=9_000), outstanding_cents=6_000)
    assert "Up to $30.00 for now." in customer.get("/pay").text


def test_the_day_s_sum_says_what_is_used(customer: Client, world: World) -> None:
    """What waits counts, and the rest can be paid."""
    world.ride_through()
    world.payments_made = [payment("big", 45_000, "accepted", PAID_TODAY)]
    over = customer.get("/pay/review", params={**CHOICE, "amount": "other", "other": "60"})
    assert "$450.00 of that are used. You can pay up to $50.00 now." in over.text

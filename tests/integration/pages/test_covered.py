"""Before a payment that others cover already: a plain warning, and one more step on purpose."""

import re

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from edge_portal.errors import NotTaken
from failover.intents import State
from failover.sibling_news import MayMiss
from tests.integration.pages.sample import ACCOUNT, BANK, PAID_EARLIER, PAID_TODAY, payment
from tests.integration.pages.world import World

Client = TestClient[Litestar]
CHOICE = {"amount": "bill", "method": BANK, "key": f"key.{ACCOUNT}"}
BOX = re.compile(r'<input type="checkbox" id="again" name="again" value="([^"]+)"( checked)?')
CONFIRMED = {
    "csrf": "csrf-of-session",
    "amount": "cents",
    "cents": "12556",
    "method": BANK,
    "key": f"key.{ACCOUNT}",
}


def paid_all(world: World, state: State = "accepted") -> None:
    """Let the customer have paid everything that was left, in a form of another window or at another edge."""
    world.payments_made = [payment("before", 10056, state, PAID_TODAY), *world.payments_made]
    if state in {"accepted", "posted"}:
        world.pending_cents = 10056


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("accepted", "Accepted, not posted yet"),
        ("posted", "Posted"),
        ("checking", "Being checked"),
        ("dead_letter", "Under review"),
    ],
)
def test_the_review_says_what_covers_it(
    customer: Client, world: World, state: State, told: str
) -> None:
    """Amount, date and state of each payment, and how much would be paid more than is left to pay."""
    paid_all(world, state)
    text = customer.get("/pay/review", params=CHOICE).text
    assert "You may be paying this twice." in text
    assert "<b>$100.56</b>, Today, 11:20 a.m.<br>" in text
    assert told in text
    assert f'href="/payments/{world.payments_made[0].intent_id}"' in text
    assert "<b>$25.00</b>, November 14" in text
    assert "With $125.56 more you pay $125.56 more than is left to pay." in text
    assert "Pay $125.56 all the same" in text
    assert "Pay $125.56</button>" in text


@pytest.mark.parametrize("address", ["/", "/payments", "/pay"])
def test_payments_that_may_wait_elsewhere_are_said(
    customer: Client, world: World, address: str
) -> None:
    """How many another edge says it has, or since when nothing was heard of it; else not a word."""
    world.ride_through()
    plain = customer.get(address).text
    assert "not shown here yet" not in plain
    assert "may not all be shown here yet" not in plain
    world.may_miss = MayMiss(why="waiting", payments=1)
    told = customer.get(address).text
    assert "We may have accepted a payment from you that is not shown here yet." in told
    assert "Please look at your receipts before you pay again." in told
    world.may_miss = MayMiss(why="unheard", since=PAID_TODAY)
    told = customer.get(address).text
    assert "Payments that you made after 11:20 a.m. today may not all be shown here yet." in told
    assert "Payments with a receipt number are not lost." in told
    world.may_miss, world.at_least = MayMiss(why="unheard"), True
    told = customer.get(address).text
    assert "Payments that you made in the last days may not all be shown here yet." in told


def test_what_may_wait_elsewhere_wants_the_box(customer: Client, world: World) -> None:
    """Nothing that is known covers it, and yet it may be paid: one more step, and again when there are more."""
    sent = {**CONFIRMED, "cents": "10056"}
    world.may_miss = MayMiss(why="waiting", payments=1)
    text = customer.get("/pay/review", params={**CHOICE, "amount": "left"}).text
    assert "You may have paid this already." in text
    assert text.count("We may have accepted a payment from you that is not shown here yet.") == 1
    box = BOX.search(text)
    assert box
    assert customer.post("/pay", data=sent).status_code == 422
    world.may_miss = MayMiss(why="waiting", payments=2)
    assert customer.post("/pay", data={**sent, "again": box[1]}).status_code == 422
    assert world.paid == []
    world.may_miss = MayMiss(why="waiting", payments=1)
    assert customer.post("/pay", data={**sent, "again": box[1]}).status_code == 303
    assert len(world.paid) == 1


def test_it_is_paid_only_after_the_box_is_ticked(customer: Client, world: World) -> None:
    """Without it the review comes back and says that nothing was taken; with it the payment is made."""
    paid_all(world)
    forgot = customer.post("/pay", data=CONFIRMED)
    assert forgot.status_code == 422
    assert "We have not taken this payment yet." in forgot.text
    assert 'href="#again"' in forgot.text
    assert 'aria-describedby="covered wrong"' in forgot.text
    assert world.paid == []
    box = BOX.search(forgot.text)
    assert box is not None
    assert not box[2]
    assert customer.post("/pay", data=CONFIRMED | {"again": box[1]}).status_code == 303
    assert [call[1] for call in world.paid] == [12556]


def test_what_came_after_the_review_is_shown_first(customer: Client, world: World) -> None:
    """The box confirms what stood beside it, not what another window paid meanwhile."""
    shown = customer.get("/pay/review", params=CHOICE).text
    box = BOX.search(shown)
    assert box is not None, "the bill less what was paid is all that is left"
    paid_all(world)
    again = customer.post("/pay", data=CONFIRMED | {"again": box[1]})
    assert again.status_code == 422
    assert "<b>$100.56</b>" in again.text
    assert world.paid == []


def test_pressing_twice_after_the_box_is_one_payment(customer: Client, world: World) -> None:
    """The first press's payment is this form's own: it covers nothing."""
    paid_all(world)
    box = BOX.search(customer.get("/pay/review", params=CHOICE).text)
    assert box is not None
    answers = [customer.post("/pay", data=CONFIRMED | {"again": box[1]}) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert {call[0] for call in world.paid} == {"key"}


def test_after_a_failure_the_box_stays_ticked(customer: Client, world: World) -> None:
    """Who confirmed once only presses the button again."""
    paid_all(world)
    box = BOX.search(customer.get("/pay/review", params=CHOICE).text)
    assert box is not None
    world.pay_outcome = NotTaken("no")
    failed = customer.post("/pay", data=CONFIRMED | {"again": box[1]})
    assert failed.status_code == 503
    ticked = BOX.search(failed.text)
    assert ticked is not None
    assert ticked.groups() == (box[1], " checked")


def test_the_same_sum_on_the_same_day_is_asked_about(customer: Client, world: World) -> None:
    """Also where something is left to pay: perhaps this one is a mistake."""
    world.payments_made = [payment("before", 2000, "accepted", PAID_TODAY), PAID_EARLIER]
    world.pending_cents = 2000
    choice = CHOICE | {"amount": "other", "other": "20"}
    text = customer.get("/pay/review", params=choice).text
    assert "You already made a payment of $20.00 today." in text
    assert "more than is left to pay" not in text
    assert customer.post("/pay", data=CONFIRMED | {"cents": "2000"}).status_code == 422


@pytest.mark.parametrize("amount", ["left", "other"])
def test_nothing_is_asked_where_nothing_covers_it(
    customer: Client, world: World, amount: str
) -> None:
    """What is left to pay, a part of it, and whatever was rejected or cancelled."""
    world.payments_made = [
        payment("no", 10056, "rejected", PAID_TODAY),
        payment("gone", 10056, "cancelled", PAID_TODAY),
        PAID_EARLIER,
    ]
    text = customer.get("/pay/review", params=CHOICE | {"amount": amount, "other": "50"}).text
    assert "</button>" in text
    assert 'name="again"' not in text
    assert customer.post("/pay", data=CONFIRMED | {"cents": "10056"}).status_code == 303


def test_many_payments_are_counted_not_listed(customer: Client, world: World) -> None:
    """Five are shown, and the box stands for all of them."""
    made = [payment(f"k{number}", 1100 + number, "accepted", PAID_TODAY) for number in range(9)]
    world.payments_made = made
    world.pending_cents = 10056
    text = customer.get("/pay/review", params=CHOICE).text
    assert text.count("See that payment") == 5
    assert "And 4 more" in text
    box = BOX.search(text)
    assert box is not None
    assert len(box[1].split()) == 9


def test_the_first_step_says_what_was_paid_of_the_bill(customer: Client) -> None:
    """Before anybody chooses the whole bill once more."""
    assert "The whole bill. You made payments of $25.00 since." in customer.get("/pay").text

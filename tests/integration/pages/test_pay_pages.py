"""Paying by form, and what each outcome says."""

import re

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from edge_portal.errors import InvalidPayment, KeyReused, NotTaken, OverLimit, PaymentUnknown
from edge_portal.views import Mode
from failover.intents import State, intent_id
from tests.integration.pages.sample import (
    ACCOUNT,
    BANK,
    PAID_EARLIER,
    PAID_TODAY,
    account,
    payment,
)
from tests.integration.pages.world import World

Client = TestClient[Litestar]
KEY = f"key.{ACCOUNT}"
CHOICE = {"amount": "left", "method": BANK, "key": KEY}
CONFIRMED = {
    "csrf": "csrf-of-session",
    "amount": "cents",
    "cents": "10056",
    "method": BANK,
    "key": KEY,
}


def hidden(text: str) -> dict[str, str]:
    """Read the hidden fields of a page's main form."""
    form = text.partition('<main id="main"')[2]
    return dict(re.findall('<input type="hidden" name="([a-z]+)" value="([^"]*)">', form))


def test_the_whole_way(customer: Client, world: World) -> None:
    """Choose, check, pay: the button names the sum, the receipt shows it, one payment is made."""
    form = customer.get("/pay").text
    assert "The amount due" in form
    chosen = {"amount": "left", "method": BANK, **hidden(form)}
    review = customer.get("/pay/review", params=chosen).text
    assert "Pay $100.56</button>" in review
    answer = customer.post("/pay", data=hidden(review))
    assert answer.status_code == 303
    receipt = customer.get(answer.headers["Location"]).text
    assert "We have posted your payment of $100.56" in receipt
    assert [call[1:] for call in world.paid] == [(10056, BANK)]


def test_a_double_click_is_one_payment(customer: Client, world: World) -> None:
    """The same form sent twice names the same payment."""
    first = customer.post("/pay", data=CONFIRMED)
    second = customer.post("/pay", data=CONFIRMED)
    assert first.headers["Location"] == second.headers["Location"]
    assert {call[0] for call in world.paid} == {"key"}


def test_pressed_again_after_the_till_closed_a_paid_form_leads_to_its_receipt(
    customer: Client, world: World
) -> None:
    """Nobody is told that no money was taken when it was; a form that paid nothing is told so."""
    first = customer.post("/pay", data=CONFIRMED)
    world.ride_through(payments_open=False)
    again = customer.post("/pay", data=CONFIRMED)
    assert (again.status_code, again.headers["Location"]) == (303, first.headers["Location"])
    other = customer.post("/pay", data=CONFIRMED | {"key": f"other.{ACCOUNT}"})
    assert other.status_code == 422
    assert "You cannot pay online right now. We did not take any money." in other.text
    assert len(world.paid) == 1


def test_the_back_button_leads_to_the_receipt(customer: Client) -> None:
    """Going back to a review that was paid shows the receipt, not the button."""
    paid = customer.post("/pay", data=CONFIRMED)
    back = customer.get("/pay/review", params=CHOICE)
    assert back.status_code == 303
    assert back.headers["Location"] == paid.headers["Location"]


def test_what_was_shown_is_paid(customer: Client, world: World) -> None:
    """The sum on the button is the sum of the form, even when the balance changed meanwhile."""
    review = customer.get("/pay/review", params=CHOICE).text
    world.account = account(balance_cents=14000)
    customer.post("/pay", data=hidden(review))
    assert world.paid[0][1] == 10056


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"amount": "other", "other": "0"}, "Write the amount as a number"),
        ({"amount": "other", "other": "-5"}, "Write the amount as a number"),
        ({"amount": "other", "other": "1e9"}, "Write the amount as a number"),
        ({"amount": "other", "other": "1.234"}, "Write the amount as a number"),
        ({"amount": "other", "other": ""}, "Write the amount as a number"),
        ({"amount": "other", "other": "99999999999"}, "Write the amount as a number"),
        ({"amount": "nonsense"}, "Choose how much to pay"),
        ({"method": "of-others"}, "Choose what to pay with"),
        ({"method": "pm_old"}, "Choose what to pay with"),
        ({"key": "forged.other"}, "made for another account or is damaged"),
        ({"key": ""}, "made for another account or is damaged"),
    ],
)
def test_what_cannot_be_read_is_asked_again(
    customer: Client, world: World, changes: dict[str, str], told: str
) -> None:
    """A wrong choice comes back with the form, and nothing is paid."""
    answer = customer.get("/pay/review", params=CHOICE | changes)
    assert answer.status_code == 422
    assert told in answer.text
    assert 'role="alert"' in answer.text
    assert customer.post("/pay", data={**CONFIRMED, **changes}).status_code == 422
    assert world.paid == []


@pytest.mark.parametrize(
    "cents", ["0", "-1", "1.5", "x", "\N{ARABIC-INDIC DIGIT FIVE}", "9" * 30, ""]
)
def test_a_tampered_sum_is_not_paid(customer: Client, world: World, cents: str) -> None:
    """The hidden sum is read as strictly as the typed one."""
    assert customer.post("/pay", data={**CONFIRMED, "cents": cents}).status_code == 422
    assert world.paid == []


def test_a_form_from_elsewhere_pays_nothing(customer: Client, world: World) -> None:
    """Neither another site's form nor one without this session's token is taken."""
    elsewhere = customer.post("/pay", data=CONFIRMED, headers={"Origin": "http://elsewhere.test"})
    unsigned = customer.post("/pay", data={**CONFIRMED, "csrf": "guess"})
    assert elsewhere.status_code == unsigned.status_code == 403
    assert "We did not take any money" in unsigned.text
    assert world.paid == []


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (InvalidPayment("amount", "at most 100"), 422, "We cannot take this amount"),
        (InvalidPayment("method_id", "expired"), 422, "We cannot use this payment method"),
        (OverLimit("per_payment", "over"), 422, "one payment can be up to $500.00."),
        (KeyReused("reused"), 409, "You already paid with this form"),
        (NotTaken("no"), 503, "Nothing was paid. Press the button again"),
        (PaymentUnknown("?"), 504, "We could not confirm it yet."),
    ],
)
def test_every_failure_says_what_to_do(
    customer: Client, world: World, error: Exception, status: int, told: str
) -> None:
    """Each way a payment can fail has its sentence, and says whether money was taken."""
    world.pay_outcome = error
    world.ride_through()
    answer = customer.post("/pay", data=CONFIRMED)
    assert answer.status_code == status
    assert told in answer.text


@pytest.mark.parametrize("error", [NotTaken("no"), PaymentUnknown("?")])
def test_a_repeat_names_the_same_payment(customer: Client, world: World, error: Exception) -> None:
    """After a failure that may be repeated, the page's form carries the same key."""
    world.pay_outcome = error
    again = hidden(customer.post("/pay", data=CONFIRMED).text)
    assert again["key"] == KEY
    world.pay_outcome = "accepted"
    assert customer.post("/pay", data=again).status_code == 303
    assert [call[0] for call in world.paid] == ["key", "key"]


def test_limits_show_while_the_core_is_away(customer: Client, world: World) -> None:
    """Riding through, the form tells how much can be paid, and offers no sum above it."""
    world.ride_through()
    assert "You can pay now, up to" in customer.get("/pay").text
    assert "$500.00" in customer.get("/pay").text
    world.payments_made = [payment("big", 45_000, "accepted", PAID_TODAY), *world.payments_made]
    text = customer.get("/pay").text
    assert "$50.00" in text
    assert "What is left to pay" not in text
    world.payments_made = [payment("more", 5_000, "checking", PAID_TODAY), *world.payments_made]
    assert "You have reached the limit for now" in customer.get("/pay").text


RECEIPTS: list[tuple[State, str, str]] = [
    (
        "accepted",
        "We have accepted your payment of $50.00",
        "We will post it when our main system is back.",
    ),
    ("posted", "We have posted your payment of $50.00", "dated November 17, the day you paid."),
    ("checking", "We are checking your payment of $50.00", "Please do not pay again."),
    ("rejected", "Your payment of $50.00 was not accepted", "We did not take any money"),
    ("dead_letter", "We are checking your payment of $50.00", "Your case number is C-77."),
    ("void", "We did not take your payment of $50.00", "We did not take any money"),
    ("declined_limit", "We did not take your payment of $50.00", "over the limit"),
    ("cancelled", "Your payment of $50.00 is cancelled", "We did not take any money"),
]


@pytest.mark.parametrize(("state", "heading", "told"), RECEIPTS)
def test_every_state_has_its_receipt(
    customer: Client, world: World, state: State, heading: str, told: str
) -> None:
    """A payment's page tells its state, whether money was taken, and what to do."""
    made = payment(
        "k", 5000, state, PAID_TODAY, case_number="C-77" if state == "dead_letter" else ""
    )
    world.payments_made = [made]
    world.ride_through()
    text = customer.get(f"/payments/{made.intent_id}").text
    assert heading in text
    assert told in text
    waiting = state in {"accepted", "checking", "dead_letter"}
    assert ("Check again" in text) is waiting
    assert ("receipt-" in text) is waiting
    assert ("Receipt number" in text) is (state in {"accepted", "posted"})
    answer = customer.get(f"/payments/{made.intent_id}/state").json()
    assert (answer["state"], answer["settled"]) == (state, not waiting)
    assert (f'data-words="{answer["words"]}"' in text) is waiting
    world.ride_through(payments_open=False)
    other = customer.get(f"/payments/{made.intent_id}/state").json()
    assert other["words"] != answer["words"], "the page would say something else now"


def test_only_accepted_money_lowers_what_is_left(customer: Client, world: World) -> None:
    """A payment that is being checked is not counted, and the receipt says so."""
    made = payment("k", 5000, "checking", PAID_TODAY)
    world.payments_made = [made]
    world.ride_through()
    text = customer.get(f"/payments/{made.intent_id}").text
    assert "Not until we know" in text
    assert "<b>$100.56</b>" in text


def test_a_receipt_is_only_for_its_account(customer: Client, world: World) -> None:
    """Another account's payment does not exist here, even when a sibling would name it."""
    id_ = intent_id("of-others", "k")
    made = payment("k", 5000, "posted", PAID_TODAY, account_id="of-others", intent_id=id_)
    world.elsewhere[id_] = made
    assert customer.get(f"/payments/{id_}").status_code == 404


def test_a_huge_form_is_refused(customer: Client, world: World) -> None:
    """A form larger than any of ours is not read."""
    answer = customer.post("/pay", data={**CONFIRMED, "other": "x" * 100_000})
    assert answer.status_code == 413
    assert world.paid == []


def checked_world(world: World) -> None:
    """Let a payment of $40.02 be offered to the core, which then went away: nobody knows what became of it."""
    world.payments_made = [payment("asked", 4002, "checking", PAID_TODAY), PAID_EARLIER]


@pytest.mark.parametrize("payments_open", [True, False])
@pytest.mark.parametrize("path", ["/", "/pay", "/bills", "/usage"])
def test_a_payment_being_checked_is_told_everywhere(
    customer: Client, world: World, path: str, *, payments_open: bool
) -> None:
    """Each page says not to pay again, and none that nothing was taken or is on its way."""
    checked_world(world)
    world.ride_through(payments_open=payments_open)
    text = customer.get(path).text
    assert "We are checking your payment of $40.02" in text
    assert re.search("[Pp]lease do not pay (it )?again", text)
    assert "not taken any money" not in text
    assert "nothing is on its way" not in text


@pytest.mark.parametrize("mode", ["normal", "recovering", "degraded"])
def test_nothing_invites_to_pay_what_is_being_checked(
    customer: Client, world: World, mode: Mode
) -> None:
    """The overview and the bill lead to the payment instead of to another one; balances do not count it."""
    checked_world(world)
    world.now_mode = mode
    overview = customer.get("/").text
    assert "Your payment of $40.02 is being checked and not counted yet." in overview
    assert "Please do not pay it again." in overview
    assert f'<a class="btn" href="/payments/{world.payments_made[0].intent_id}">' in overview
    assert 'class="btn" href="/pay"' not in overview
    assert "that we accepted" not in overview
    bill = customer.get(f"/bills/{world.statements[0].statement_id}").text
    assert "Payment being checked" in bill
    assert 'class="btn" href="/pay"' not in bill


def test_the_review_repeats_that_a_payment_is_being_checked(customer: Client, world: World) -> None:
    """Paying something else stays possible, but not by oversight."""
    checked_world(world)
    text = customer.get("/pay/review", params={**CHOICE, "amount": "other", "other": "20"}).text
    assert "We are checking your payment of $40.02." in text
    assert "Please do not pay again." in text
    assert "Pay $20.00</button>" in text


def test_without_witness_and_core_nobody_is_told_that_nothing_was_taken(
    customer: Client, world: World
) -> None:
    """A payment made at an edge that is cut off from this one is not known here."""
    world.ride_through(payments_open=False)
    for path in ("/", "/pay", "/sign-in"):
        assert "not taken any money" not in customer.get(path).text
    assert "look at your payments before you pay in another way" in customer.get("/pay").text


def test_the_review_refuses_what_the_press_would(customer: Client, world: World) -> None:
    """The most at once is told before a button names more; so is the limit of an outage."""
    over = customer.get("/pay/review", params={**CHOICE, "amount": "other", "other": "10000.01"})
    assert over.status_code == 422
    assert "The most you can pay online at once is $10,000.00." in over.text
    assert "10,000.01</button>" not in over.text
    most = customer.get("/pay/review", params={**CHOICE, "amount": "other", "other": "10000.00"})
    assert "Pay $10,000.00</button>" in most.text
    world.ride_through()
    limited = customer.get("/pay/review", params={**CHOICE, "amount": "other", "other": "500.01"})
    assert limited.status_code == 422
    assert "You can pay up to $500.00 now." in limited.text
    assert "To pay more, call" in limited.text
    assert world.paid == []


def test_the_limit_is_told_before_one_types(customer: Client, world: World) -> None:
    """In an outage, what is left to pay and cannot be paid at once is said, with another way."""
    assert "Up to $10,000.00." in customer.get("/pay").text
    world.account = account(balance_cents=60_000)
    world.ride_through()
    text = customer.get("/pay").text
    assert "Up to $500.00 for now." in text
    assert "The $600.00 left to pay are more than we can accept at once right now." in text
    assert 'or the whole sum by phone: <a href="tel:+18005550142">' in text


def test_a_wrong_form_leads_the_reader_to_what_is_wrong(customer: Client) -> None:
    """Title, focus and the field itself say so."""
    text = customer.get("/pay/review", params={**CHOICE, "amount": "other", "other": "x"}).text
    assert "<title>Error: Pay" in text
    assert 'role="alert" id="wrong" tabindex="-1" autofocus' in text
    assert 'aria-describedby="most wrong" aria-invalid="true"' in text

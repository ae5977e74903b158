"""Sending what is no payment by form, without scripts, and what each outcome says."""

import re
from datetime import date, timedelta

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from edge_portal.errors import KeyReused, NotTaken, OverLimit, PaymentUnknown
from failover.intents import State
from failover.message_bodies import (
    ContactChange,
    MessageBody,
    MeterReading,
    OutageReport,
    ServiceRequest,
)
from tests.integration.pages.sample import ACCOUNT, AS_OF, message
from tests.integration.pages.world import World

Client = TestClient[Litestar]
READING = {
    "csrf": "csrf-of-session",
    "key": f"key.{ACCOUNT}",
    "meter": "NW 20 771 384",
    "register": "48,900",
    "read_on": AS_OF.date().isoformat(),
}


def read(register_kwh: int = 48_900) -> MessageBody:
    """Read the customer's meter."""
    return MeterReading(
        salt="",
        service_point_id="SP-1",
        meter_id="NW 20 771 384",
        read_on=AS_OF.date(),
        register_wh=register_kwh * 1000,
    )


def hidden(text: str) -> dict[str, str]:
    """Read the hidden fields of a page's main form."""
    form = text.partition('<main id="main"')[2]
    found = re.findall(
        r'<input type="hidden"(?: id="[^"]*")? name="([a-z]+)" value="([^"]*)">', form
    )
    return dict(found)


def test_the_whole_way(customer: Client, world: World) -> None:
    """From the account to the form, to the receipt, to the list of what was sent."""
    assert 'href="/reading"' in customer.get("/").text
    form = customer.get("/reading").text
    assert "Last reading: 48,823 kWh on November 10." in form
    answer = customer.post(
        "/reading",
        data=hidden(form) | {"register": "48900", "read_on": AS_OF.date().isoformat()},
    )
    assert answer.status_code == 303
    receipt = customer.get(answer.headers["Location"]).text
    assert "We have recorded your meter reading" in receipt
    assert "48,900 kWh" in receipt
    assert "Meter reading recorded" in customer.get("/messages").text
    assert "Meter reading recorded" in customer.get("/").text
    assert len(world.sent) == 1


def test_a_double_click_is_one_message(customer: Client, world: World) -> None:
    """The same form sent twice names the same message."""
    first = customer.post("/reading", data=READING)
    second = customer.post("/reading", data=READING)
    assert first.headers["Location"] == second.headers["Location"]
    assert len(world.messages) == 1


@pytest.mark.parametrize(
    ("change", "field", "told"),
    [
        ({"register": ""}, "register", "Write the numbers on the meter only"),
        ({"register": "48.9"}, "register", "Write the numbers on the meter only"),
        ({"register": "-5"}, "register", "Write the numbers on the meter only"),
        ({"register": "48822"}, "register", "lower than the last reading"),
        ({"register": "99999"}, "register", "more than can have been used"),
        ({"read_on": "soon"}, "read-on", "Choose the day"),
        ({"read_on": "2026-11-18"}, "read-on", "has not come yet"),
        ({"meter": "another"}, "meter-1", "Choose the meter"),
    ],
)
def test_problem_leads_to_its_field(
    customer: Client, world: World, change: dict[str, str], field: str, told: str
) -> None:
    """What is wrong stands on top, is tied to its input, and what was typed stays."""
    answer = customer.post("/reading", data=READING | change)
    assert answer.status_code == 422
    assert told in answer.text
    assert f'href="#{field}"' in answer.text
    assert f'id="{field}"' in answer.text
    typed = (READING | change)["register"]
    assert f'name="register" value="{typed}"' in answer.text
    assert world.messages == []


@pytest.mark.parametrize("key", ["", "nothing", "key.another-account"])
def test_form_of_another_account_sends_nothing(customer: Client, world: World, key: str) -> None:
    """Nor does one whose key was made up."""
    answer = customer.post("/reading", data=READING | {"key": key})
    assert answer.status_code == 422
    assert world.sent == []


def test_foreign_form_sends_nothing(customer: Client, world: World) -> None:
    """Another site's page does not know the session's token."""
    assert customer.post("/reading", data=READING | {"csrf": "guessed"}).status_code == 403
    assert world.sent == []


@pytest.mark.parametrize(
    ("outcome", "status", "told", "same_key"),
    [
        (OverLimit("account_day_count", "over"), 422, "you have sent us a lot today", False),
        (KeyReused("reused"), 409, "a form sends once", False),
        (NotTaken("nobody"), 503, "it will not be sent twice", True),
        (PaymentUnknown("silent"), 504, "Press the button again to ask", True),
    ],
)
def test_every_refusal_says_what_to_do(
    customer: Client, world: World, outcome: Exception, status: int, told: str, *, same_key: bool
) -> None:
    """Where the same form may be sent again its key stays; else it is a new one."""
    world.pay_outcome = outcome
    answer = customer.post("/reading", data=READING)
    assert answer.status_code == status
    assert told in answer.text
    assert (hidden(answer.text)["key"] == READING["key"]) is same_key


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("accepted", "We have accepted your meter reading"),
        ("checking", "Please do not send it again."),
        ("rejected", "It is lower than the last reading of this meter."),
        ("dead_letter", "A person is looking at it."),
        ("posted", "We have recorded your meter reading"),
    ],
)
def test_receipt_tells_its_state(customer: Client, world: World, state: State, told: str) -> None:
    """In plain words; what may still change is looked at by itself, and by a link without scripts."""
    reason = "reading_decreased" if state == "rejected" else ""
    known = message("m", read(), state, reason=reason)
    world.messages = [known]
    page = customer.get(f"/messages/{known.intent_id}").text
    assert told in page
    asks = customer.get(f"/messages/{known.intent_id}/state").json()
    assert (asks["state"], asks["settled"]) == (state, state in {"posted", "rejected"})
    assert (f'data-words="{asks["words"]}"' in page) is not asks["settled"]
    assert ("Check again" in page) is not asks["settled"]


def test_while_the_core_is_away_it_is_promised(customer: Client, world: World) -> None:
    """Accepted, on its way, without a time that nobody knows."""
    world.ride_through()
    world.pay_outcome = "accepted"
    assert "Send a meter reading, report an outage or request a service" in customer.get("/").text
    answer = customer.post("/reading", data=READING)
    page = customer.get(answer.headers["Location"]).text
    assert "We will record it when our main system is back." in page


OUTAGE = {"csrf": "csrf-of-session", "key": f"key.{ACCOUNT}", "extent": "all"}


def test_outage_is_reported_by_form(customer: Client, world: World) -> None:
    """What to do first stands above the form; the receipt names the place, and the form knows of the report."""
    form = customer.get("/outage").text
    assert "Do not use this form." in form
    assert "See your report" not in form
    answer = customer.post("/outage", data=hidden(form) | {"extent": "part"})
    receipt = customer.get(answer.headers["Location"]).text
    assert "We have your outage report" in receipt
    assert "Some of the lights" in receipt
    assert "See your report" in customer.get("/outage").text
    assert len(world.sent) == 1


@pytest.mark.parametrize(
    ("change", "field"), [({"extent": ""}, "extent-1"), ({"point": "elsewhere"}, "point-1")]
)
def test_outage_must_say_what_and_where(
    customer: Client, world: World, change: dict[str, str], field: str
) -> None:
    """Each leads to its field."""
    answer = customer.post("/outage", data=OUTAGE | change)
    assert answer.status_code == 422
    assert f'href="#{field}"' in answer.text
    assert f'id="{field}"' in answer.text
    assert world.messages == []


def test_accepted_outage_says_that_no_crew_sees_it_yet(customer: Client, world: World) -> None:
    """While the core is away nobody at work can read it: the receipt does not let anybody wait in vain."""
    world.ride_through()
    world.messages = [
        message("o", OutageReport(salt="", service_point_id="SP-1", extent="all"), "accepted")
    ]
    page = customer.get(f"/messages/{world.messages[0].intent_id}").text
    assert "Our crews cannot see it until then: if it cannot wait, call us." in page


def test_joined_report_names_its_ticket(customer: Client, world: World) -> None:
    """The second of one outage."""
    body = OutageReport(salt="", service_point_id="SP-1", extent="all")
    world.messages = [
        message("o", body, "posted", reason="joined_ticket", case_number="T-1234-5678")
    ]
    page = customer.get(f"/messages/{world.messages[0].intent_id}").text
    assert "added to the report that we already had" in page
    assert "T-1234-5678" in page


REQUEST = {
    "csrf": "csrf-of-session",
    "key": f"key.{ACCOUNT}",
    "kind": "move_out",
    "wished_on": "2026-12-01",
    "text": "Keys are with\r\nthe neighbour",
}


def test_service_is_requested_by_form(customer: Client, world: World) -> None:
    """From the account to the form, to the receipt in what was chosen; the form knows of the request."""
    assert 'href="/request"' in customer.get("/").text
    form = customer.get("/request").text
    assert 'min="2026-11-17" max="2027-02-15"' in form
    assert "See your request" not in form
    typed = {name: REQUEST[name] for name in ("kind", "wished_on", "text")}
    answer = customer.post("/request", data=hidden(form) | typed)
    receipt = customer.get(answer.headers["Location"]).text
    assert "We have your service request" in receipt
    assert "Moving out" in receipt
    assert "December 1" in receipt
    assert "the neighbour" in receipt
    assert "Service request passed on" in customer.get("/messages").text
    assert "See your request" in customer.get("/request").text
    ((_, content),) = world.sent
    assert content == ServiceRequest(
        salt="",
        kind="move_out",
        wished_on=date(2026, 12, 1),
        text="Keys are with\nthe neighbour",
    )


def test_service_request_needs_no_day_and_no_words(customer: Client, world: World) -> None:
    """Only what is needed must be chosen; the receipt has no empty line."""
    answer = customer.post("/request", data=REQUEST | {"wished_on": "", "text": "  "})
    receipt = customer.get(answer.headers["Location"]).text
    assert "Any day" in receipt
    assert "You wrote" not in receipt
    assert len(world.messages) == 1


@pytest.mark.parametrize(
    ("change", "field", "told"),
    [
        ({"kind": ""}, "kind-1", "Choose what you need."),
        ({"kind": "solar"}, "kind-1", "Choose what you need."),
        ({"wished_on": "soon"}, "wished-on", "Choose a day, or leave the day empty."),
        ({"wished_on": "2026-11-16"}, "wished-on", "This day has passed."),
        ({"wished_on": "2027-02-16"}, "wished-on", "Choose a day in the next 90 days."),
        ({"kind": "other", "text": ""}, "text", "Write what you need."),
        ({"text": "x" * 501}, "text", "Write at most 500 characters."),
        ({"text": "bell\x07"}, "text", "Write letters, numbers and line breaks only."),
    ],
)
def test_service_request_problem_leads_to_its_field(
    customer: Client, world: World, change: dict[str, str], field: str, told: str
) -> None:
    """What is wrong stands on top and is tied to its input; what was typed stays, without its markup."""
    typed = {"text": "<b>Zoe</b>"} | change
    answer = customer.post("/request", data=REQUEST | typed)
    assert answer.status_code == 422
    assert told in answer.text
    assert f'href="#{field}"' in answer.text
    assert f'id="{field}"' in answer.text
    assert "<b>Zoe</b>" not in answer.text
    assert ("&lt;b&gt;Zoe&lt;/b&gt;</textarea>" in answer.text) is ("text" not in change)
    assert world.messages == []


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        ("accepted", "", "Our staff cannot see it until then: if it cannot wait, call us."),
        ("checking", "", "Please do not send it again."),
        ("rejected", "day_passed", "The day that you chose had passed."),
        ("dead_letter", "", "A person is looking at it."),
        ("posted", "", "You do not need to do anything."),
        ("posted", "later_wish", "what you asked for last counts"),
        ("posted", "superseded", "You sent a later one, which counts instead of this one."),
    ],
)
def test_receipt_of_a_service_request(
    customer: Client, world: World, state: State, reason: str, told: str
) -> None:
    """In every state, while the core is away; nobody waits in vain for what nobody can see yet."""
    world.ride_through()
    body = ServiceRequest(salt="", kind="tree", text="It leans on the wire")
    known = message("s", body, state, reason=reason, case_number="T-1234-5678")
    world.messages = [known]
    page = customer.get(f"/messages/{known.intent_id}").text
    assert told in page
    assert "A tree near a power line" in page
    assert ("<dt>Ticket</dt><dd>T-1234-5678</dd>" in page) is (state == "posted")


CONTACT = {
    "csrf": "csrf-of-session",
    "key": f"key.{ACCOUNT}",
    "email": "new@example.com",
    "phone": "",
}


def test_contact_is_changed_by_form(customer: Client, world: World) -> None:
    """Only what differs from what was shown is sent: a change made elsewhere is not undone."""
    world.account = msgspec.structs.replace(
        world.account, contact_email="old@example.com", contact_phone="555-010-0100"
    )
    form = customer.get("/contact").text
    assert 'value="old@example.com"' in form
    assert "You still sign in with ines@example.com." in form
    typed = {"email": "new@example.com", "phone": "555-010-0100"}
    sent = hidden(form.replace("was_email", "wasemail").replace("was_phone", "wasphone"))
    sent = {name.replace("was", "was_"): value for name, value in sent.items()}
    answer = customer.post("/contact", data=sent | typed)
    receipt = customer.get(answer.headers["Location"]).text
    assert "We have changed how we reach you" in receipt
    assert "new@example.com" in receipt
    ((_, content),) = world.sent
    assert content == ContactChange(salt="", email="new@example.com")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "new"}, "email"),
        ({"email": ""}, "email"),
        ({"phone": "none"}, "phone"),
    ],
)
def test_contact_must_be_one(
    customer: Client, world: World, change: dict[str, str], field: str
) -> None:
    """Each leads to its field."""
    answer = customer.post("/contact", data=CONTACT | change)
    assert answer.status_code == 422
    assert f'href="#{field}"' in answer.text
    assert world.messages == []


def test_history_says_so(customer: Client, world: World) -> None:
    """An older reading changed nothing, and the receipt does not pretend otherwise."""
    known = message("m", read(), "posted", reason="kept_as_history")
    world.messages = [known]
    assert "kept as history" in customer.get(f"/messages/{known.intent_id}").text


def test_emptied_message_still_has_its_receipt(customer: Client, world: World) -> None:
    """What it said is gone; that it was sent and recorded is not."""
    known = msgspec.structs.replace(message("m", read(), "posted"), body=msgspec.UNSET)
    world.messages = [known]
    page = customer.get(f"/messages/{known.intent_id}").text
    assert "We have recorded your meter reading" in page
    assert "48,900" not in page


def test_closed_edge_says_how_else(customer: Client, world: World) -> None:
    """No form that would be refused; the number to call instead."""
    world.ride_through(payments_open=False)
    page = customer.get("/reading").text
    assert "You cannot send us anything online right now." in page
    assert "1-800-555-0142" in page
    assert "<form method" not in page.partition('<main id="main"')[2]


def test_another_sibling_knows_it(customer: Client, world: World) -> None:
    """A message that only a sibling has is shown as it tells it."""
    known = message("far", read(), "accepted", accepted_at=AS_OF - timedelta(hours=1))
    world.elsewhere[known.intent_id] = known
    assert customer.get(f"/messages/{known.intent_id}").status_code == 200

"""What a customer sees of a payment through real processes, at the edge that took it and at its sibling."""

import re
from collections.abc import Iterator

import httpx
import pytest

from edge_portal.cookies import SESSION_COOKIE
from tests.integration.edge_fleet import Customer, EdgeFleet, EdgeProcess, wait_until


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeFleet]:
    """Run one fleet for all tests of this file."""
    fleet = EdgeFleet(tmp_path_factory.mktemp("receipts"), accounts=8, workers=1)
    try:
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def fleet(running: EdgeFleet) -> EdgeFleet:
    """Return the fleet, whole and in normal mode whatever the test before did."""
    running.heal()
    return running


class Browser:
    """A customer's browser without scripts at one edge."""

    def __init__(self, customer: Customer, edge: EdgeProcess) -> None:
        token = customer.client.headers["Authorization"].split()[1]
        self.client = httpx.Client(
            base_url=edge.url,
            headers={"Cookie": f"{SESSION_COOKIE}={token}", "Origin": edge.url},
            timeout=30,
            trust_env=False,
        )

    def review(self, cents: int, method: str) -> str:
        """Ask to pay a sum; returns the review."""
        form = hidden(self.client.get("/pay").text)
        wanted = {"amount": "other", "other": f"{cents / 100:.2f}", "method": method}
        answer = self.client.get("/pay/review", params=form | wanted)
        assert answer.status_code == 200, answer.text
        return answer.text


def hidden(text: str) -> dict[str, str]:
    """Read the hidden fields of a page's main form."""
    form = text.partition('<main id="main"')[2]
    return dict(re.findall('<input type="hidden" name="([a-z]+)" value="([^"]*)">', form))


def owing(fleet: EdgeFleet, edge: EdgeProcess) -> tuple[Customer, int]:
    """Sign in a customer who owes something that may be paid while the core is away."""
    for number in range(len(fleet.customers)):
        customer = fleet.customer(number, edge)
        left = int(customer.client.get("/account").json()["left_to_pay"])
        if 0 < left <= 20_000 and customer.method:
            return customer, left
    raise AssertionError("nobody owes anything")


def test_what_a_sibling_accepted_is_warned_of_before_it_is_paid_again(fleet: EdgeFleet) -> None:
    """The core is dead, all that was left is accepted at one edge: the other asks first, and takes it after."""
    east, west = fleet.edges
    customer, left = owing(fleet, east)
    there = fleet.move(customer, west)
    assert there.client.post("/payments/check", json={"amount": left}).json()["covered_by"] is None
    fleet.kill_core()
    wait_until("accepted", lambda: customer.pay(left, key="at-east").status_code == 202)
    taken = customer.pay(left, key="at-east").json()
    covered = there.client.post("/payments/check", json={"amount": left}).json()["covered_by"]
    assert (covered["why"], covered["over"]) == ("nothing_left", left)
    assert [payment["id"] for payment in covered["payments"]] == [taken["id"]]
    browser = Browser(customer, west)
    review = browser.review(left, customer.method)
    assert "You may be paying this twice." in review
    assert f'href="/payments/{taken["id"]}"' in review
    refused = browser.client.post("/pay", data=hidden(review))
    assert refused.status_code == 422
    assert len(there.client.get("/payments").json()["items"]) == len(
        customer.client.get("/payments").json()["items"]
    )
    box = re.search('name="again" value="([^"]+)"', refused.text)
    assert box is not None
    paid = browser.client.post("/pay", data=hidden(refused.text) | {"again": box[1]})
    assert paid.status_code == 303, paid.text
    fleet.start_core()
    second = paid.headers["Location"].rpartition("/")[2]
    for payment_id in (taken["id"], second):
        wait_until("posted", lambda id_=payment_id: there.state(id_) == "posted")  # type: ignore[misc]
    assert [entry["amount"] for entry in fleet.posted(customer.account_id)] == [-left, -left]

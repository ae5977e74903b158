"""Stand-in limits through real processes: set by operators while all runs, and in force when the core is gone."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from core_cis.keys import load_keys
from edge_portal.cookies import SESSION_COOKIE
from tests.integration.edge_fleet import Customer, EdgeFleet, EdgeProcess, wait_until


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[EdgeFleet]:
    """Run a core and two edges."""
    made = EdgeFleet(tmp_path, accounts=3)
    try:
        made.heal()
        yield made
    finally:
        made.stop()


def follow(fleet: EdgeFleet, version: int, **limits: Any) -> None:
    """Wait until every edge follows an order, with these limits."""

    def follows(edge: EdgeProcess) -> bool:
        told = edge.status()["limits"]
        return {name: told[name] for name in limits} == limits and told["version"] == version

    for edge in fleet.edges:
        wait_until(f"{edge.name} follows {version}", lambda edge=edge: follows(edge))  # type: ignore[misc]


def set_by_page(fleet: EdgeFleet, **typed: str) -> None:
    """Set limits as an operator does at the console: sign in, change the form, check it, confirm."""
    url = f"http://127.0.0.1:{fleet.core_port}"
    with httpx.Client(
        base_url=url, headers={"Origin": url}, timeout=60, trust_env=False, follow_redirects=True
    ) as client:
        token = load_keys(fleet.core_data).operator_token
        signed_in = client.post("/ops/sign-in", data={"operator": "Ada", "token": token})
        # The cookie is for https only, and a browser would take this machine's own address for safe.
        cookie = signed_in.history[0].headers["set-cookie"].partition(";")[0]
        client.headers["Cookie"] = cookie
        page = client.get("/ops/limits").text
        form = page[page.index("<form", page.index("<table")) :]
        values = dict(re.findall(r'name="(\w+)"[^>]* value="([^"]*)"', form))
        review = client.post("/ops/limits/review", data={**values, "reason": "storm", **typed})
        assert review.status_code == 200, review.text
        confirmed = review.text[review.text.index('<form class="flow"') :]
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', confirmed))
        assert client.post("/ops/limits", data=hidden).status_code == 200


def has_counted(edge: EdgeProcess) -> bool:
    """Tell whether an edge has a witness and knows what is outstanding there."""
    told = edge.status()
    return bool(told["payments_open"]) and told["limits"]["outstanding"] is not None


def over(answer: httpx.Response) -> str:
    """Tell which limit refused a payment."""
    assert answer.status_code == 422, answer.text
    told = answer.json()
    assert told["type"].endswith(":over_limit")
    assert told["detail"].startswith("Nothing was taken.")
    return str(told["errors"][0]["rule"])


def review(customer: Customer, edge: EdgeProcess, amount: str) -> httpx.Response:
    """Ask a page of the portal to review a payment."""
    token = customer.client.headers["Authorization"].split()[1]
    headers = {"Cookie": f"{SESSION_COOKIE}={token}"}
    form = httpx.get(f"{edge.url}/pay", headers=headers, timeout=30, trust_env=False).text
    found = re.search(r'name="key" value="([^"]+)"', form)
    assert found is not None, form
    choice = {"amount": "other", "other": amount, "method": customer.method, "key": found[1]}
    return httpx.get(
        f"{edge.url}/pay/review", params=choice, headers=headers, timeout=30, trust_env=False
    )


def test_limits_are_lowered_live_and_hold_without_the_core(fleet: EdgeFleet) -> None:
    """By command and by page; over it the customer reads which and what to do, under it payments go on; all post."""
    east, west = fleet.edges
    customer = fleet.customer(0, east)
    assert customer.method
    begun = east.status()["limits"]
    assert (begun["version"], begun["per_payment"], begun["edge_outstanding"]) == (
        0,
        50_000,
        5_000_000,
    )
    fleet.run_core("limits", "set", "--reason", "storm", "--per-payment-cents", "3000")
    # The fleet's total is what both files allow together: each edge owns half of it.
    follow(fleet, 1, per_payment=3_000, edge_outstanding=5_000_000)
    # While the core is asked it decides, over a limit too.
    assert customer.pay(3_500).status_code == 201
    set_by_page(fleet, account_day_cents="45.00", fleet_outstanding_cents="80.00")
    follow(fleet, 2, account_day_sum=4_500, per_payment=3_000, edge_outstanding=4_000)

    assert fleet.core is not None
    fleet.core.send_signal(signal.SIGSTOP)
    for edge in fleet.edges:
        wait_until("degraded", lambda edge=edge: edge.mode() == "degraded")  # type: ignore[misc]
    assert over(customer.pay(3_001)) == "per_payment"
    told = review(customer, east, "30.01")
    assert told.status_code == 422
    assert "While our main system is down, one payment can be up to $30.00." in told.text
    assert "You can pay up to $30.00 now." in told.text
    accepted = [customer.pay(3_000)]

    fleet.core.kill()
    fleet.core.wait()
    for edge in fleet.edges:
        edge.stop(signal.SIGKILL)
        edge.start()
    for edge in fleet.edges:
        wait_until(f"{edge.name} has counted", lambda edge=edge: has_counted(edge))  # type: ignore[misc]
        told_by = edge.status()["limits"]
        assert (told_by["version"], told_by["edge_outstanding"]) == (2, 4_000)
    at_west = fleet.move(customer, west)
    # The west holds the copy of what was accepted at the east.
    assert over(at_west.pay(1_501)) == "account_day_sum"
    accepted.append(at_west.pay(1_500))
    # 40.00 is the east's share, of which 30.00 are used, whoever pays.
    other = fleet.customer(1, east)
    assert over(other.pay(1_001)) == "edge_outstanding"
    accepted.append(other.pay(1_000))
    assert [answer.status_code for answer in accepted] == [202, 202, 202]
    assert {answer.json()["state"] for answer in accepted} == {"accepted"}

    fleet.start_core()
    for payer, answer in zip((customer, at_west, other), accepted, strict=True):
        wait_until("posted", lambda p=payer, a=answer: p.state(a.json()["id"]) == "posted")  # type: ignore[misc]
    amounts = sorted(entry["amount"] for entry in fleet.posted(customer.account_id))
    assert amounts == [-3_500, -3_000, -1_500]
    lines = fleet.run_core("audit", "list").stdout
    assert lines.count("limits.set") == 2
    assert "the log is whole" in fleet.run_core("audit", "verify").stdout

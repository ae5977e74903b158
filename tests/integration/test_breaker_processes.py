"""An operator holds the breaker of a running edge: customers are served on, truthfully, and within their deadlines."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime

import httpx
import pytest

from tests.integration.edge_fleet import EdgeFleet, EdgeProcess, wait_until


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeFleet]:
    """Run one fleet for all tests of this file."""
    fleet = EdgeFleet(tmp_path_factory.mktemp("fleet"), workers=1)
    try:
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def fleet(running: EdgeFleet) -> EdgeFleet:
    """Return the fleet, whole and in normal mode whatever the test before did."""
    running.heal()
    return running


def order(edge: EdgeProcess, *words: str) -> None:
    """Order something of the breaker."""
    command = [sys.executable, "-P", "-m", "edge_portal", "breaker", *words]
    command += ["--data", str(edge.data), "--reason", "new disks", "--by", "ann"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def metric(edge: EdgeProcess, name: str) -> float:
    """Read one figure of ``/metrics``."""
    text = httpx.get(f"{edge.url}/metrics", timeout=10, trust_env=False).text
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


def test_held_open_customers_are_served_from_what_the_edge_holds(fleet: EdgeFleet) -> None:
    """The core is well and hears nothing; over a restart; then the payment is posted, once."""
    edge = fleet.edges[0]
    customer = fleet.customer(0, edge)
    shown = customer.client.get("/statements").json()
    order(edge, "open", "--for", "30m")
    wait_until("held", lambda: edge.status()["breaker"] == "open")
    wait_until("known", lambda: edge.status()["reason"] == "breaker_held")
    told = edge.status()
    assert told["mode"] == "degraded"
    held = told["breaker_order"]
    assert (held["breaker"], held["by"], held["reason"]) == ("open", "ann", "new disks")
    assert 0 < held["seconds_left"] <= 1800
    assert metric(edge, 'ridethrough_edge_breaker_held{state="open"}') == 1
    assert metric(edge, "ridethrough_edge_breaker_held_seconds") >= 0

    edge.stop()
    edge.start()
    wait_until("held again", lambda: edge.status()["reason"] == "breaker_held")
    read = customer.client.get("/statements")
    assert read.json() == shown
    assert read.headers["Ridethrough-Mode"] == "degraded"
    assert datetime.fromisoformat(read.headers["Ridethrough-As-Of"]) <= datetime.fromisoformat(
        edge.status()["as_of"]
    )
    paid = customer.pay(123, key="held-open")
    assert (paid.status_code, paid.json()["state"]) == (202, "accepted")
    assert edge.status()["core_silence_seconds"] is None
    assert fleet.posted(customer.account_id) == []

    order(edge, "automatic")
    wait_until("posted", lambda: customer.state(paid.json()["id"]) == "posted")
    assert [entry["amount"] for entry in fleet.posted(customer.account_id)] == [-123]
    wait_until("normal", lambda: edge.mode() == "normal")
    assert edge.status()["breaker_order"] is None
    log = edge.log.read_text()
    assert "an operator holds the breaker" in log
    assert "the breaker decides by itself again" in log


def test_held_closed_a_frozen_core_holds_nobody(fleet: EdgeFleet) -> None:
    """It never answers, the breaker never opens, and every customer is answered all the same, and told truthfully."""
    edge = fleet.edges[0]
    customer = fleet.customer(1, edge)
    assert customer.method
    order(edge, "close")
    wait_until("held", lambda: edge.status()["breaker_order"] is not None)
    assert fleet.core is not None
    fleet.core.send_signal(signal.SIGSTOP)
    try:
        wait_until("degraded", lambda: edge.mode() == "degraded")
        paid = [customer.pay(100 + number, key=f"held-closed-{number}") for number in range(8)]
        told = edge.status()
    finally:
        fleet.core.send_signal(signal.SIGCONT)
    assert {answer.json()["state"] for answer in paid} == {"accepted"}
    assert (told["breaker"], told["reason"]) == ("closed", "core_silent")
    tries = 'ridethrough_edge_core_first_tries_total{road="live"}'
    wait_until("counted", lambda: metric(edge, tries) >= len(paid))
    ids = [answer.json()["id"] for answer in paid]
    wait_until("posted", lambda: {customer.state(one) for one in ids} == {"posted"})
    amounts = sorted(entry["amount"] for entry in fleet.posted(customer.account_id))
    assert amounts == [-(100 + number) for number in reversed(range(8))]
    order(edge, "automatic")
    wait_until("let go", lambda: edge.status()["breaker_order"] is None)


def test_an_order_that_ends_lets_go_by_itself(fleet: EdgeFleet) -> None:
    """Nobody has to remember it."""
    edge = fleet.edges[0]
    order(edge, "open", "--for", "3s")
    wait_until("held", lambda: edge.status()["breaker"] == "open")
    wait_until("let go", lambda: edge.status()["breaker_order"] is None)
    wait_until("normal", lambda: edge.mode() == "normal")

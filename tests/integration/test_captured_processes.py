"""Payments that an edge charges itself, with real processes: processor, core, two edges; and kill -9 where it hurts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cache_sync.sqlite import connect
from failover.intents import intent_id
from tests.integration.edge_fleet import PATIENCE_SECONDS, EdgeFleet, free_ports, wait_until

SECRET = "sk_test_process"
OUTAGE_SECONDS = 30 * 3600
# What the core takes for the processor's memory of keys: over when the outage is, as 24 hours are after 30.
HORIZON_SECONDS = 1.0


class Processor:
    """The simulator as a process."""

    def __init__(self, folder: Path) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        plan = folder / "processor.json"
        plan.write_bytes(msgspec.json.encode({"port": port, "secret": SECRET}))
        command = [sys.executable, "-P", "-m", "chaos", "processor", "--plan", str(plan)]
        self.process = subprocess.Popen(command)
        wait_until("the processor answers", self._answers)

    def _answers(self) -> bool:
        try:
            return self.ask("healthz").is_success
        except httpx.TransportError:
            return False

    def ask(self, what: str) -> httpx.Response:
        """Ask its control."""
        return httpx.get(f"{self.url}/control/{what}", timeout=10, trust_env=False)

    def order(self, what: str, **body: object) -> None:
        """Order a fault, a decline or time."""
        answer = httpx.post(f"{self.url}/control/{what}", json=body, timeout=10, trust_env=False)
        assert answer.status_code == 200, answer.text

    def charges(self, payment_id: str) -> list[dict[str, Any]]:
        """List the charges of a payment that took money."""
        listed = self.ask(f"charges/{payment_id}").json()["charges"]
        return [one for one in listed if one["status"] == "succeeded"]

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


class CapturingFleet(EdgeFleet):
    """A fleet whose edges may charge saved methods at a processor, and whose core does."""

    def __init__(self, folder: Path, processor: Processor) -> None:
        secret = folder / "processor-secret"
        secret.write_text(SECRET + "\n")
        super().__init__(
            folder,
            config_arguments=(
                *("--processor", processor.url),
                *("--processor-secret-file", str(secret)),
            ),
        )
        self.processor = processor

    def part(self) -> None:
        """Kill the core and wait until the breakers are open too: only they decide that an edge charges."""
        self.kill_core()
        for edge in self.edges:
            wait_until("open", lambda edge=edge: edge.status()["breaker"] == "open")  # type: ignore[misc]

    def reconciled(self) -> subprocess.CompletedProcess[str]:
        """Reconcile with the processor's settlement file."""
        path = self.folder / "settlement.jsonl"
        path.write_text(self.processor.ask("settlement").text)
        command = [sys.executable, "-P", "-m", "core_cis", "reconcile", "--json"]
        return subprocess.run(
            [*command, "--data", str(self.core_data), "--settlement", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CapturingFleet]:
    """Run one fleet with its processor for all tests of this file."""
    folder = tmp_path_factory.mktemp("captured")
    processor = Processor(folder)
    settings = folder / "core-processor.json"
    settings.write_bytes(
        msgspec.json.encode(
            {
                "url": processor.url,
                "secret": SECRET,
                "horizon_seconds": HORIZON_SECONDS,
                "capture_seconds": HORIZON_SECONDS,
                "refund_seconds": 0.2,
            }
        )
    )
    before = os.environ.get("RIDETHROUGH_PROCESSOR_FILE")
    os.environ["RIDETHROUGH_PROCESSOR_FILE"] = str(settings)
    fleet = CapturingFleet(folder, processor)
    try:
        yield fleet
    finally:
        fleet.stop()
        processor.stop()
        os.environ.pop("RIDETHROUGH_PROCESSOR_FILE")
        if before is not None:
            os.environ["RIDETHROUGH_PROCESSOR_FILE"] = before


@pytest.fixture
def fleet(running: CapturingFleet) -> CapturingFleet:
    """Return the fleet, whole and in normal mode whatever the test before did."""
    httpx.delete(f"{running.processor.url}/control/fault", timeout=10, trust_env=False)
    running.heal()
    return running


def test_with_the_core_away_the_edge_charges_and_the_core_posts(fleet: CapturingFleet) -> None:
    """Charged at once with the payment's id as key, accepted, posted later, reconciled to the cent."""
    east, west = fleet.edges
    customer = fleet.customer(0, east)
    assert customer.method
    fleet.part()
    answer = customer.pay(4200, key="captured-1")
    assert answer.status_code == 202, answer.text
    payment_id = answer.json()["id"]
    wait_until("accepted", lambda: customer.state(payment_id) == "accepted")
    (charge,) = fleet.processor.charges(payment_id)
    assert charge["amount"] == 4200
    assert customer.pay(4200, key="captured-1").json()["id"] == payment_id
    assert fleet.move(customer, west).state(payment_id) in {"accepted", "checking"}
    fleet.start_core()
    wait_until("posted", lambda: customer.state(payment_id) == "posted")
    assert [entry["amount"] for entry in fleet.posted(customer.account_id)] == [-4200]
    assert len(fleet.processor.charges(payment_id)) == 1
    done = fleet.reconciled()
    assert done.returncode == 0, done.stdout


def test_a_bank_that_says_no_is_told_at_once(fleet: CapturingFleet) -> None:
    """No money, no accepted payment; the core says the same when it is back."""
    customer = fleet.customer(1, fleet.edges[0])
    assert customer.method
    token = tokens(fleet)[customer.method]
    fleet.processor.order("decline", method=token, code="insufficient_funds")
    fleet.part()
    answer = customer.pay(1300, key="declined-1")
    payment_id = answer.json()["id"]
    told: dict[str, Any] = {}

    def declined() -> bool:
        told.update(customer.client.get(f"/payments/{payment_id}").json())
        return str(told["reason"]) == "declined_insufficient_funds"

    wait_until("declined", declined)
    assert told["state"] == "checking"
    assert customer.client.get("/account").json()["pending_amount"] == 0
    fleet.start_core()
    wait_until("rejected", lambda: customer.state(payment_id) == "rejected")
    assert fleet.posted(customer.account_id) == []
    fleet.processor.order("decline", method=token, code="")


def test_processor_times_out_thirty_hours_outage_replay_one_charge(fleet: CapturingFleet) -> None:
    """
    The edge is charged for, hears nothing, and dies; the core is away until the processor has forgotten the key.

    The witness brings the payment to the core, which asks and never charges: one charge, posted once.
    """
    east, west = fleet.edges
    customer = fleet.customer(2, east)
    assert customer.method
    fleet.part()
    fleet.processor.order("fault", kind="slow", seconds=60, count=1)
    answer = customer.pay(2500, key="timed-out")
    assert (answer.status_code, answer.json()["state"]) == (202, "checking")
    payment_id = intent_id(customer.account_id, "timed-out")
    wait_until("charged", lambda: len(fleet.processor.charges(payment_id)) == 1)
    east.stop(signal.SIGKILL)
    fleet.processor.order("clock", advance_seconds=OUTAGE_SECONDS)
    time.sleep(HORIZON_SECONDS)
    fleet.start_core()
    there = fleet.move(customer, west)
    wait_until("posted", lambda: there.state(payment_id) == "posted")
    fleet.heal()
    customer = fleet.customer(2, east)
    wait_until("posted here too", lambda: customer.state(payment_id) == "posted")
    assert len(fleet.processor.charges(payment_id)) == 1
    assert [entry["amount"] for entry in fleet.posted(customer.account_id)] == [-2500]


def test_killed_at_any_moment_money_is_taken_once_or_not_at_all(fleet: CapturingFleet) -> None:
    """The agent is killed while customers pay, at eight moments: whatever was charged is posted, and nothing else."""
    east = fleet.edges[0]
    customer = fleet.customer(3, east)
    assert customer.method
    fleet.part()
    fleet.processor.order("fault", kind="slow", seconds=0.2, count=1000, ttl_seconds=600)
    keys = [f"killed-{number}" for number in range(8)]
    with ThreadPoolExecutor(1) as pool:
        for number, key in enumerate(keys):
            wait_until("the agent is there", lambda: "agent" in east.pids() and east.ready())
            agent = east.pids()["agent"]
            paying = pool.submit(customer.pay, 100 + number, key)
            time.sleep(0.06 * number)
            os.kill(agent, signal.SIGKILL)
            paying.result()
            wait_until("replaced", lambda agent=agent: east.pids().get("agent") != agent)  # type: ignore[misc]
    httpx.delete(f"{fleet.processor.url}/control/fault", timeout=10, trust_env=False)
    fleet.heal()
    customer = fleet.customer(3, east)
    ids = {intent_id(customer.account_id, key): 100 + n for n, key in enumerate(keys)}

    def settled() -> bool:
        states = {customer.client.get(f"/payments/{one}").json().get("state") for one in ids}
        return states <= {"posted", "rejected", None}

    wait_until("all decided", settled, 2 * PATIENCE_SECONDS)
    posted = {entry["intent_id"]: -entry["amount"] for entry in fleet.posted(customer.account_id)}
    charged = {one: fleet.processor.charges(one) for one in ids}
    assert all(len(charges) <= 1 for charges in charged.values())
    taken = {one: charges[0]["amount"] for one, charges in charged.items() if charges}
    assert posted == taken
    assert all(ids[one] == amount for one, amount in taken.items())


def tokens(fleet: CapturingFleet) -> dict[str, str]:
    """Read the demo's tokens by saved method, from the core alone: no edge can be asked for one."""
    connection = connect(fleet.core_data / "core.db", synchronous="NORMAL", read_only=True)
    try:
        return dict(connection.execute("SELECT method_id, token FROM payment_methods").fetchall())
    finally:
        connection.close()

"""A core restored from a backup: edges keep what they have, and every payment is posted once in the new history."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from chaos.fleet import Fleet, FleetOptions
from core_cis.__main__ import main as core_command

EDGES = ("edge-1", "edge-2")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Run a small fleet."""
    options = FleetOptions(accounts=2, edges=2, normal_min_seconds=1)
    made = Fleet(tmp_path_factory.mktemp("restore"), options)
    made.prepare()
    try:
        made.start()
        yield made
    finally:
        made.stop()


def wait_for(what: Callable[[], bool], said: str, seconds: float = 60) -> None:
    """Wait until something is so, with a deadline that no healthy run comes near."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, f"not within {seconds:g} s: {said}"
        time.sleep(0.1)


def ask(url: str, method: str, path: str, **more: Any) -> httpx.Response:
    """Ask somebody over HTTP."""
    with httpx.Client(base_url=url, timeout=15, trust_env=False) as http:
        return http.request(method, path, **more)


class Customer:
    """The first customer of the fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, who = fleet, fleet.customers[0]
        body = {"email": who.email, "password": who.password}
        token = ask(fleet.edge_url("edge-1"), "POST", "/api/v1/session", json=body).json()["token"]
        self.headers = {"Authorization": f"Bearer {token}"}
        methods = self.account("edge-1")["payment_methods"]
        self.method = next(one["id"] for one in methods if one["status"] == "verified")

    def account(self, edge: str) -> dict[str, Any]:
        """Read the account at an edge."""
        path = "/api/v1/account"
        read = ask(self.fleet.edge_url(edge), "GET", path, headers=self.headers)
        assert read.status_code == 200
        told: dict[str, Any] = read.json()
        return told

    def pay(self, edge: str, key: str, cents: int) -> str:
        """Pay and return the state."""
        answer = ask(
            self.fleet.edge_url(edge),
            "POST",
            "/api/v1/payments",
            headers={**self.headers, "Idempotency-Key": key},
            json={"amount": cents, "method_id": self.method},
        )
        return str(answer.json()["state"])


def mode(fleet: Fleet, edge: str) -> str:
    """Return an edge's mode."""
    return str(ask(fleet.edge_url(edge), "GET", "/status").json()["mode"])


def epoch(fleet: Fleet, edge: str) -> int:
    """Return the epoch of an edge's snapshot."""
    return int(ask(fleet.edge_url(edge), "GET", "/status").json()["shards"]["0"]["epoch"])


def core_status(fleet: Fleet) -> dict[str, Any]:
    """Ask the core as an operator; empty while it does not answer."""
    headers = {"Authorization": f"Bearer {fleet.operator_token}"}
    try:
        told: dict[str, Any] = ask(fleet.core_url, "GET", "/status", headers=headers).json()
    except httpx.HTTPError:
        return {}
    return told


def run_core(fleet: Fleet, *command: str) -> str:
    """Run a command of the core."""
    done = CliRunner().invoke(core_command, [*command, "--data", str(fleet.core_data)])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_restored_core_waits_for_its_operator(fleet: Fleet) -> None:
    """
    A payment is posted after the backup; the backup is restored.

    Edges keep the newer balance, say that the core is away and accept payments; the core posts nothing until its epoch
    is raised. Then edges build anew, bring back what the core had posted after the backup, and deliver what they
    accepted meanwhile: each is posted once, and the books equal what was accepted to the cent.
    """
    customer = Customer(fleet)
    for edge in EDGES:
        wait_for(lambda edge=edge: mode(fleet, edge) == "normal", f"{edge} is normal")  # type: ignore[misc]
    backup = fleet.data / "backup.db"
    run_core(fleet, "backup", str(backup))
    for edge, key, cents in (("edge-1", "after-the-backup", 1_000), ("edge-2", "likewise", 250)):
        assert customer.pay(edge, key, cents) == "posted"
    newer = customer.account("edge-1")["left_to_pay"]
    for edge in EDGES:
        wait_for(lambda edge=edge: customer.account(edge)["balance"] == newer, "both edges know")  # type: ignore[misc]

    fleet.core.kill()
    for left_over in fleet.core_data.glob("core.db-*"):
        left_over.unlink()
    shutil.copyfile(backup, fleet.core_data / "core.db")
    fleet.core.start()
    wait_for(lambda: core_status(fleet).get("restored") is not None, "the core notices")
    for edge in EDGES:
        wait_for(lambda edge=edge: mode(fleet, edge) == "degraded", f"{edge} says so")  # type: ignore[misc]
        assert customer.account(edge)["balance"] == newer
    assert customer.pay("edge-2", "meanwhile", 700) == "accepted"
    assert core_status(fleet)["intents"].get("posted", 0) == 0

    assert "epoch 2 has begun" in run_core(fleet, "epoch", "raise")
    for edge in EDGES:
        wait_for(lambda edge=edge: mode(fleet, edge) == "normal", f"{edge} is normal again")  # type: ignore[misc]
        wait_for(lambda edge=edge: epoch(fleet, edge) == 2, f"{edge} has built anew")  # type: ignore[misc]
    assert core_status(fleet)["restored"] is None
    wait_for(lambda: core_status(fleet)["intents"].get("posted") == 3, "all three are posted")
    listed = json.loads(
        run_core(fleet, "ledger", customer.account("edge-1")["account_id"], "--json")
    )
    paid = [
        entry["amount"]
        for entry in listed["entries"]
        if entry["intent_id"] and not entry["intent_id"].startswith("office-")
    ]
    assert sorted(paid) == [-1_000, -700, -250]
    for edge in EDGES:
        wait_for(
            lambda edge=edge: customer.account(edge)["balance"] == newer - 700,  # type: ignore[misc]
            f"{edge} shows the balance",
        )
        assert customer.account(edge)["pending_amount"] == 0
        assert customer.pay(edge, "after-the-backup", 1_000) == "posted"
    told = CliRunner().invoke(core_command, ["reconcile", "--data", str(fleet.core_data)])
    assert told.exit_code == 0, told.output

"""An edge as real processes: what is killed or frozen is replaced, and customers do not notice."""

import os
import re
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

from edge_portal.cookies import SESSION_COOKIE
from tests.integration.edge_fleet import (
    Customer,
    EdgeFleet,
    EdgeProcess,
    children_of,
    is_gone,
    steady_reads,
    wait_until,
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeFleet]:
    """Run one fleet for all tests of this file."""
    fleet = EdgeFleet(tmp_path_factory.mktemp("fleet"))
    try:
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def fleet(running: EdgeFleet) -> EdgeFleet:
    """Return the fleet, whole and in normal mode whatever the test before did."""
    running.heal()
    return running


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
@pytest.mark.parametrize("victim", ["worker-1", "worker-2", "applier", "agent"])
def test_any_one_process_is_replaced_while_reads_go_on(
    fleet: EdgeFleet, victim: str, blow: signal.Signals
) -> None:
    """Every read on a new connection is answered, and another process takes the place."""
    edge = fleet.edges[0]
    customer = fleet.customer(0, edge)
    before = edge.pids()[victim]
    with steady_reads(customer, edge) as answers:
        os.kill(before, blow)
    assert answers
    assert set(answers) == {200}
    wait_until("replaced", lambda: edge.pids().get(victim) not in {None, before})
    assert is_gone(before)
    wait_until("well", lambda: edge.ready() and edge.mode() == "normal")
    assert customer.pay().status_code == 201


def test_with_the_agent_frozen_payments_are_unknown_and_safe_to_repeat(fleet: EdgeFleet) -> None:
    """504 with ``retry: same``; the repetition is one payment, posted once."""
    edge = fleet.edges[0]
    customer = fleet.customer(1, edge)
    assert customer.method
    os.kill(edge.pids()["agent"], signal.SIGSTOP)
    answer = customer.pay(321, key="frozen-agent")
    assert answer.status_code == 504
    assert answer.json()["retry"] == "same"
    wait_until("taken", lambda: customer.pay(321, key="frozen-agent").status_code == 201)
    assert customer.pay(321, key="frozen-agent").json()["id"] == answer.json()["id"]
    assert [entry["amount"] for entry in fleet.posted(customer.account_id)] == [-321]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_an_edge_leaves_no_process(fleet: EdgeFleet, number: int) -> None:
    """And exits with 0."""
    edge = fleet.edges[0]
    pids = children_of(edge)
    assert len(pids) == 5
    assert edge.stop(number) == 0
    assert all(is_gone(pid) for pid in pids)


def test_a_killed_supervisor_leaves_no_process(fleet: EdgeFleet) -> None:
    """Its children die with it, frozen ones too, and the edge can be started again at once."""
    edge = fleet.edges[0]
    pids = children_of(edge)
    os.kill(edge.pids()["worker-2"], signal.SIGSTOP)
    edge.stop(signal.SIGKILL)
    wait_until("all gone", lambda: all(is_gone(pid) for pid in pids), seconds=5)
    edge.start()
    assert not set(edge.pids().values()) & set(pids)


def test_a_folder_serves_one_edge(fleet: EdgeFleet) -> None:
    """A second one says which process holds it."""
    edge = fleet.edges[0]
    assert edge.process is not None
    second = subprocess.run(
        [*edge.command, "--port", "0"], capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 1
    assert f"in use by another edge (process {edge.process.pid})" in second.stderr
    assert edge.ready()


def test_a_configuration_that_cannot_be_used_is_named(fleet: EdgeFleet, tmp_path: Path) -> None:
    """Without a trace of Python."""
    edge = fleet.edges[0]
    broken = tmp_path / "config.json"
    broken.write_text('{"node_id": "east"}')
    for config in (broken, tmp_path / "missing.json"):
        command = [*edge.command[:4], "serve", "--config", str(config), "--data", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert config.name in done.stderr
        assert "Traceback" not in done.stderr


def test_the_same_key_at_once_at_both_edges_is_one_payment(fleet: EdgeFleet) -> None:
    """Twenty times at once; another body under the key is 409 at either."""
    east, west = (fleet.customer(2, edge) for edge in fleet.edges)
    assert east.method == west.method
    with ThreadPoolExecutor(20) as pool:
        tries = [
            pool.submit((east, west)[number % 2].pay, 777, "twenty-times") for number in range(20)
        ]
        answers = [one.result() for one in tries]
    assert {answer.status_code for answer in answers} <= {201, 202}
    (payment_id,) = {answer.json()["id"] for answer in answers}
    for customer in (east, west):
        wait_until("posted", lambda c=customer: c.state(payment_id) == "posted")  # type: ignore[misc]
        assert customer.pay(778, key="twenty-times").status_code == 409
    assert [entry["amount"] for entry in fleet.posted(east.account_id)] == [-777]


def test_started_while_the_core_is_dead_an_edge_shows_the_same(fleet: EdgeFleet) -> None:
    """The same statements under the same as-of time, older by the second; it still takes payments."""
    edge = fleet.edges[0]
    customer = fleet.customer(3, edge)
    fleet.kill_core()
    before = customer.client.get("/statements")
    edge.stop(signal.SIGKILL)
    edge.start()
    after = customer.client.get("/statements")
    assert after.json() == before.json()
    assert after.headers["Ridethrough-As-Of"] == before.headers["Ridethrough-As-Of"]
    assert after.headers["Ridethrough-Mode"] == "degraded"
    assert int(after.headers["Age"]) >= int(before.headers["Age"])
    time.sleep(1.1)
    assert int(customer.client.get("/account").headers["Age"]) > int(after.headers["Age"])
    # Its share of the limits is known again once its sibling has told what it holds.
    wait_until("accepted", lambda: customer.pay(500, key="outage").status_code == 202)
    receipt = customer.pay(500, key="outage").json()
    assert (receipt["state"], receipt["durable"]) == ("accepted", True)
    assert customer.client.get("/account").json()["pending_amount"] == 500
    fleet.start_core()
    wait_until("posted", lambda: customer.state(receipt["id"]) == "posted")
    (entry,) = fleet.posted(customer.account_id)
    assert entry["amount"] == -500


def browser_of(customer: Customer, edge: EdgeProcess) -> httpx.Client:
    """Open a customer's browser without scripts at an edge."""
    token = customer.client.headers["Authorization"].split()[1]
    headers = {"Cookie": f"{SESSION_COOKIE}={token}", "Origin": edge.url}
    return httpx.Client(base_url=edge.url, headers=headers, timeout=30, trust_env=False)


def hidden(text: str) -> dict[str, str]:
    """Read the hidden fields of a page's main form."""
    form = text.partition('<main id="main"')[2]
    return dict(re.findall('<input type="hidden" name="([a-z]+)" value="([^"]*)">', form))


def test_what_a_sibling_accepted_is_warned_of_before_it_is_paid_again(fleet: EdgeFleet) -> None:
    """The core is dead, one edge accepted all that was left: the other asks first, and takes it when told to."""
    east, west = fleet.edges
    customer = fleet.customer(5, east)
    left = int(customer.client.get("/account").json()["left_to_pay"])
    sum_ = left if 0 < left <= 40_000 else 2_000
    there = fleet.move(customer, west)
    assert customer.method
    fleet.kill_core()
    wait_until("accepted", lambda: customer.pay(sum_, key="at-east").status_code == 202)
    taken = customer.pay(sum_, key="at-east").json()["id"]
    covered = there.client.post("/payments/check", json={"amount": sum_}).json()["covered_by"]
    assert covered["payments"][0]["id"] == taken
    with browser_of(customer, west) as browser:
        wanted = {"amount": "other", "other": f"{sum_ / 100:.2f}", "method": customer.method}
        form = hidden(browser.get("/pay").text)
        review = browser.get("/pay/review", params=form | wanted).text
        assert f'href="/payments/{taken}"' in review
        refused = browser.post("/pay", data=hidden(review))
        assert refused.status_code == 422
        box = re.search('name="again" value="([^"]+)"', refused.text)
        assert box is not None
        paid = browser.post("/pay", data=hidden(refused.text) | {"again": box[1]})
        assert paid.status_code == 303, paid.text
    fleet.start_core()
    for payment_id in (taken, paid.headers["Location"].rpartition("/")[2]):
        wait_until("posted", lambda id_=payment_id: there.state(id_) == "posted")  # type: ignore[misc]
    entries = fleet.posted(customer.account_id)
    assert [entry["amount"] for entry in entries] == [-sum_, -sum_]


def verdict(fleet: EdgeFleet, content: bytes, *more: str) -> dict[str, Any]:
    """Check a receipt's file as an operator does, beside the books or with public keys alone."""
    file = fleet.folder / "receipt.json"
    file.write_bytes(content)
    command = [sys.executable, "-P", "-m", "core_cis", "receipt", "check", str(file), "--json"]
    command += more or ("--data", str(fleet.core_data))
    done = subprocess.run(command, capture_output=True, check=False)
    told: dict[str, Any] = msgspec.json.decode(done.stdout)
    assert done.returncode == (0 if told["genuine"] else 1), done.stderr
    return told


def test_a_receipt_is_proven_without_the_core(fleet: EdgeFleet) -> None:
    """Either edge signs what was accepted; posted, the core's own word is enclosed; a changed one is named."""
    east, west = fleet.edges
    here = fleet.customer(3, east)
    there = fleet.move(here, west)
    assert here.method
    fleet.kill_core()
    wait_until("accepted", lambda: here.pay(700, key="proven").status_code == 202)
    payment_id = here.pay(700, key="proven").json()["id"]
    address = f"/payments/{payment_id}/receipt"
    accepted = [customer.client.get(address).content for customer in (here, there)]
    told = [verdict(fleet, content) for content in accepted]
    assert [(one["genuine"], one["said_by"]) for one in told] == [(True, "east"), (True, "west")]
    assert {one["books"] for one in told} == {"not_arrived"}
    assert {one["receipt"]["facts"]["state"] for one in told} == {"accepted"}
    fleet.start_core()
    for customer in (here, there):
        wait_until("posted", lambda c=customer: c.state(payment_id) == "posted")  # type: ignore[misc]
        told_now = verdict(fleet, customer.client.get(address).content)
        assert (told_now["genuine"], told_now["books"]) == (True, "the_same")
        assert told_now["core_signed"]
    since = verdict(fleet, accepted[0])
    assert (since["genuine"], since["books"], since["state_now"]) == (
        True,
        "decided_since",
        "posted",
    )
    changed = accepted[0].replace(b'"amount": 700', b'"amount": 70000')
    assert changed != accepted[0]
    assert verdict(fleet, changed)["fault"] == "changed"
    keys = fleet.folder / "receipt-keys.json"
    keys.write_text(fleet.run_core("receipt", "keys").stdout)
    alone = verdict(fleet, accepted[1], "--keys", str(keys))
    assert (alone["genuine"], alone["said_by"], alone["books"]) == (True, "west", "not_asked")


def test_a_sign_in_works_while_the_core_is_dead(fleet: EdgeFleet) -> None:
    """For a customer who was never seen before, and his token at the other edge too."""
    fleet.kill_core()
    customer = fleet.move(fleet.customer(4, fleet.edges[0]), fleet.edges[1])
    answer = customer.client.get("/account")
    assert answer.status_code == 200
    assert answer.json()["account_id"] == customer.account_id


def test_archived_statements_are_explained_while_the_core_is_away(fleet: EdgeFleet) -> None:
    """And read when it is there."""
    customer = fleet.customer(4, fleet.edges[0])
    items = customer.client.get("/statements").json()["items"]
    archived = next(item["id"] for item in items if item["archived"])
    assert customer.client.get(f"/statements/{archived}").status_code == 200
    fleet.kill_core()
    answer = customer.client.get(f"/statements/{archived}")
    assert answer.status_code == 503
    assert answer.json()["type"].endswith("archive_unavailable")
    assert customer.client.get("/statements").json()["items"] == items


def test_what_was_accepted_is_posted_though_its_edge_lost_its_disk(fleet: EdgeFleet) -> None:
    """The witness delivers it, once."""
    edge = fleet.edges[0]
    customer = fleet.customer(5, edge)
    assert customer.method
    fleet.kill_core()
    receipt = customer.pay(600).json()
    assert receipt["state"] == "accepted"
    edge.stop(signal.SIGKILL)
    fleet.forget(edge)
    fleet.start_core()
    other = fleet.move(customer, fleet.edges[1])
    wait_until("posted", lambda: other.state(receipt["id"]) == "posted")
    entries = fleet.posted(customer.account_id)
    found = [entry["amount"] for entry in entries if entry["intent_id"] == receipt["id"]]
    assert found == [-600]


def test_status_and_queue_are_told_on_the_command_line(fleet: EdgeFleet) -> None:
    """Also as JSON."""
    edge = fleet.edges[0]
    for verb in ("status", "queue"):
        for option in ([], ["--json"]):
            command = [*edge.command[:4], verb, "--data", str(edge.data), *option]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            if option:
                told = msgspec.json.decode(done.stdout)
                assert "items" in told or told["mode"] == "normal"
            else:
                assert done.stdout


def test_a_10_mb_body_is_told_off_and_read_to_its_end(fleet: EdgeFleet) -> None:
    """413 as a problem detail over a real connection, not a reset."""
    customer = fleet.customer(0, fleet.edges[0])
    answer = customer.client.post(
        "/payments", content=b"x" * 10_000_000, headers={"Idempotency-Key": "k"}
    )
    assert answer.status_code == 413
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_logs_hold_no_personal_data(fleet: EdgeFleet) -> None:
    """Neither addresses nor account ids nor tokens, whatever happened before."""
    logged = "".join(edge.log.read_text(errors="replace") for edge in fleet.edges)
    assert '"event": "serving"' in logged
    for customer in fleet.customers:
        assert customer["email"] not in logged
        assert customer["account_id"] not in logged
        assert customer["password"] not in logged
    assert "Bearer" not in logged
    assert httpx.get(f"{fleet.edges[0].url}/healthz", trust_env=False).is_success

"""Messages go the payments' road through real processes: accepted on two nodes, decided once when the core is back."""

import secrets
import signal
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from cache_sync import sqlite
from tests.integration.edge_fleet import Customer, EdgeFleet, wait_until


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeFleet]:
    """Run one fleet for all tests of this file."""
    fleet = EdgeFleet(tmp_path_factory.mktemp("fleet"), accounts=8)
    try:
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def fleet(running: EdgeFleet) -> EdgeFleet:
    """Return the fleet, whole and in normal mode whatever the test before did."""
    running.heal()
    return running


def send(customer: Customer, path: str, body: dict[str, Any], key: str = "") -> httpx.Response:
    """Send a message."""
    headers = {"Idempotency-Key": key or secrets.token_hex(8)}
    return customer.client.post(path, json=body, headers=headers)


def state(customer: Customer, message_id: str) -> str:
    """Ask what became of a message."""
    return str(customer.client.get(f"/messages/{message_id}").json().get("state"))


def rows(fleet: EdgeFleet, sql: str, *values: object) -> list[Any]:
    """Read the core's own database."""
    connection = sqlite.connect(fleet.core_data / "core.db", synchronous="NORMAL", read_only=True)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def next_reading(customer: Customer, days: int = 1) -> dict[str, Any]:
    """Read the customer's meter some days after the last bill ended, by what it showed then."""
    latest = customer.client.get("/statements").json()["items"][0]["id"]
    (meter,) = customer.client.get(f"/statements/{latest}").json()["meters"]
    read_on = date.fromisoformat(meter["read_to"]) + timedelta(days=days)
    return {
        "meter_id": meter["meter_id"],
        "read_on": read_on.isoformat(),
        "register_wh": meter["end_register_wh"] + days * 9_000,
    }


def test_reading_is_recorded_at_once_and_comes_back_as_a_document(fleet: EdgeFleet) -> None:
    """With the core up: 201; the other edge shows it too."""
    east, west = fleet.edges
    customer = fleet.customer(0, east)
    answer = send(customer, "/readings", next_reading(customer))
    assert (answer.status_code, answer.json()["state"]) == (201, "posted")
    other = fleet.move(customer, west)
    wait_until("shown", lambda: state(other, answer.json()["id"]) == "posted")
    found = rows(
        fleet,
        "SELECT register_wh FROM register_reads WHERE meter_id = ?",
        next_reading(customer)["meter_id"],
    )
    assert found == [(next_reading(customer)["register_wh"],)]


def test_accepted_while_the_core_is_dead_it_is_decided_once(fleet: EdgeFleet) -> None:
    """The same key at both edges is one message; both holders drain it; the inbox has it once."""
    east, west = (fleet.customer(1, edge) for edge in fleet.edges)
    body = next_reading(east)
    fleet.kill_core()
    answers = [send(customer, "/readings", body, key="outage-1") for customer in (east, west)]
    assert {answer.status_code for answer in answers} == {202}
    (message_id,) = {answer.json()["id"] for answer in answers}
    assert answers[0].json()["durable"] is True
    assert send(west, "/readings", body | {"register_wh": 1}, key="outage-1").status_code in {
        409,
        422,
    }
    fleet.start_core()
    for customer in (east, west):
        wait_until("posted", lambda c=customer: state(c, message_id) == "posted")  # type: ignore[misc]
    assert rows(fleet, "SELECT count(*) FROM inbox WHERE intent_id = ?", message_id) == [(1,)]
    assert rows(fleet, "SELECT count(*) FROM messages WHERE message_id = ?", message_id) == [(1,)]


def test_what_was_accepted_is_recorded_though_its_edge_lost_its_disk(fleet: EdgeFleet) -> None:
    """The witness delivers it."""
    east, west = fleet.edges
    customer = fleet.customer(2, east)
    body = next_reading(customer)
    fleet.kill_core()
    sent = send(customer, "/readings", body)
    assert sent.json()["state"] == "accepted"
    east.stop(signal.SIGKILL)
    fleet.forget(east)
    fleet.start_core()
    other = fleet.move(customer, west)
    wait_until("posted", lambda: state(other, sent.json()["id"]) == "posted")
    found = rows(
        fleet, "SELECT register_wh FROM register_reads WHERE meter_id = ?", body["meter_id"]
    )
    assert found == [(body["register_wh"],)]


def test_two_edges_drain_in_any_order_and_the_newest_day_counts(fleet: EdgeFleet) -> None:
    """The older reading is kept as history, whichever came first."""
    east, west = (fleet.customer(3, edge) for edge in fleet.edges)
    older, newer = next_reading(east, 1), next_reading(east, 2)
    fleet.kill_core()
    sent = [send(west, "/readings", newer), send(east, "/readings", older)]
    ids = [answer.json()["id"] for answer in sent]
    fleet.start_core()
    for message_id in ids:
        wait_until("posted", lambda id_=message_id: state(east, id_) == "posted")  # type: ignore[misc]
    found = rows(
        fleet,
        "SELECT register_wh FROM register_reads WHERE meter_id = ? ORDER BY read_at",
        older["meter_id"],
    )
    assert found == [(older["register_wh"],), (newer["register_wh"],)]


def test_two_edges_report_one_outage_while_the_core_is_dead(fleet: EdgeFleet) -> None:
    """Two reports, two receipts, one ticket."""
    east, west = (fleet.customer(5, edge) for edge in fleet.edges)
    point = east.client.get("/account").json()["service_points"][0]["service_point_id"]
    body = {"service_point_id": point, "extent": "all"}
    fleet.kill_core()
    sent = [send(customer, "/outage-reports", body) for customer in (east, west)]
    assert [answer.json()["state"] for answer in sent] == ["accepted", "accepted"]
    fleet.start_core()
    for message_id in [answer.json()["id"] for answer in sent]:
        wait_until("posted", lambda id_=message_id: state(east, id_) == "posted")  # type: ignore[misc]
    tickets = msgspec.json.decode(fleet.run_core("tickets", "list", "--json").stdout)
    (ticket,) = [each for each in tickets if each["service_point_id"] == point]
    told = [east.client.get(f"/messages/{answer.json()['id']}").json() for answer in sent]
    assert {each["case_number"] for each in told} == {ticket["ticket_number"]}
    assert sorted(each["reason"] for each in told) == ["", "joined_ticket"]


def test_two_edges_take_one_service_request_while_the_core_is_dead(fleet: EdgeFleet) -> None:
    """Two receipts, one ticket with the wish that was accepted last; no log has what was written."""
    east, west = (fleet.customer(7, edge) for edge in fleet.edges)
    fleet.kill_core()
    sent = [
        send(customer, "/service-requests", {"kind": "other", "text": text})
        for customer, text in ((west, "a lamp at the gate"), (east, "a lamp at the porch"))
    ]
    assert [answer.json()["state"] for answer in sent] == ["accepted", "accepted"]
    fleet.start_core()
    ids = [answer.json()["id"] for answer in sent]
    for message_id in ids:
        wait_until("posted", lambda id_=message_id: state(east, id_) == "posted")  # type: ignore[misc]
    tickets = msgspec.json.decode(fleet.run_core("tickets", "list", "--json").stdout)
    (ticket,) = [each for each in tickets if each["type"] == "service"]
    assert ticket["wish"]["text"] == "a lamp at the porch"
    told = [east.client.get(f"/messages/{message_id}").json() for message_id in ids]
    assert {each["case_number"] for each in told} == {ticket["ticket_number"]}
    assert sorted(each["reason"] for each in told) in (["", "later_wish"], ["", "superseded"])
    logs = [*(edge.log for edge in fleet.edges), fleet.folder / "core.log"]
    assert not [log for log in logs if b"a lamp at" in log.read_bytes()]


def test_later_contact_change_wins_and_nothing_of_it_is_logged(fleet: EdgeFleet) -> None:
    """Taken at two edges while the core is dead, drained in any order; no log has the address."""
    east, west = (fleet.customer(6, edge) for edge in fleet.edges)
    fleet.kill_core()
    first = send(west, "/contact-changes", {"email": "earlier@example.net"})
    second = send(east, "/contact-changes", {"email": "later@example.net"})
    assert [answer.json()["state"] for answer in (first, second)] == ["accepted", "accepted"]
    fleet.start_core()
    for customer in (east, west):
        wait_until(
            "shown",
            lambda c=customer: (
                c.client.get("/account").json()["contact_email"]  # type: ignore[misc]
                == "later@example.net"
            ),
        )
        wait_until("posted", lambda c=customer: state(c, first.json()["id"]) == "posted")  # type: ignore[misc]
    logs = [*(edge.log for edge in fleet.edges), fleet.folder / "core.log"]
    assert not [log for log in logs if b"example.net" in log.read_bytes()]


def test_reconciliation_counts_them_apart(fleet: EdgeFleet) -> None:
    """Equal to the cent, with the messages beside the money."""
    customer = fleet.customer(4, fleet.edges[0])
    assert send(customer, "/readings", next_reading(customer)).status_code == 201
    assert customer.pay(1234).status_code == 201
    report = msgspec.json.decode(fleet.run_core("reconcile", "--json").stdout)
    assert report["result"] == "equal"
    assert {each["type"] for each in report["messages"]} == {
        "contact",
        "outage",
        "reading",
        "service",
    }
    assert sum(each["pending"] for each in report["messages"]) == 0
    assert 1234 in {line["amount"] for line in report["payments"]}
    assert 0 not in {line["amount"] for line in report["payments"]}

"""Edges that cannot reach each other take the same id while the core is dead: it is posted once, whoever is first."""

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from failover.node_config import read_config, write_config
from tests.integration.edge_fleet import Customer, EdgeFleet, EdgeProcess, wait_until

NOBODY = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeFleet]:
    """Run three edges, of which the first and the last are apart; both reach the one between, their witness."""
    fleet = EdgeFleet(
        tmp_path_factory.mktemp("apart"), accounts=4, names=("east", "north", "west"), workers=1
    )
    east, _, west = fleet.edges
    try:
        fleet.heal()
        # Only now: an edge takes nothing on its own word before it has heard from every sibling once.
        for edge, other in ((east, west), (west, east)):
            wait_until("met", lambda e=edge: all(e.status()["witnesses"].values()))  # type: ignore[misc]
            edge.stop()
            part(edge, other)
            edge.start()
        fleet.kill_core()
        yield fleet
    finally:
        fleet.stop()


def part(edge: EdgeProcess, other: EdgeProcess) -> None:
    """Let an edge look for another one where nobody is."""
    config = read_config(edge.config)
    peers = [
        msgspec.structs.replace(peer, url=NOBODY) if peer.node_id == other.name else peer
        for peer in config.peers
    ]
    write_config(edge.config, msgspec.structs.replace(config, peers=peers), overwrite=True)


def may_miss(customer: Customer) -> dict[str, Any] | None:
    """Ask an edge over its API what it may miss of a customer's payments."""
    told: dict[str, Any] | None = customer.client.get("/account").json()["may_miss"]
    return told


def page(customer: Customer, edge: EdgeProcess, address: str) -> str:
    """Read one of a customer's pages at an edge."""
    token = customer.client.headers["Authorization"].removeprefix("Bearer ")
    cookies = {"ridethrough_session": token}
    return httpx.get(f"{edge.url}{address}", cookies=cookies, timeout=30, trust_env=False).text


def test_an_edge_says_what_it_may_miss(fleet: EdgeFleet) -> None:
    """
    A payment at one end is kept by the edge between, where it shows as waiting. The other end has heard of it through
    that: it says so on its pages, over its API and before the same is paid again. Cut off from all, it says that too.
    """
    east, north, west = fleet.edges
    here, between, there = (fleet.customer(2, edge) for edge in fleet.edges)
    wait_until("taken", lambda: here.pay(2500, key="only-once").status_code == 202)
    waiting = {"why": "waiting", "payments": 1, "since": None}
    wait_until("heard of", lambda: may_miss(there) == waiting)
    assert between.client.get("/account").json()["pending_amount"] == 2500
    assert may_miss(between) is None
    said = "We may have accepted a payment from you that is not shown here yet."
    for address in ("/", "/payments", "/pay"):
        assert said in page(there, west, address)
        assert said not in page(between, north, address)
    checked = there.client.post("/payments/check", json={"amount": 100}).json()["covered_by"]
    assert (checked["why"], checked["unseen"]) == ("elsewhere", 1)
    # What another passes on comes later than its own word: news of a sibling count for some seconds.
    wait_until("passed on", lambda: west.status()["siblings"]["east"]["pending"] == 1)
    heard = west.status()["siblings"]["east"]
    assert heard["unlisted"] == 0
    assert heard["incarnation"] == east.status()["incarnation"]
    north.stop()
    west.stop()
    west.start()
    wait_until("alone", lambda: (may_miss(there) or {}).get("why") == "unheard")
    assert "may not all be shown here yet." in page(there, west, "/payments")
    figures = httpx.get(f"{west.url}/metrics", timeout=10, trust_env=False).text
    assert 'ridethrough_edge_sibling_pending{node="east"}' not in figures
    north.start()
    wait_until("heard of again", lambda: may_miss(there) == waiting)


def test_the_same_id_taken_twice_is_posted_once(fleet: EdgeFleet) -> None:
    """
    The same payment at both is one, posted for both. Another amount under the same key is accepted at both, as neither
    can know: the core posts one, rejects the other as a conflict with an alarm, and that edge says 409 from then on.
    """
    east, north, west = fleet.edges
    same = [fleet.customer(0, edge) for edge in (east, west)]
    other = [fleet.customer(1, edge) for edge in (east, west)]
    for customer in (*same, *other):
        wait_until("ready to pay", lambda c=customer: c.pay(1).status_code == 202)  # type: ignore[misc]
    told = [customer.pay(700, key="same") for customer in same]
    amounts = (800, 900)
    told += [
        customer.pay(amount, key="other") for customer, amount in zip(other, amounts, strict=True)
    ]
    assert {answer.json()["state"] for answer in told} <= {"accepted", "checking"}
    assert len({answer.json()["id"] for answer in told}) == 2
    # The witness of both holds all four copies.
    wait_until("held", lambda: north.status()["queue"]["copies_held"] >= len(told))
    fleet.start_core()
    payment_id = told[0].json()["id"]
    for customer in same:
        wait_until("posted", lambda c=customer: c.state(payment_id) == "posted")  # type: ignore[misc]
    contested = told[-1].json()["id"]
    for customer in other:
        wait_until("decided", lambda c=customer: c.state(contested) in {"posted", "rejected"})  # type: ignore[misc]
    for edge in fleet.edges:
        wait_until("drained", lambda e=edge: e.status()["queue"]["pending"] == 0)  # type: ignore[misc]
    mine = [entry["amount"] for entry in fleet.posted(same[0].account_id)]
    assert sorted(mine) == [-700, -1, -1]
    (kept,) = [
        -entry["amount"] for entry in fleet.posted(other[0].account_id) if entry["amount"] < -1
    ]
    assert kept in amounts
    for customer, amount in zip(other, amounts, strict=True):
        again = customer.pay(amount, key="other")
        assert again.status_code == (201 if amount == kept else 409), again.text
    figures = httpx.get(f"{fleet.core_url}/metrics", timeout=10, trust_env=False).text
    assert 'ridethrough_core_alarms_total{alarm="id_conflict"} 1.0' in figures
    report = msgspec.json.decode(fleet.run_core("reconcile", "--json").stdout)
    assert report["result"] == "equal"

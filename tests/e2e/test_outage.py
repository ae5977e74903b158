"""
A real fleet through real outages: what customers still get, what they are told, and what the books say afterwards.

One fleet for the module. Each test leaves it as it should be: everything runs, both edges are normal.
"""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from chaos.books import Books
from chaos.fleet import Fleet, FleetOptions
from chaos.process import descendants, process_state
from failover.intents import intent_id

EDGES = ("edge-1", "edge-2")
NORMAL_SECONDS = 90
SOON_SECONDS = 30
ACCOUNTS = 16
API_READS = ("/account", "/statements", "/usage", "/payments")
PAGES = ("/", "/bills", "/usage", "/pay")


def wait_for(what: Callable[[], bool], seconds: float, said: str) -> None:
    """Wait until something is so, with a deadline that no healthy run comes near."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, f"not within {seconds:g} s: {said}"
        time.sleep(0.05)


def are_gone(pids: list[int]) -> bool:
    """Whether none of these processes is left."""
    return all(process_state(pid) in {"", "Z"} for pid in pids)


class Town:
    """The fleet and its customers, asked over HTTP with a new connection each time."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._tokens: dict[str, str] = {}
        self._fresh = iter(fleet.customers)
        self._payments = 0

    def newcomer(self) -> str:
        """Return an account that nobody has asked for yet."""
        return next(self._fresh).account_id

    def ask(self, edge: str, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask an edge."""
        with httpx.Client(base_url=self.fleet.edge_url(edge), timeout=15, trust_env=False) as http:
            return http.request(method, path, **more)

    def token(self, edge: str, account_id: str) -> str:
        """Sign a customer in, once; what one edge issued is used at every edge."""
        if account_id not in self._tokens:
            who = next(one for one in self.fleet.customers if one.account_id == account_id)
            body = {"email": who.email, "password": who.password}
            answer = self.ask(edge, "POST", "/api/v1/session", json=body)
            assert answer.status_code == 201, answer.text
            self._tokens[account_id] = answer.json()["token"]
        return self._tokens[account_id]

    def get(self, edge: str, account_id: str, path: str) -> httpx.Response:
        """Read from the API."""
        headers = {"Authorization": f"Bearer {self.token(edge, account_id)}"}
        return self.ask(edge, "GET", f"/api/v1{path}", headers=headers)

    def page(self, edge: str, account_id: str, path: str) -> httpx.Response:
        """Read a page as a browser does."""
        headers = {"Cookie": f"ridethrough_session={self.token(edge, account_id)}"}
        return self.ask(edge, "GET", path, headers=headers)

    def pay(self, edge: str, account_id: str, key: str, cents: int) -> httpx.Response:
        """Pay with the first method that is verified."""
        methods = self.get(edge, account_id, "/account").json()["payment_methods"]
        method = next(one["id"] for one in methods if one["status"] == "verified")
        headers = {
            "Authorization": f"Bearer {self.token(edge, account_id)}",
            "Idempotency-Key": key,
        }
        body = {"amount": cents, "method_id": method}
        return self.ask(edge, "POST", "/api/v1/payments", headers=headers, json=body)

    def status(self, edge: str) -> dict[str, Any]:
        """Return an edge's status; empty when it does not answer."""
        try:
            answer = self.ask(edge, "GET", "/status")
        except httpx.HTTPError:
            return {}
        found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return found

    def is_degraded(self, edge: str) -> bool:
        """Whether an edge says that the core is away."""
        return self.status(edge).get("mode") == "degraded"

    def tells(self, edge: str, account_id: str, intent: str, state: str) -> bool:
        """Whether an edge says that a payment is in this state."""
        return bool(self.get(edge, account_id, f"/payments/{intent}").json().get("state") == state)

    def operator(self, path: str) -> Any:
        """Ask the core as an operator."""
        headers = {"Authorization": f"Bearer {self.fleet.operator_token}"}
        with httpx.Client(base_url=self.fleet.core_url, timeout=15, trust_env=False) as http:
            return http.get(path, headers=headers).json()

    def entries(self, account_id: str, intent: str) -> list[dict[str, Any]]:
        """List the core's ledger entries of one payment."""
        ledger = self.operator(f"/accounts/{account_id}/ledger")
        return [entry for entry in ledger["entries"] if entry["intent_id"] == intent]

    def set_core_links(self, fault: dict[str, object] | None) -> None:
        """Break or heal every edge's link to the core."""
        for edge in EDGES:
            url = f"{self.fleet.core_proxy(edge)}/fault"
            method = "DELETE" if fault is None else "POST"
            httpx.request(method, url, json=fault, timeout=5, trust_env=False).raise_for_status()

    def heal(self) -> None:
        """Bring everything back and wait until both edges are normal with nothing waiting."""
        self.set_core_links(None)
        self.fleet.core.send(signal.SIGCONT)
        self.fleet.core.start()
        for edge, process in self.fleet.edges.items():
            process.start()
            self.fleet.wait_edge_ready(edge)
        for edge in EDGES:
            wait_for(partial(self.at_rest, edge), NORMAL_SECONDS, f"{edge} is normal")

    def at_rest(self, edge: str) -> bool:
        """Whether an edge is normal and nothing waits there."""
        status = self.status(edge)
        return status.get("mode") == "normal" and status["queue"]["pending"] == 0

    def break_core(self, how: str) -> datetime:
        """Take the core away; returns the moment from which it certainly was."""
        match how:
            case "killed":
                self.fleet.core.kill()
            case "frozen":
                self.fleet.core.send(signal.SIGSTOP)
                wait_for(lambda: self.fleet.core.frozen, SOON_SECONDS, "frozen")
            case "cut off":
                self.set_core_links({"kind": "cut", "ttl_seconds": 600})
        gone = datetime.now(tz=ZoneInfo("UTC"))
        for edge in EDGES:
            wait_for(partial(self.is_degraded, edge), SOON_SECONDS, f"{edge} notices")
        return gone


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Run one fleet for all tests; its edges return to normal after a few seconds rather than a minute."""
    data = tmp_path_factory.mktemp("outage fleet")
    fleet = Fleet(data, FleetOptions(accounts=ACCOUNTS, normal_min_seconds=2))
    fleet.prepare()
    fleet.start()
    town = Town(fleet)
    try:
        town.heal()
        yield town
    finally:
        fleet.stop()


@pytest.fixture(autouse=True)
def mended(town: Town) -> Iterator[None]:
    """Leave the fleet well for the next test, whatever happened in this one."""
    yield
    town.heal()


def local_day(town: Town, account_id: str, moment: datetime) -> date:
    """Tell which day of the utility's a moment lies in."""
    zone = town.get("edge-1", account_id, "/account").json()["timezone"]
    return moment.astimezone(ZoneInfo(zone)).date()


def posted_once(town: Town, account_id: str, intent: str, cents: int, day: date | None) -> None:
    """Check that the books hold a payment exactly once and both edges say so."""
    for edge in EDGES:
        told = partial(town.tells, edge, account_id, intent, "posted")
        wait_for(told, SOON_SECONDS, f"{intent} is posted at {edge}")
        listed = town.get(edge, account_id, "/payments").json()["items"]
        assert [one["state"] for one in listed if one["id"] == intent] == ["posted"]
    (entry,) = town.entries(account_id, intent)
    assert entry["amount"] == -cents
    if day is not None:
        assert entry["value_date"] == day.isoformat()
        shown = town.get("edge-2", account_id, f"/payments/{intent}").json()
        assert shown["value_date"] == day.isoformat()


@pytest.mark.parametrize("how", ["killed", "frozen", "cut off"])
def test_customers_go_on_without_the_core(town: Town, how: str) -> None:
    """
    While the core is killed, frozen or cut off every read of every account is answered, labelled with its true age,
    and payments are accepted; afterwards each one is posted once, on the day it was accepted.
    """
    known, unknown = town.newcomer(), town.newcomer()
    before = town.get("edge-1", known, "/account")
    assert before.headers["Ridethrough-Mode"] == "normal"
    owed = before.json()["balance"]

    gone = town.break_core(how)

    shown: dict[str, set[str]] = {edge: set() for edge in EDGES}
    for edge in EDGES:
        for account_id in (known, unknown):
            latest = town.get(edge, account_id, "/account").json()["latest_statement_id"]
            statement = f"/statements/{latest}"
            for path in (*API_READS, statement, f"{statement}/pdf"):
                answer = town.get(edge, account_id, path)
                assert answer.status_code == 200, (edge, path, answer.text)
                assert answer.headers["Ridethrough-Mode"] == "degraded"
                shown[edge].add(answer.headers["Ridethrough-As-Of"])
            for path in PAGES:
                assert town.page(edge, account_id, path).status_code == 200, (edge, path)
    for edge in EDGES:
        (as_of,) = shown[edge]
        assert datetime.fromisoformat(as_of) <= gone

    old = [
        one for one in town.get("edge-1", known, "/statements").json()["items"] if one["archived"]
    ]
    archived = town.get("edge-1", known, f"/statements/{old[0]['id']}")
    assert archived.status_code == 503
    assert archived.json()["type"].endswith(":archive_unavailable")
    assert "Newer statements can be read" in archived.json()["detail"]
    assert archived.elapsed.total_seconds() < 2

    payments = {
        edge: town.pay(edge, known, f"{how}-at-{edge}".replace(" ", "-"), 700 + at)
        for at, edge in enumerate(EDGES)
    }
    paid_at = datetime.now(tz=ZoneInfo("UTC"))
    for edge, answer in payments.items():
        assert (answer.status_code, answer.json().get("state")) == (202, "accepted"), answer.text
        assert answer.json()["id"] == intent_id(known, f"{how}-at-{edge}".replace(" ", "-"))
    for edge in EDGES:
        account = town.get(edge, known, "/account").json()
        assert (account["balance"], account["pending_amount"]) == (owed, 700 + 701)

    young = town.get("edge-1", unknown, "/account")
    time.sleep(2.5)
    older = town.get("edge-1", unknown, "/account")
    assert older.headers["Ridethrough-As-Of"] == young.headers["Ridethrough-As-Of"]
    assert int(older.headers["Age"]) >= int(young.headers["Age"]) + 2
    assert int(older.headers["Age"]) >= (paid_at - gone).total_seconds()

    town.heal()

    day = local_day(town, known, paid_at)
    for at, edge in enumerate(EDGES):
        posted_once(town, known, payments[edge].json()["id"], 700 + at, day)
    for edge in EDGES:
        account = town.get(edge, known, "/account").json()
        assert (account["balance"], account["pending_amount"]) == (owed - 1401, 0)
    ledger = town.operator(f"/accounts/{known}/ledger")
    assert ledger["balance"] == owed - 1401
    assert town.get("edge-1", known, f"/statements/{old[0]['id']}").status_code == 200


@pytest.mark.parametrize("how", ["alive", "cut off"])
def test_one_key_is_one_payment(town: Town, how: str) -> None:
    """The same key twenty times at once at both edges pays once; another body under it is refused."""
    account_id = town.newcomer()
    for edge in EDGES:
        town.get(edge, account_id, "/account")
    if how != "alive":
        town.break_core(how)

    with ThreadPoolExecutor(20) as crowd:
        tried = [
            crowd.submit(
                town.pay, EDGES[number % 2], account_id, f"key-{how}".replace(" ", "-"), 900
            )
            for number in range(20)
        ]
        answers = [one.result() for one in tried]
    expected = intent_id(account_id, f"key-{how}".replace(" ", "-"))
    assert {answer.json().get("id") for answer in answers if answer.is_success} == {expected}
    assert {answer.status_code for answer in answers} <= {200, 201, 202, 503, 504}
    assert any(answer.is_success for answer in answers)
    for edge in EDGES:
        other = town.pay(edge, account_id, f"key-{how}".replace(" ", "-"), 901)
        assert other.status_code == 409, other.text
        assert other.json()["type"].endswith(":key_reused")

    town.heal()
    posted_once(town, account_id, expected, 900, None)


@pytest.mark.parametrize("data", ["kept", "deleted"])
def test_an_accepted_payment_outlives_its_edge(town: Town, data: str) -> None:
    """An edge killed right after "accepted" loses nothing, not even with its data folder."""
    account_id = town.newcomer()
    town.break_core("cut off")
    answer = town.pay("edge-1", account_id, f"outlives-{data}", 1100)
    edge = town.fleet.edges["edge-1"]
    children = descendants(edge.pid)
    edge.kill()
    assert (answer.status_code, answer.json().get("state")) == (202, "accepted"), answer.text
    wait_for(
        partial(are_gone, children),
        SOON_SECONDS,
        "the killed supervisor's children are gone",
    )
    if data == "deleted":
        shutil.rmtree(town.fleet.edge_data("edge-1"))
    edge.start()

    town.heal()
    posted_once(town, account_id, answer.json()["id"], 1100, None)


def test_an_edge_starts_without_the_core(town: Town) -> None:
    """Restarted while the core is dead it shows the same statements of the same time, older than before."""
    account_id = town.newcomer()
    town.break_core("killed")
    before = town.get("edge-1", account_id, "/statements")
    edge = town.fleet.edges["edge-1"]
    edge.send(signal.SIGTERM)
    assert edge.wait_stopped(SOON_SECONDS)
    edge.start()
    town.fleet.wait_edge_ready("edge-1")
    wait_for(partial(town.is_degraded, "edge-1"), SOON_SECONDS, "it knows that it is alone")

    after = town.get("edge-1", account_id, "/statements")
    assert after.status_code == 200
    assert after.json() == before.json()
    assert after.headers["Ridethrough-As-Of"] == before.headers["Ridethrough-As-Of"]
    assert int(after.headers["Age"]) >= int(before.headers["Age"])
    time.sleep(1.5)
    later = town.get("edge-1", account_id, "/statements")
    assert int(later.headers["Age"]) > int(after.headers["Age"])
    assert town.pay("edge-1", account_id, "after-a-restart", 1200).json()["state"] == "accepted"


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGSTOP])
def test_reads_go_on_while_a_process_of_an_edge_is_replaced(
    town: Town, signal_number: signal.Signals
) -> None:
    """Agent, applier or a worker killed or frozen: reads are answered, and the supervisor puts in another."""
    account_id = (
        town.newcomer() if signal_number == signal.SIGKILL else town.fleet.customers[0].account_id
    )
    town.get("edge-1", account_id, "/account")
    names = [one["name"] for one in town.status("edge-1")["processes"]]
    assert len(names) >= 4
    for name in names:
        old = next(one for one in town.status("edge-1")["processes"] if one["name"] == name)["pid"]
        os.kill(old, signal_number)

        def replaced(name: str = name, old: int = old) -> bool:
            assert town.get("edge-1", account_id, "/account").status_code == 200
            listed = town.status("edge-1").get("processes", [])
            return any(one["name"] == name and one["pid"] != old for one in listed)

        wait_for(replaced, SOON_SECONDS, f"another {name} is there")
        wait_for(partial(are_gone, [old]), SOON_SECONDS, f"the old {name} is gone")
    for edge in EDGES:
        wait_for(partial(town.at_rest, edge), NORMAL_SECONDS, f"{edge} is normal")
    paid = town.pay("edge-1", account_id, f"after-{signal_number.name}", 1300)
    assert paid.json()["state"] == "posted", paid.text


@pytest.mark.parametrize("name", EDGES)
def test_a_killed_supervisor_takes_everything_along(town: Town, name: str) -> None:
    """After `kill -9` of an edge's supervisor none of its processes is left, and it can be started again."""
    edge = town.fleet.edges[name]
    children = descendants(edge.pid)
    assert len(children) >= 4
    edge.kill()
    wait_for(partial(are_gone, children), SOON_SECONDS, "all gone")


def test_a_lost_answer_is_asked_for_again(town: Town) -> None:
    """A payment whose answer was lost on the line between core and edge is posted once."""
    account_id = town.newcomer()
    town.get("edge-1", account_id, "/account")
    town.set_core_links({"kind": "cut", "direction": "backward", "ttl_seconds": 600})
    answer = town.pay("edge-1", account_id, "lost-answer", 1400)
    assert (answer.status_code, answer.json().get("state")) == (202, "accepted"), answer.text
    town.heal()
    posted_once(town, account_id, answer.json()["id"], 1400, None)


def test_without_a_second_copy_nothing_is_called_accepted(town: Town) -> None:
    """With core and sibling both out of reach an edge takes no payment on its own word, and reads go on."""
    account_id = town.newcomer()
    town.break_core("cut off")
    url = f"{town.fleet.peer_proxy('edge-1')}/fault"
    fault = {"kind": "cut", "ttl_seconds": 600}
    httpx.post(url, json=fault, timeout=5, trust_env=False).raise_for_status()
    try:
        answer = town.pay("edge-1", account_id, "alone", 1500)
        assert answer.json().get("state") != "accepted"
        assert answer.status_code in {202, 503, 504}, answer.text
        assert town.get("edge-1", account_id, "/account").status_code == 200
    finally:
        httpx.delete(url, timeout=5, trust_env=False).raise_for_status()
    town.heal()
    again = town.pay("edge-2", account_id, "alone", 1500)
    assert again.json()["state"] == "posted", again.text
    posted_once(town, account_id, intent_id(account_id, "alone"), 1500, None)


def test_reconciliation_finds_no_difference(town: Town) -> None:
    """After all of this the operator's own comparison is clean."""

    async def compare() -> tuple[int, list[str]]:
        async with Books(town.fleet.describe().core) as books:
            result = await books.reconcile()
            return result.exit_code, result.differences

    assert asyncio.run(compare()) == (0, [])

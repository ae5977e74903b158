"""Late fees beside real processes: they wait for edges that hold payments, and go when one arrives after all."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from cache_sync.clock import SystemClock
from core_cis.cli_collections import collect
from core_cis.collection_records import read_bills, read_moves
from core_cis.collection_run import CollectionReport
from core_cis.domain.collecting import left_of_bills
from core_cis.instants import local_date
from core_cis.peer_journals import PeerJournals
from core_cis.store import CoreStore
from tests.integration.edge_fleet import Customer, EdgeFleet, wait_until

LIMIT_CENTS = 50_000
FEE_CENTS = 250
# So that a bill's grace is not over, on whatever day of a month this runs.
GRACE_DAYS = 60
AHEAD = timedelta(days=2 * GRACE_DAYS)


class AheadClock(SystemClock):
    """The day after a bill's grace is over, for the core's jobs; everybody else has today."""

    def __init__(self, ahead: timedelta) -> None:
        super().__init__()
        self._ahead = ahead

    def now(self) -> datetime:
        """Tell the time as it will be."""
        return super().now() + self._ahead


class Debtor(NamedTuple):
    """A customer with one bill to pay, and the first day on which it is late."""

    number: int
    account_id: str
    owed_cents: int
    late_on: date


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeFleet]:
    """Run one fleet for all tests of this file."""
    fleet = EdgeFleet(tmp_path_factory.mktemp("fleet"), accounts=6, workers=1)
    try:
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def fleet(running: EdgeFleet) -> EdgeFleet:
    """Return the fleet, whole and in normal mode whatever the test before did."""
    running.heal()
    return running


def debtors(fleet: EdgeFleet) -> list[Debtor]:
    """Find customers whose newest bill is the only one unpaid, is not late yet, and can be paid in an outage."""
    found = []
    with CoreStore.open(fleet.core_data, SystemClock()) as store:
        today = local_date(SystemClock().now(), store.utility().timezone)
        for number, customer in enumerate(fleet.customers):
            account_id = customer["account_id"]
            left = left_of_bills(read_moves(store.connection, account_id))
            bills = read_bills(store.connection, account_id)
            late_on = bills[-1].due_on + timedelta(days=GRACE_DAYS + 1) if bills else today
            owed = left.get(bills[-1].statement_id, 0) if bills else 0
            if late_on > today and 0 < owed == sum(left.values()) <= LIMIT_CENTS:
                found.append(Debtor(number, account_id, owed, late_on))
    return found


def run_late(fleet: EdgeFleet, debtor: Debtor, **options: Any) -> CollectionReport:
    """Run collections on one account on the first day that its bill is late, asking the real edges."""
    ahead = AheadClock(AHEAD)
    with CoreStore.open(fleet.core_data, SystemClock()) as store:
        journals = PeerJournals(store.keys.node_secret, clock=ahead)
        return collect(
            store,
            debtor.late_on,
            steps=("late_fee",),
            accounts=(debtor.account_id,),
            journals=journals,
            **options,
        )


def waits(report: CollectionReport) -> set[tuple[str, str]]:
    """Name what a run waits for."""
    assert report.taken == []
    return {(wait.reason, wait.about) for each in report.waiting for wait in each.waits}


def entries(fleet: EdgeFleet, debtor: Debtor) -> tuple[list[str], int]:
    """Name what happened to the account after its bills, and tell what it owes."""
    told = json.loads(fleet.run_core("ledger", debtor.account_id, "--json").stdout)
    newest = max(i for i, entry in enumerate(told["entries"]) if entry["kind"] == "charge")
    return [entry["source"] for entry in told["entries"][newest + 1 :]], told["balance"]


def balance(customer: Customer) -> int:
    """Ask an edge what the customer owes."""
    return int(customer.client.get("/account").json()["balance"])


def test_fees_wait_for_the_queue_and_an_override_is_made_good(fleet: EdgeFleet) -> None:
    """Paid in an outage, in time: waited for, not charged; charged by override, taken back with the posting."""
    fleet.run_core(
        *("collections", "terms", "--late-fee-cents", str(FEE_CENTS)),
        *("--grace-days", str(GRACE_DAYS), "--reason", "the test's tariff"),
    )
    patient, hasty = debtors(fleet)[:2]
    east, west = fleet.edges
    payers = [fleet.customer(debtor.number, east) for debtor in (patient, hasty)]
    fleet.kill_core()
    for payer, debtor in zip(payers, (patient, hasty), strict=True):
        answer = payer.pay(debtor.owed_cents)
        assert (answer.status_code, answer.json()["state"]) == (202, "accepted"), answer.text
    fleet.run_core("drain", "hold", "--reason", "the books are looked at first")
    fleet.start_core()
    both = {("payment_waiting", "east"), ("payment_waiting", "west")}
    assert waits(run_late(fleet, patient)) == both
    east.stop(signal.SIGKILL)
    assert waits(run_late(fleet, patient)) == {
        ("edge_silent", "east"),
        ("payment_waiting", "west"),
    }
    report = run_late(fleet, hasty, without=("east", "west"), reason="month end")
    assert [(done.account_id, done.fee) for done in report.taken] == [(hasty.account_id, FEE_CENTS)]
    seen = fleet.move(payers[1], west)
    wait_until("the fee is shown", lambda: balance(seen) == hasty.owed_cents + FEE_CENTS)
    fleet.run_core("drain", "resume", "--reason", "looked at")
    fleet.heal()
    for debtor in (patient, hasty):
        wait_until("posted", lambda d=debtor: entries(fleet, d)[1] == 0)  # type: ignore[misc]
    assert entries(fleet, patient)[0] == ["intent"]
    assert entries(fleet, hasty)[0] == ["late_fee", "intent", "reversal:late_fee"]
    for debtor in (patient, hasty):
        report = run_late(fleet, debtor)
        assert (report.result, report.taken) == ("done", [])
    command = [sys.executable, "-P", "-m", "core_cis", "reconcile", "--json"]
    done = subprocess.run(
        [*command, "--data", str(fleet.core_data)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, json.loads(done.stdout)["result"]) == (0, "equal"), done.stdout
    listed = json.loads(fleet.run_core("collections", "list", "--json").stdout)
    assert [(step["account_id"], step["step"], bool(step["reversed_by"])) for step in listed] == [
        (hasty.account_id, "late_fee", True)
    ]

"""The whole way after an outage, with real processes: queue, dry run, drain, and the books and the log agree."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cache_sync.clock import SystemClock
from core_cis.keys import load_keys
from core_cis.store import CoreStore
from tests.integration.edge_fleet import EdgeFleet, wait_until


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[EdgeFleet]:
    """Run a core and two edges."""
    made = EdgeFleet(tmp_path)
    try:
        made.heal()
        yield made
    finally:
        made.stop()


class Operator:
    """An operator's program."""

    def __init__(self, fleet: EdgeFleet) -> None:
        token = load_keys(fleet.core_data).operator_token
        self._client = {"Authorization": f"Bearer {token}"}
        self._url = f"http://127.0.0.1:{fleet.core_port}/ops/v1"

    def get(self, path: str) -> Any:
        """Ask."""
        answer = httpx.get(f"{self._url}/{path}", headers=self._client, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **body: object) -> Any:
        """Do something."""
        answer = httpx.post(
            f"{self._url}/{path}",
            headers=self._client,
            json={"operator": "Ada", **body},
            timeout=60,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()


def test_operators_see_rehearse_and_let_go_what_an_outage_left(fleet: EdgeFleet) -> None:
    """Held across the outage, shown to the cent, predicted by payment, drained, reconciled and written down."""
    fleet.run_core("drain", "hold", "--reason", "to be looked at first")
    customers = [fleet.customer(number, fleet.edges[number % 2]) for number in range(4)]
    methods = [customer.method for customer in customers]
    assert all(methods)
    fleet.kill_core()
    amounts = [1234, 2000, 3, 77_00]
    paid = []
    for customer, amount in zip(customers, amounts, strict=True):
        answer = customer.pay(amount)
        assert answer.status_code == 202, answer.text
        paid.append(answer.json()["id"])
    # While the core is away, the account that paid last is closed in its books.
    with CoreStore.open(fleet.core_data, SystemClock()) as store, store.transaction() as tx:
        tx.connection.execute(
            "UPDATE accounts SET status = 'closed' WHERE account_id = ?", (customers[3].account_id,)
        )
    fleet.start_core()
    operator = Operator(fleet)
    wait_until(
        "both edges answer", lambda: all(e["answers"] for e in operator.get("overview")["edges"])
    )
    seen = operator.get("overview")
    assert (seen["held"], seen["pending"], seen["amount"]) == (True, 4, sum(amounts))
    rehearsed = operator.post("rehearsal")
    predicted = {
        each["intent_id"]: (each["state"], each["reason"]) for each in rehearsed["predictions"]
    }
    assert sorted(predicted) == sorted(paid)
    assert predicted[paid[3]] == ("rejected", "account_closed")
    assert operator.get("overview")["pending"] == 4
    operator.post("drain", held=False, reason="the dry run is as it should be")
    wait_until("everything is decided", lambda: operator.get("overview")["pending"] == 0)
    token = load_keys(fleet.core_data).operator_token
    real = {}
    for id_ in paid:
        url = f"http://127.0.0.1:{fleet.core_port}/intents/{id_}"
        record = httpx.get(
            url, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False
        ).json()
        real[id_] = (record["state"], record["reason"])
    assert real == predicted
    report = operator.post("reconciliation")
    assert (report["result"], report["differences"]) == ("equal", [])
    outages = [group for group in report["groups"] if group["outage"]]
    assert sum(group["accepted_amount"] for group in outages) == sum(amounts)
    assert sum(group["posted_amount"] for group in outages) == sum(amounts[:3])
    assert sum(group["rejected_amount"] for group in outages) == amounts[3]
    assert operator.get("audit/verify")["broken_at"] is None
    actions = [line["action"] for line in operator.get("audit")["items"]]
    assert actions[:3] == ["drain.resume", "drain.rehearse", "drain.hold"]
    told = json.loads(fleet.run_core("audit", "verify", "--json").stdout)
    assert told["broken_at"] is None

"""Somebody who cannot be forgotten yet is left as they are, and the operator is told what to do."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from core_cis.awaited_edges import await_every_edge
from core_cis.cases import read_cases
from core_cis.charge_records import owe_refund
from core_cis.errors import ForgetRefused
from core_cis.forgetting import erase
from core_cis.intake import Intake
from core_cis.settings import ServerSettings
from core_cis.tickets import close_ticket, list_tickets, put_under
from tests.integration.core_cis.conftest import Core
from tests.integration.core_cis.forgetting_utility import ACCOUNT, PERSON, Utility, kinds_of, owe


@pytest.fixture
def utility(core: Core) -> Iterator[Utility]:
    """Return a utility with the customer, on both engines."""
    made = Utility(core)
    made.fill()
    yield made
    made.store.close()


def test_refused_with_a_balance(utility: Utility) -> None:
    """What is owed is settled first; also when it came in between look and deed."""
    with utility.store.transaction() as tx:
        owe(tx, 1)
    report = utility.forget()
    assert (report.result, kinds_of(report)) == ("refused", ["balance"])
    assert f"{ACCOUNT} has a balance of 1 cents" in report.obstacles[0].detail

    def deed() -> None:
        utility.store.run(lambda tx: erase(tx, PERSON, 1), alone=True)

    with pytest.raises(ForgetRefused, match="settle it first"):
        deed()
    assert utility.live()


def test_refused_while_a_payment_waits_at_an_edge(utility: Utility) -> None:
    """Its own or a copy, of this customer only."""
    utility.edges.waiting["east"].append(utility.intent("queued"))
    assert kinds_of(utility.forget()) == ["payment_waiting"]
    utility.edges.silent.add("east")
    report = utility.forget(without=["east"])
    assert kinds_of(report) == ["payment_waiting"]
    utility.edges.waiting["east"] = [utility.intent("other", account_id="A-8")]
    assert utility.forget(without=["east"]).result == "forgotten"


def test_refused_while_an_edge_is_silent(utility: Utility) -> None:
    """What nobody answers for may wait there; an edge that is lost is named by the operator."""
    utility.edges.silent.add("west")
    report = utility.forget()
    assert (report.result, kinds_of(report)) == ("refused", ["edge_silent"])
    assert "--without-edge west" in report.obstacles[0].detail
    done = utility.forget(without=["west"])
    assert (done.result, done.skipped) == ("forgotten", ["west"])


def test_refused_with_an_open_case(utility: Utility) -> None:
    """A payment that nobody has decided yet is decided first."""

    def fails(*_: object) -> Any:
        raise ValueError

    intent = utility.intent("poison")
    intake = Intake(utility.store, ServerSettings(), process=fails)
    for _ in range(ServerSettings().attempts_max):
        intake.take([intent], delivered_by="east")
    (case,) = read_cases(utility.store.connection, account_id=ACCOUNT)
    assert read_cases(utility.store.connection, account_id="A-8") == []
    report = utility.forget()
    assert kinds_of(report) == ["case_open"]
    assert case.case_number in report.obstacles[0].detail


def test_refused_with_an_open_ticket(utility: Utility) -> None:
    """What somebody is to see to is seen to first; then it names no service point any more."""
    at = utility.core.clock.now()
    with utility.store.transaction() as tx:
        place = {"type_": "outage", "account_id": ACCOUNT, "service_point_id": "SP-777"}
        put_under(tx, "T-7", accepted_at=at, **place)
    report = utility.forget()
    assert kinds_of(report) == ["ticket_open"]
    assert "core tickets close T-7" in report.obstacles[0].detail
    with utility.store.transaction() as tx:
        close_ticket(tx, "T-7")
    assert utility.forget().result == "forgotten"
    (ticket,) = list_tickets(utility.store.connection, everything=True)
    assert (ticket.account_id, ticket.service_point_id) == (ACCOUNT, "")


def test_refused_with_a_refund_under_way(utility: Utility) -> None:
    """The processor has money to give back yet."""
    refused = msgspec.structs.replace(utility.intent("wrong"), method_id="pm-unknown")
    utility.take(refused)
    with utility.store.transaction() as tx:
        owe_refund(tx, refused, "ch_1", "method_unknown")
    assert kinds_of(utility.forget()) == ["refund_open"]


def test_refused_after_a_restore(utility: Utility) -> None:
    """Edges that bring back what a backup lacks are waited for."""
    with utility.store.transaction(alone=True) as tx:
        await_every_edge(tx, 2)
    assert kinds_of(utility.forget()) == ["edges_awaited", "edges_awaited"]

"""Late fees, notices and disconnection orders: they wait for every edge, come once, and go when they were wrong."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import click
import msgspec
import pytest

from cache_sync.documents import AccountBody, FeeSinceBill, StatementBody
from cache_sync.sql import IntegrityError
from core_cis.audit import read_log, verify_log
from core_cis.awaited_edges import await_every_edge
from core_cis.bookkeeping import account_entries
from core_cis.collection_run import CollectionReport
from core_cis.domain.collecting import Moratorium, Terms
from core_cis.errors import CollectionRefused
from core_cis.intake import Intake
from core_cis.registry import revoke_edge
from core_cis.settings import ServerSettings
from tests.integration.core_cis.collecting_utility import (
    ACCOUNT,
    BILL_CENTS,
    DUE,
    FEE_CENTS,
    IN_TIME,
    TERMS,
    TODAY,
    Utility,
)

DAY = timedelta(days=1)


@pytest.fixture
def utility(core: Any) -> Iterator[Utility]:
    """Return a utility with an unpaid bill, in a file and on a server."""
    made = Utility(core)
    made.fill()
    yield made
    made.store.close()


def taken(report: CollectionReport) -> list[tuple[str, int]]:
    """Name what a run did."""
    assert all(done.account_id == ACCOUNT for done in report.taken), report
    return [(done.step, done.fee) for done in report.taken]


def waits(report: CollectionReport) -> set[tuple[str, str]]:
    """Name what a run waits for."""
    assert all(each.account_id == ACCOUNT for each in report.waiting), report
    return {(wait.reason, wait.about) for each in report.waiting for wait in each.waits}


def shown_fees(utility: Utility) -> object:
    """Read the late fees that the customer is shown beside the bills."""
    body: AccountBody = utility.documents("account", ACCOUNT)[""]
    return body.late_fees


def standing(utility: Utility) -> list[str]:
    """Name the steps that stand."""
    return [step.step for step in utility.steps() if step.stands]


def test_fee_waits_for_the_edge_and_is_not_charged_when_it_was_paid_in_time(
    utility: Utility,
) -> None:
    """Silent, then with the payment queued, the edge is named; drained, there is nothing to charge."""
    paid = utility.intent(IN_TIME)
    utility.edges.waiting["east"] = [paid]
    utility.edges.silent = {"east", "west"}
    report = utility.collect()
    assert (report.result, taken(report)) == ("waiting", [])
    assert waits(report) == {("edge_silent", "east"), ("edge_silent", "west")}
    utility.edges.silent = {"east"}
    # The witness holds a copy.
    assert waits(utility.collect()) == {("edge_silent", "east"), ("payment_waiting", "west")}
    utility.edges.silent = set()
    assert waits(utility.collect()) == {("payment_waiting", "east"), ("payment_waiting", "west")}
    # The core decided it, and the edges have not heard so yet.
    utility.take(paid)
    report = utility.collect()
    assert (report.result, taken(report), waits(report)) == ("done", [], set())
    assert utility.steps() == []
    utility.check_books()


def test_fee_is_charged_once_and_shown(utility: Utility) -> None:
    """On the ledger, in the balance that customers see, by name on the next bill; a second run does nothing."""
    assert utility.collect(IN_TIME).taken == []
    report = utility.collect(IN_TIME + DAY)
    assert (report.result, taken(report)) == ("done", [("late_fee", FEE_CENTS)])
    assert utility.collect(IN_TIME + DAY).taken == utility.collect(IN_TIME + 2 * DAY).taken == []
    assert utility.shown_cents() == BILL_CENTS + FEE_CENTS
    bill_id = utility.statements(ACCOUNT)[-1].statement_id
    told = [FeeSinceBill(on=IN_TIME + DAY, amount_cents=FEE_CENTS, statement_id=bill_id)]
    assert shown_fees(utility) == told
    _, entry = account_entries(utility.store.connection, ACCOUNT)
    assert (entry.kind, entry.source, entry.amount) == ("adjustment", "late_fee", FEE_CENTS)
    utility.check_books()
    utility.bill("2026-02-28", ACCOUNT)
    newest: StatementBody = utility.statements(ACCOUNT)[-1]
    (line,) = newest.payments
    assert (line.description, line.amount_cents) == (
        "Late fee on the bill of 2026-02-01",
        -FEE_CENTS,
    )
    assert newest.amount_due_cents == BILL_CENTS + FEE_CENTS + newest.total_cents
    # It is on a bill now; when it is taken back, that is on none.
    assert shown_fees(utility) is msgspec.UNSET
    utility.take(utility.intent(DUE))
    undone = FeeSinceBill(on=TODAY, amount_cents=-FEE_CENTS, statement_id=bill_id)
    assert shown_fees(utility) == [undone]
    utility.check_books()


def test_override_is_written_down_and_a_payment_that_was_in_time_takes_the_fee_back(
    utility: Utility,
) -> None:
    """With the posting, once, by an entry of its own; the neighbour's books are not touched."""
    utility.edges.silent = {"east"}
    with pytest.raises(click.UsageError, match="say why"):
        utility.collect(without=("east",))
    with pytest.raises(click.UsageError, match="no edge north"):
        utility.collect(without=("north",), reason="gone")
    report = utility.collect(without=("east",), reason="its disk is lost")
    assert (taken(report), report.without) == ([("late_fee", FEE_CENTS)], ["east"])
    (line, *_) = read_log(utility.store.connection, limit=5)
    assert (line.action, line.subject, line.reason) == (
        "collections.override",
        "east",
        "its disk is lost",
    )
    (step,) = utility.steps()
    assert step.override_number == line.number
    with utility.store.reading() as connection:
        assert verify_log(connection, utility.store.keys.public_key).whole
    paid = utility.intent(DUE, key="from the lost edge")
    for _ in range(2):
        (outcome,) = utility.take(paid).outcomes
        assert (outcome.state, outcome.value_date) == ("posted", DUE)
        (step,) = utility.steps()
        assert (step.stands, step.reversed_by) == (False, paid.intent_id)
        assert utility.balance(ACCOUNT) == 0
        utility.check_books()
    entries = account_entries(utility.store.connection, ACCOUNT)
    assert [each.kind for each in entries] == ["charge", "adjustment", "payment", "reversal"]
    assert utility.collect(TODAY).taken == []


def test_a_part_paid_in_time_leaves_a_smaller_fee(utility: Utility) -> None:
    """The fee on the whole bill is taken back, that on what was overdue is charged."""
    utility.collect()
    utility.take(utility.intent(IN_TIME, BILL_CENTS - 2000))
    first, second = utility.steps()
    assert (first.stands, second.stands, second.attempt) == (False, True, 2)
    assert (second.overdue, second.fee) == (2000, 30)
    assert utility.balance(ACCOUNT) == 2000 + 30
    utility.take(utility.intent(IN_TIME, 2000, key="rest"))
    assert standing(utility) == []
    assert utility.balance(ACCOUNT) == 0
    assert utility.collect().taken == []
    utility.check_books()


def test_what_is_paid_late_keeps_its_fee_and_ends_the_notices(utility: Utility) -> None:
    """A day after grace is late; nobody is told of a bill that is paid by now."""
    utility.take(utility.intent(IN_TIME + DAY))
    assert taken(utility.collect(TODAY)) == [("late_fee", FEE_CENTS)]
    utility.take(utility.intent(IN_TIME + DAY, FEE_CENTS, key="fee"))
    assert standing(utility) == ["late_fee"]
    assert utility.balance(ACCOUNT) == 0


def test_earlier_day_of_another_copy_takes_the_fee_back(utility: Utility) -> None:
    """Posted as late, the payment turns out to have been accepted in time at another edge."""
    utility.take(utility.intent(IN_TIME + DAY))
    utility.collect()
    assert standing(utility) == ["late_fee"]
    late_copy = utility.intent(IN_TIME, edge="west")
    for _ in range(2):
        utility.take(late_copy)
        assert standing(utility) == []
        assert utility.balance(ACCOUNT) == 0
        utility.check_books()
    assert utility.count("payments") == 2


def test_notices_lead_to_one_order_and_all_goes_when_it_was_paid(utility: Utility) -> None:
    """Each step has its days after the one before; a moratorium holds the last ones, never the first."""
    held = Moratorium(first=date(2026, 3, 7), last=date(2026, 3, 8), reason="cold")
    utility.set(msgspec.structs.replace(TERMS, moratoria=(held,)))
    seen = {}
    for day in range(1, 11):
        report = utility.collect(date(2026, 3, day))
        assert report.result == "done"
        if report.taken:
            seen[day] = [done.step for done in report.taken]
    assert seen == {
        1: ["late_fee"],
        4: ["past_due_notice"],
        6: ["disconnection_notice"],
        9: ["disconnection_order"],
    }
    utility.take(utility.intent(DUE))
    assert standing(utility) == []
    assert {step.reversed_by for step in utility.steps()} == {utility.steps()[0].reversed_by}
    utility.check_books()


def test_closed_accounts_are_not_disconnected(utility: Utility) -> None:
    """Their last bill has its fee and its past-due notice."""
    with utility.store.transaction() as tx:
        tx.connection.execute(
            "UPDATE accounts SET status = 'closed' WHERE account_id = ?", (ACCOUNT,)
        )
    for day in (4, 6, 9):
        utility.collect(date(2026, 3, day))
    assert standing(utility) == ["late_fee", "past_due_notice"]


def test_expelled_edge_is_waited_for_where_the_bill_was_out(utility: Utility) -> None:
    """It may hold what it took before; when it answers that nothing waits, the wait is over."""
    utility.edges.silent = {"east"}
    with utility.store.transaction(alone=True) as tx:
        revoke_edge(tx, "east")
    assert waits(utility.collect()) == {("edge_expelled", "east")}
    utility.edges.silent = set()
    assert taken(utility.collect()) == [("late_fee", FEE_CENTS)]


def test_payment_under_review_is_waited_for(utility: Utility) -> None:
    """Until an operator has decided its case."""

    def fails(*_: Any) -> Any:
        raise RuntimeError("poison")

    paid = utility.intent(DUE)
    for _ in range(ServerSettings().attempts_max):
        Intake(utility.store, ServerSettings(), fails).take([paid], delivered_by="east")
    ((reason, case),) = waits(utility.collect())
    assert (reason, case[:2]) == ("case_open", "C-")


def test_restored_core_decides_nothing(utility: Utility) -> None:
    """What edges bring back may be the payment."""
    with utility.store.transaction(alone=True) as tx:
        await_every_edge(tx, 2)
    report = utility.collect()
    assert report.awaited == ["east", "west"]
    assert waits(report) == {("edge_awaited", "east"), ("edge_awaited", "west")}


def test_without_terms_nothing_is_collected(core: Any) -> None:
    """A utility says first what it charges."""
    made = Utility(core)
    with made.store, pytest.raises(CollectionRefused, match="no terms"):
        made.collect()


def test_only_what_is_asked_for_is_done(utility: Utility) -> None:
    """One step, one account; terms without a fee charge none."""
    report = utility.collect(TODAY, steps=("past_due_notice",), accounts=(ACCOUNT,))
    assert taken(report) == [("past_due_notice", 0)]
    utility.set(Terms())
    assert utility.collect(TODAY, accounts=("A-8",)).taken == []
    assert "late_fee" not in standing(utility)


def test_steps_are_append_only(utility: Utility) -> None:
    """The database refuses to change or remove what was done, whoever writes."""
    utility.collect()
    utility.take(utility.intent(DUE))
    for table in ("collection_steps", "collection_reversals"):
        for statement in (f"UPDATE {table} SET step = 'late_fee'", f"DELETE FROM {table}"):  # noqa: S608 - our names
            with pytest.raises(IntegrityError), utility.store.transaction() as tx:
                tx.connection.execute(statement)
    assert len(utility.steps()) == 1

"""
The collections run: late fees, past-due notices, disconnection notices and orders, once each, when their time has come.

Every account is a transaction of its own. Nothing is decided about an account while a payment of it may be under way:
at an edge that has not reported drained past the instant that is judged by, under review, or in what a restored core
waits for. The edges are asked before the books are read, so what left an edge meanwhile is in them.
"""

from collections.abc import Collection, Sequence
from datetime import date
from functools import partial
from typing import Literal

import msgspec

from cache_sync.sql import Connection, places
from core_cis.awaited_edges import awaited_edges
from core_cis.billing_run import all_accounts
from core_cis.cases import read_cases
from core_cis.collection_records import (
    NewStep,
    TakenStep,
    read_bills,
    read_moves,
    read_steps,
    take_step,
)
from core_cis.collection_terms import TermsInForce
from core_cis.domain.collecting import STEPS, Bill, Due, Step, end_of, left_of_bills, steps_due
from core_cis.domain.drained import EdgeWord, Pair, Wait, waits_for
from core_cis.errors import UnknownAccount
from core_cis.publishing import publish_account
from core_cis.store import CoreStore, Transaction

_OVERDUE = "SELECT DISTINCT account_id FROM statements WHERE due_date < ? ORDER BY account_id"
_DECIDED = "SELECT intent_id, fingerprint FROM inbox WHERE intent_id IN ({})"
_STATUS = "SELECT status FROM accounts WHERE account_id = ?"
_OF_SUPPLY: frozenset[Step] = frozenset({"disconnection_notice", "disconnection_order"})


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a run is asked to do.

    ``as_of`` is the day of the decisions, today or before; ``steps`` those that are wanted. ``override_number`` is the
    line of the audit log with which an operator does without an edge's word.
    """

    as_of: date
    in_force: TermsInForce
    steps: Collection[Step] = STEPS
    override_number: int | None = None


class StepDone(msgspec.Struct, frozen=True, kw_only=True):
    """A step that a run took; amounts in minor units, ``fee`` 0 for all but late fees."""

    account_id: str
    statement_id: str
    step: Step
    judged_through: date
    overdue: int
    fee: int


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A step that has come and was not decided, and what for: a stable ``reason``, and the edge or case."""

    account_id: str
    statement_id: str
    step: Step
    waits: list[Wait]


class CollectionReport(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a run did.

    ``result`` is ``waiting`` where something was not decided. ``awaited`` are the edges that a restored core waits for:
    then nothing was decided at all. ``without`` are edges that an operator did without.
    """

    result: Literal["done", "waiting"]
    as_of: date
    terms_version: int
    taken: list[StepDone]
    waiting: list[Waiting]
    awaited: list[str] = []
    without: list[str] = []


class _Candidate(msgspec.Struct, frozen=True):
    bill: Bill
    due: Due
    overdue_cents: int


def run_collections(
    store: CoreStore,
    order: Order,
    words: Sequence[EdgeWord],
    *,
    account_ids: Sequence[str] | None = None,
    without: Collection[str] = (),
) -> CollectionReport:
    """
    Take every step whose time has come; what was taken is not taken again, so a run may be repeated.

    Args:
        store: The core's database.
        order: What to do.
        words: What edges said, asked before this is called.
        account_ids: Only these accounts; None for all.
        without: The edges that an operator does without, for the report.

    Raises:
        UnknownAccount: One of the accounts named does not exist; nothing was done.
    """
    known = all_accounts(store.connection)
    for account_id in set(account_ids or ()) - set(known):
        raise UnknownAccount(account_id)
    late = store.connection.execute(_OVERDUE, (order.as_of.isoformat(),)).fetchall()
    wanted = {account_id for (account_id,) in late} & set(
        known if account_ids is None else account_ids
    )
    taken: list[StepDone] = []
    waiting: list[Waiting] = []
    awaited: set[str] = set()
    for account_id in sorted(wanted):
        with store.reading() as connection:
            has_come = _candidates(connection, account_id, order)
        if has_come:
            done, left, of_restore = store.run(partial(decide_account, account_id, order, words))
            taken += done
            waiting += left
            awaited.update(of_restore)
    return CollectionReport(
        result="waiting" if waiting else "done",
        as_of=order.as_of,
        terms_version=order.in_force.version,
        taken=taken,
        waiting=waiting,
        awaited=sorted(awaited),
        without=sorted(without),
    )


def decide_account(
    account_id: str, order: Order, words: Sequence[EdgeWord], tx: Transaction
) -> tuple[list[StepDone], list[Waiting], list[str]]:
    """
    Take the steps of one account that have come and need not wait, as a transaction.

    Returns:
        What was taken, what waits, and the edges that a restored core waits for.
    """
    tx.hold_accounts([account_id])
    awaited = awaited_edges(tx.connection)
    candidates = _candidates(tx.connection, account_id, order)
    decided = _decided_meanwhile(tx.connection, account_id, words)
    waits = [Wait(reason="edge_awaited", about=name) for name in awaited]
    waits += [
        Wait(reason="case_open", about=case.case_number)
        for case in read_cases(tx.connection, account_id=account_id)
        if case.type == "payment"
    ]
    taken: list[StepDone] = []
    waiting: list[Waiting] = []
    steps = read_steps(tx.connection, [account_id])
    for found in candidates:
        bill, due = found.bill, found.due
        of_edges = waits_for(
            words,
            account_id,
            bill_issued_on=bill.issued_on,
            judged_until=end_of(due.judged_through, tx.utility.timezone),
            decided=decided,
        )
        if waits or of_edges:
            waiting.append(
                Waiting(
                    account_id=account_id,
                    statement_id=bill.statement_id,
                    step=due.step,
                    waits=[*waits, *of_edges],
                )
            )
            continue
        taken.append(_take(tx, account_id, found, order, steps))
    if any(done.fee for done in taken):
        publish_account(tx, account_id)
    return taken, waiting, awaited


def _take(
    tx: Transaction,
    account_id: str,
    found: _Candidate,
    order: Order,
    steps: Sequence[TakenStep],
) -> StepDone:
    step, overdue = found.due.step, found.overdue_cents
    fee = order.in_force.terms.fee_cents(overdue) if step == "late_fee" else 0
    take_step(
        tx,
        NewStep(
            bill=found.bill,
            step=step,
            account_id=account_id,
            as_of=order.as_of,
            judged_through=found.due.judged_through,
            overdue=overdue,
            fee=fee,
            terms_version=order.in_force.version,
            override_number=order.override_number,
        ),
        steps,
    )
    return StepDone(
        account_id=account_id,
        statement_id=found.bill.statement_id,
        step=step,
        judged_through=found.due.judged_through,
        overdue=overdue,
        fee=fee,
    )


def _candidates(connection: Connection, account_id: str, order: Order) -> list[_Candidate]:
    """Find the steps that have come and are deserved by what is in the books."""
    steps = read_steps(connection, [account_id])
    moves = read_moves(connection, account_id)
    left_now = left_of_bills(moves)
    (status,) = connection.execute(_STATUS, (account_id,)).fetchone()
    terms = order.in_force.terms
    found = []
    bills = read_bills(connection, account_id)
    # An account is disconnected once, whatever bills are unpaid: for the oldest.
    oldest = next((bill for bill in bills if left_now.get(bill.statement_id, 0) > 0), None)
    for bill in bills:
        standing = {
            each.step: each.as_of
            for each in steps
            if each.stands and each.statement_id == bill.statement_id
        }
        for due in steps_due(bill, standing, terms, order.as_of):
            overdue = left_of_bills(moves, due.judged_through).get(bill.statement_id, 0)
            is_fee = due.step == "late_fee"
            deserved = (
                terms.fee_cents(overdue) > 0 if is_fee else left_now.get(bill.statement_id, 0) > 0
            )
            concerned = due.step not in _OF_SUPPLY or (status == "active" and bill == oldest)
            if due.step in order.steps and overdue > 0 and deserved and concerned:
                found.append(_Candidate(bill, due, overdue))
    return found


def _decided_meanwhile(
    connection: Connection, account_id: str, words: Sequence[EdgeWord]
) -> frozenset[Pair]:
    """Tell which of an account's payments that waited at edges are in the books by now."""
    waited = {pair for word in words for pair in word.waiting.get(account_id, frozenset())}
    if not waited:
        return frozenset()
    ids = sorted({intent_id for intent_id, _ in waited})
    rows = connection.execute(_DECIDED.format(places(ids)), ids).fetchall()
    return frozenset((intent_id, fingerprint) for intent_id, fingerprint in rows)

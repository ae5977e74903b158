"""
Taking steps back: a payment that is posted later and had been made in time undoes what it would have prevented.

It happens in the transaction that posts the payment, or that hears of an earlier day of one. Every step that stands and
was judged through that day or later is judged again. One whose bill was paid by then is taken back; a late fee on a
smaller overdue portion is taken back and charged anew. Nothing is deleted: a fee's reversal is an entry of its own.
"""

from collections.abc import Iterable
from datetime import date

import msgspec
import structlog

from core_cis.collection_records import (
    NewStep,
    TakenStep,
    read_bills,
    read_moves,
    read_steps,
    reverse_step,
    take_step,
)
from core_cis.collection_terms import terms_of
from core_cis.domain.collecting import Move, left_of_bills
from core_cis.store import Transaction

_log = structlog.get_logger(__name__)


class LatePayment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment that is in the books since this transaction, or counts from another day since; ``on`` is that day."""

    payment_id: str
    account_id: str
    on: date


def take_back_steps(tx: Transaction, payments: Iterable[LatePayment]) -> list[str]:
    """
    Judge the steps again that payments may have prevented; the caller holds their accounts, and publishes them.

    Returns:
        The accounts whose ledger has changed.
    """
    by_account: dict[str, list[LatePayment]] = {}
    for payment in payments:
        by_account.setdefault(payment.account_id, []).append(payment)
    if not by_account:
        return []
    changed = []
    steps: dict[str, list[TakenStep]] = {}
    for step in read_steps(tx.connection, sorted(by_account)):
        steps.setdefault(step.account_id, []).append(step)
    for account_id, known in steps.items():
        first = min(by_account[account_id], key=lambda each: (each.on, each.payment_id))
        concerned = [each for each in known if each.stands and first.on <= each.judged_through]
        if concerned and _judge_again(tx, account_id, concerned, known, first):
            changed.append(account_id)
    return changed


def _judge_again(
    tx: Transaction,
    account_id: str,
    concerned: list[TakenStep],
    known: list[TakenStep],
    payment: LatePayment,
) -> bool:
    moves = read_moves(tx.connection, account_id)
    money_moved = False
    for step in concerned:
        overdue = _overdue(moves, step)
        fee = _fee(tx, step, overdue)
        if overdue and fee == step.fee:
            continue
        reverse_step(tx, step, payment.payment_id)
        _log.info("a step of collections is taken back", step=step.step, again=bool(fee))
        if fee:
            take_step(tx, _smaller(tx, step, overdue, fee), known)
        money_moved = money_moved or step.transaction_id is not None
    return money_moved


def _overdue(moves: Iterable[Move], step: TakenStep) -> int:
    return left_of_bills(moves, step.judged_through).get(step.statement_id, 0)


def _fee(tx: Transaction, step: TakenStep, overdue: int) -> int:
    if step.step != "late_fee":
        return 0
    return terms_of(tx.connection, step.terms_version).fee_cents(overdue)


def _smaller(tx: Transaction, step: TakenStep, overdue: int, fee: int) -> NewStep:
    (bill,) = (
        each
        for each in read_bills(tx.connection, step.account_id)
        if each.statement_id == step.statement_id
    )
    return NewStep(
        bill=bill,
        step=step.step,
        account_id=step.account_id,
        as_of=step.as_of,
        judged_through=step.judged_through,
        overdue=overdue,
        fee=fee,
        terms_version=step.terms_version,
        override_number=step.override_number,
    )

"""What collections read of an account and write about it: its bills, what moved its balance, the steps that stand."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime

import msgspec

from cache_sync.sql import Connection, places
from core_cis.bookkeeping import post, read_transactions
from core_cis.domain import ledger
from core_cis.domain.collecting import Bill, Move, Step
from core_cis.fee_dates import fee_dates
from core_cis.instants import from_text, to_text
from core_cis.store import Transaction

_BILLS = """
    SELECT statement_id, issued_on, due_date FROM statements WHERE account_id = ? ORDER BY due_date, period_to
"""
# What was undone never was, and neither was its undoing.
_MOVES = """
    SELECT t.source, t.idempotency_key, t.value_date, t.payment_id, sum(e.amount_cents)
    FROM ledger_entries e JOIN ledger_transactions t USING (transaction_id)
    WHERE e.account_id = ? AND t.kind <> 'reversal'
        AND NOT EXISTS (SELECT 1 FROM ledger_transactions r WHERE r.reverses_transaction_id = t.transaction_id)
    GROUP BY t.transaction_id ORDER BY t.transaction_id
"""
_STEPS = """
    SELECT s.statement_id, s.step, s.attempt, s.account_id, s.as_of, s.judged_through, s.overdue_cents, s.fee_cents,
        s.transaction_id, s.terms_version, s.override_number, s.taken_at, r.payment_id, r.reversed_at
    FROM collection_steps s LEFT JOIN collection_reversals r
        ON r.statement_id = s.statement_id AND r.step = s.step AND r.attempt = s.attempt
"""
_TAKE = """
    INSERT INTO collection_steps (statement_id, step, attempt, account_id, as_of, judged_through, overdue_cents,
        fee_cents, transaction_id, terms_version, override_number, taken_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_REVERSE = """
    INSERT INTO collection_reversals (statement_id, step, attempt, payment_id, transaction_id, reversed_at)
    VALUES (?, ?, ?, ?, ?, ?)
"""


class TakenStep(msgspec.Struct, frozen=True, kw_only=True):
    """
    A step that was taken for a bill; amounts are minor units.

    ``as_of`` is the day of the decision, ``judged_through`` the last day that payments counted for it. ``fee`` is that
    of a late fee, posted as ``transaction_id``. ``override_number`` is the line of the audit log with which an operator
    did without an edge's word. ``reversed_by`` names the payment that took it back; None while it stands.
    """

    statement_id: str
    step: Step
    attempt: int
    account_id: str
    as_of: date
    judged_through: date
    overdue: int
    fee: int
    transaction_id: int | None
    terms_version: int
    override_number: int | None
    taken_at: datetime
    reversed_by: str | None = None
    reversed_at: datetime | None = None

    @property
    def stands(self) -> bool:
        """Tell whether it was not taken back."""
        return self.reversed_by is None


class NewStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step to be taken; as `TakenStep`."""

    bill: Bill
    step: Step
    account_id: str
    as_of: date
    judged_through: date
    overdue: int
    fee: int
    terms_version: int
    override_number: int | None = None


def read_bills(connection: Connection, account_id: str) -> list[Bill]:
    """Read an account's bills, the first that falls due first."""
    rows = connection.execute(_BILLS, (account_id,)).fetchall()
    return [
        Bill(
            statement_id=statement_id,
            issued_on=date.fromisoformat(issued_on),
            due_on=date.fromisoformat(due_date),
        )
        for statement_id, issued_on, due_date in rows
    ]


def read_moves(connection: Connection, account_id: str) -> list[Move]:
    """Read what moved an account's balance and was not undone, in the order of the ledger."""
    rows = connection.execute(_MOVES, (account_id,)).fetchall()
    payments = [payment_id for _, _, _, payment_id, _ in rows if payment_id is not None]
    earlier = {id_: day for (id_, _), day in fee_dates(connection, payments).items()}
    return [
        Move(
            on=earlier.get(payment_id, date.fromisoformat(value_date)),
            cents=int(cents),
            statement_id=key if source == ledger.STATEMENT else "",
            is_fee=source == ledger.LATE_FEE,
        )
        for source, key, value_date, payment_id, cents in rows
        # Its receivable may not have moved at all.
        if cents
    ]


def read_steps(connection: Connection, account_ids: Sequence[str] | None = None) -> list[TakenStep]:
    """Read the steps of some accounts, or of all, those taken back too, in the order in which they were taken."""
    order = " ORDER BY s.taken_at, s.statement_id, s.step, s.attempt"
    if account_ids is None:
        rows = connection.execute(_STEPS + order)
    else:
        about = f" WHERE s.account_id IN ({places(account_ids)})"
        rows = connection.execute(_STEPS + about + order, account_ids)
    return [_step(row) for row in rows.fetchall()]


def _step(row: Sequence[object]) -> TakenStep:
    taken_at, payment_id, reversed_at = row[11:]
    names = [field.name for field in msgspec.structs.fields(TakenStep)][:11]
    return msgspec.convert(
        {
            **dict(zip(names, row[:11], strict=True)),
            "taken_at": from_text(str(taken_at)),
            "reversed_by": payment_id,
            "reversed_at": None if reversed_at is None else from_text(str(reversed_at)),
        },
        TakenStep,
    )


def take_step(tx: Transaction, new: NewStep, known: Iterable[TakenStep]) -> None:
    """
    Write a step down, with a late fee's ledger entry; the caller publishes the account.

    Args:
        tx: The caller's transaction, which holds the account.
        new: The step.
        known: The account's steps so far.
    """
    name = (new.bill.statement_id, new.step)
    attempt = 1 + sum((each.statement_id, each.step) == name for each in known)
    transaction_id = None
    if new.step == "late_fee":
        fee = ledger.late_fee(
            account_id=new.account_id,
            key=f"{new.bill.statement_id} {attempt}",
            amount_cents=new.fee,
            value_date=new.as_of,
            description=f"Late fee on the bill of {new.bill.issued_on.isoformat()}",
        )
        transaction_id = post(tx, fee).transaction_id
    tx.connection.execute(
        _TAKE,
        (
            *name,
            attempt,
            new.account_id,
            new.as_of.isoformat(),
            new.judged_through.isoformat(),
            new.overdue,
            new.fee,
            transaction_id,
            new.terms_version,
            new.override_number,
            to_text(tx.stamp),
        ),
    )


def reverse_step(tx: Transaction, step: TakenStep, payment_id: str) -> None:
    """Take a step back, with a late fee's ledger entry; the rows that were written stay."""
    reversed_as = None
    if step.transaction_id is not None:
        ((_, original),) = read_transactions(
            tx.connection, first=step.transaction_id, last=step.transaction_id
        )
        undo = ledger.reversal(original, value_date=tx.today, description="Late fee taken back")
        reversed_as = post(tx, undo, reverses_transaction_id=step.transaction_id).transaction_id
    tx.connection.execute(
        _REVERSE,
        (
            step.statement_id,
            step.step,
            step.attempt,
            payment_id,
            reversed_as,
            to_text(tx.stamp),
        ),
    )

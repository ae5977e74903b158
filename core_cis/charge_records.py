"""
What the core knows of charges and refunds at the payment processor; every change in the caller's transaction.

An attempt is in its row before the processor is called. A row's first answer stays: what comes later changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from cache_sync.sql import Connection, places
from core_cis.instants import from_text, to_text
from core_cis.store import Transaction
from failover.intents import Intent
from failover.processor import Captured, Declined, FoundCharge, KeyTaken, Nothing, Refunded

ChargeState = Literal["attempting", "captured", "declined", "nothing", "conflict", "review"]
"""
``attempting``: called, or about to be, no answer yet; ``nothing``: asked, and it was never charged; ``conflict``: the
processor knows the key with other content; ``review``: nobody can tell any more, a person has to look.
"""

_CHARGE_COLUMNS = (
    "intent_id, fingerprint, kind, state, amount_cents, currency, charge_id, code, begun_at"
)
_FIND = f"SELECT {_CHARGE_COLUMNS} FROM charges WHERE intent_id = ? AND fingerprint = ?"  # noqa: S608 - no input
_FIND_ALL = f"SELECT {_CHARGE_COLUMNS} FROM charges WHERE intent_id IN ({{}})"  # noqa: S608 - no input
_BEGIN = """
    INSERT INTO charges (intent_id, fingerprint, kind, state, amount_cents, currency, begun_at)
    VALUES (?, ?, ?, 'attempting', ?, ?, ?) ON CONFLICT (intent_id, fingerprint) DO NOTHING
"""
_ANSWER = """
    UPDATE charges SET state = ?, charge_id = ?, code = ?, answered_at = ?
    WHERE intent_id = ? AND fingerprint = ? AND state = 'attempting'
"""
_ATTEMPTING = "SELECT fingerprint, amount_cents, currency FROM charges WHERE intent_id = ? AND state = 'attempting'"
_REFUND_COLUMNS = (
    "charge_id, intent_id, fingerprint, amount_cents, currency, reason, state, refund_id, begun_at"
)
_OWE = """
    INSERT INTO refunds (charge_id, intent_id, fingerprint, amount_cents, currency, reason, due_at)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (charge_id) DO NOTHING
"""
_OPEN_REFUNDS = f"SELECT {_REFUND_COLUMNS} FROM refunds WHERE state IN ('due', 'attempting') ORDER BY due_at LIMIT ?"  # noqa: S608 - no input
_BEGIN_REFUND = (
    "UPDATE refunds SET state = 'attempting', begun_at = ? WHERE charge_id = ? AND state = 'due'"
)
_END_REFUND = """
    UPDATE refunds SET state = ?, refund_id = ?, done_at = ? WHERE charge_id = ? AND state IN ('due', 'attempting')
"""


class ChargeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A charge as the core knows it; ``code`` is why it was declined, ``begun_at`` is core time of the attempt."""

    intent_id: str
    fingerprint: str
    kind: str
    state: ChargeState
    amount_cents: int
    currency: str
    charge_id: str
    code: str
    begun_at: datetime


class RefundRow(msgspec.Struct, frozen=True, kw_only=True):
    """Money to be given back, or that was; ``begun_at`` is core time of the first attempt."""

    charge_id: str
    intent_id: str
    fingerprint: str
    amount_cents: int
    currency: str
    reason: str
    state: Literal["due", "attempting", "done", "review"]
    refund_id: str
    begun_at: datetime | None


def find_charge(connection: Connection, intent_id: str, fingerprint: str) -> ChargeRow | None:
    """Read what is known of one payment's charge."""
    row = connection.execute(_FIND, (intent_id, fingerprint)).fetchone()
    return None if row is None else _charge(row)


def find_charges(
    connection: Connection, intent_ids: Sequence[str]
) -> dict[tuple[str, str], ChargeRow]:
    """Read what is known of the charges of some payments, by id and fingerprint."""
    rows = connection.execute(_FIND_ALL.format(places(intent_ids)), intent_ids).fetchall()
    return {(row[0], row[1]): _charge(row) for row in rows}


def read_charges(connection: Connection) -> list[ChargeRow]:
    """Read all charges, the oldest first."""
    rows = connection.execute(
        f"SELECT {_CHARGE_COLUMNS} FROM charges ORDER BY begun_at, intent_id"  # noqa: S608 - no input
    )
    return [_charge(row) for row in rows.fetchall()]


def begin_charge(tx: Transaction, intent: Intent) -> None:
    """Note that a payment is about to be charged, or may have been by whoever recorded it."""
    tx.connection.execute(
        _BEGIN,
        (
            intent.intent_id,
            intent.fingerprint,
            intent.kind,
            intent.amount_cents,
            intent.currency,
            to_text(tx.stamp),
        ),
    )


def answer_charge(
    tx: Transaction,
    intent_id: str,
    fingerprint: str,
    answer: Captured | Declined | KeyTaken | Nothing | Literal["review"],
) -> None:
    """Note the processor's first certain word on a charge."""
    state: ChargeState
    charge_id = code = ""
    match answer:
        case Captured():
            state, charge_id = "captured", answer.charge_id
        case Declined():
            state, code = "declined", answer.code
        case KeyTaken():
            state = "conflict"
        case Nothing():
            state = "nothing"
        case _:
            state = "review"
    tx.connection.execute(
        _ANSWER, (state, charge_id, code, to_text(tx.stamp), intent_id, fingerprint)
    )


def hear_of_charge(tx: Transaction, intent_id: str, found: FoundCharge) -> bool:
    """
    Take over what the processor tells unasked of a charge that is waited for.

    Returns:
        Whether it was waited for; the same word again, or one on something else, changes nothing.
    """
    rows = tx.connection.execute(_ATTEMPTING, (intent_id,)).fetchall()
    if len(rows) != 1 or not isinstance(found, (Captured, Declined)):
        return False
    ((fingerprint, amount_cents, currency),) = rows
    if isinstance(found, Captured) and (found.amount_cents, found.currency) != (
        amount_cents,
        currency,
    ):
        return False
    answer_charge(tx, intent_id, fingerprint, found)
    return True


def owe_refund(tx: Transaction, intent: Intent, charge_id: str, reason: str) -> None:
    """Note that a charge has to be given back; once, however often it is asked for."""
    tx.connection.execute(
        _OWE,
        (
            charge_id,
            intent.intent_id,
            intent.fingerprint,
            intent.amount_cents,
            intent.currency,
            reason,
            to_text(tx.stamp),
        ),
    )


def open_refunds(connection: Connection, *, limit: int) -> list[RefundRow]:
    """Read the refunds that are due or of which nobody knows yet, the oldest first."""
    return [_refund(row) for row in connection.execute(_OPEN_REFUNDS, (limit,)).fetchall()]


def read_refunds(connection: Connection) -> list[RefundRow]:
    """Read all refunds, the oldest first."""
    rows = connection.execute(
        f"SELECT {_REFUND_COLUMNS} FROM refunds ORDER BY due_at, charge_id"  # noqa: S608 - no input
    )
    return [_refund(row) for row in rows.fetchall()]


def begin_refund(tx: Transaction, charge_id: str) -> None:
    """Note that a refund is about to be asked for."""
    tx.connection.execute(_BEGIN_REFUND, (to_text(tx.stamp), charge_id))


def end_refund(tx: Transaction, charge_id: str, answer: Refunded | Literal["review"]) -> None:
    """Note that the money was given back, or that a person has to see to it."""
    state, refund_id = ("done", answer.refund_id) if isinstance(answer, Refunded) else (answer, "")
    tx.connection.execute(_END_REFUND, (state, refund_id, to_text(tx.stamp), charge_id))


def _charge(row: tuple[str, str, str, ChargeState, int, str, str, str, str]) -> ChargeRow:
    names = ChargeRow.__struct_fields__
    return ChargeRow(**{**dict(zip(names, row, strict=True)), "begun_at": from_text(row[-1])})  # type: ignore[arg-type]


def _refund(row: tuple[object, ...]) -> RefundRow:
    fields = dict(zip(RefundRow.__struct_fields__, row, strict=True))
    begun_at = fields["begun_at"]
    fields["begun_at"] = from_text(begun_at) if isinstance(begun_at, str) else None
    return RefundRow(**fields)  # type: ignore[arg-type]

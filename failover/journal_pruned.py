"""
What stays in a journal of what was pruned: sums by day, the ordinals, and for a while what customers are told.

A customer may send an old form again while the core is away. As long as the receipt is here, the answer is the core's
outcome, with its signature, and nothing is recorded a second time.
"""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Literal

import msgspec

from cache_sync.sqlite import Connection
from failover.intents import IntentType, Receipt
from failover.peer_messages import Source
from failover.pruned_sums import PrunedPart, PrunedSums

Rows = Callable[[str, tuple[Any, ...]], list[Any]]
"""Runs one statement and returns its rows."""

_RECEIPTS = "SELECT receipt FROM pruned_receipts WHERE intent_id = ? ORDER BY position"
# One statement, so that sums and ordinals are those of one state.
_PART = """
    SELECT 'mark' AS what, mark, '', '', '', '', 0, 0, '' FROM pruning
    UNION ALL SELECT 'ordinals', '', '', '', '', '', first, last, '' FROM pruned_ordinals WHERE ?1 = 'own'
    UNION ALL SELECT 'sums', writer, incarnation, day, type, state, count, cents, digest FROM pruned_sums
        WHERE source = ?1
"""


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """A receipt without what can be derived; its names are left out, because there are many."""

    intent_id: str
    fingerprint: str
    account_id: str
    state: Literal["posted", "rejected", "dead_letter", "cancelled"]
    type: IntentType
    amount_cents: int
    currency: str
    method_id: str
    body_hash: str | None
    accepted_at: datetime
    decided_at: datetime
    value_date: date | None
    reason: str
    case_number: str
    epoch: int
    shard: str
    seq: int
    signature: str


_NAMES = tuple(field.name for field in msgspec.structs.fields(_Kept))
_decode = msgspec.msgpack.Decoder(_Kept).decode


def pack_receipt(receipt: Receipt) -> bytes:
    """Write down what is told of an intent that the core decided; a message's body is not kept."""
    told = {name: getattr(receipt, name) for name in _NAMES}
    if receipt.body_hash is msgspec.UNSET:
        told["body_hash"] = None
    return msgspec.msgpack.encode(_Kept(**told))


def unpack_receipt(packed: bytes) -> Receipt:
    """Read what `pack_receipt` wrote."""
    kept = _decode(packed)
    told = {name: getattr(kept, name) for name in _NAMES}
    if kept.body_hash is None:
        told["body_hash"] = msgspec.UNSET
    return Receipt(**told, durable=True)


def read_receipts(rows: Rows, intent_id: str) -> list[Receipt]:
    """Read what is told of a pruned id: of each content that was taken under it, the first that was pruned first."""
    return [unpack_receipt(packed) for (packed,) in rows(_RECEIPTS, (intent_id,))]


def find_pruned(connection: Connection, intent_id: str) -> list[Receipt]:
    """Read the same within a change."""
    return read_receipts(lambda sql, values: connection.execute(sql, values).fetchall(), intent_id)


def read_part(rows: Rows, source: Source) -> PrunedPart:
    """Read what a list of the journal keeps no longer."""
    mark = ""
    ordinals: list[tuple[int, int]] = []
    sums: list[PrunedSums] = []
    for what, *row in rows(_PART, (source,)):
        if what == "mark":
            mark = row[0]
        elif what == "ordinals":
            ordinals.append((row[5], row[6]))
        else:
            writer, incarnation, day, type_, state, count, cents, digest = row
            sums.append(
                PrunedSums(
                    day=date.fromisoformat(day),
                    type=type_,
                    state=state,
                    count=count,
                    cents=cents,
                    digest=digest,
                    writer=writer,
                    incarnation=incarnation,
                )
            )
    return PrunedPart(mark=mark, ordinals=sorted(ordinals), sums=sums)

"""
Fee-effective dates: the day from which a posted payment counts for fees, where that is earlier than its value date.

A customer whose payment was taken at two edges has paid when the first of them accepted it. Whichever copy arrives
first is posted, with its day as the value date; an earlier one that arrives later (`core_cis.earlier_copies`) appends
its day here. Nothing is posted again, and no value date changes.
"""

from collections.abc import Sequence
from datetime import date

from cache_sync.sql import Connection, places
from core_cis.instants import to_text
from core_cis.store import Transaction
from failover.intents import Intent

_APPEND = """
    INSERT INTO fee_effective_dates (payment_id, fingerprint, effective_on, accepted_at, edge_id, delivered_by,
        noted_at)
    SELECT :payment, :fingerprint, :day, :accepted_at, :edge, :delivered_by, :noted_at
    WHERE NOT EXISTS (
        SELECT 1 FROM fee_effective_dates
        WHERE payment_id = :payment AND fingerprint = :fingerprint AND effective_on <= :day)
"""
_EARLIEST = """
    SELECT payment_id, fingerprint, min(effective_on) FROM fee_effective_dates
    WHERE payment_id IN ({}) GROUP BY payment_id, fingerprint
"""
_ALL = """
    SELECT payment_id, fingerprint, min(effective_on) FROM fee_effective_dates GROUP BY payment_id, fingerprint
"""


def append_fee_date(tx: Transaction, intent: Intent, day: date, *, delivered_by: str) -> bool:
    """Append an earlier day of a posted payment, and tell whether it is news; of two days the earlier one holds."""
    appended = tx.connection.execute(
        _APPEND,
        {
            "payment": intent.intent_id,
            "fingerprint": intent.fingerprint,
            "day": day.isoformat(),
            "accepted_at": to_text(intent.accepted_at),
            "edge": intent.edge_id,
            "delivered_by": delivered_by,
            "noted_at": to_text(tx.stamp),
        },
    ).rowcount
    return bool(appended)


def fee_dates(
    connection: Connection, payment_ids: Sequence[str] | None = None
) -> dict[tuple[str, str], date]:
    """Tell the earliest appended day by (payment id, fingerprint), of some payments or of all; most have none."""
    if payment_ids is None:
        rows = connection.execute(_ALL)
    elif not payment_ids:
        return {}
    else:
        rows = connection.execute(_EARLIEST.format(places(payment_ids)), payment_ids)
    return {
        (id_, fingerprint): date.fromisoformat(day) for id_, fingerprint, day in rows.fetchall()
    }

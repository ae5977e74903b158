"""Interval readings in the core's tables: blocks of one local day, merged, read back and published."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import msgspec

from cache_sync.sql import Connection
from core_cis.domain.estimation import ESTIMATED_HOURS_MAX
from core_cis.domain.metering import Conflict, IntervalBlock, merge_blocks
from core_cis.publishing import publish_usage
from core_cis.store import Transaction

_SELECT = """
    SELECT day, start, interval_seconds, values_wh, qualities FROM interval_blocks
    WHERE service_point_id = ? AND day >= ? AND day < ? ORDER BY day
"""
_UPSERT = """
    INSERT INTO interval_blocks (service_point_id, day, start, interval_seconds, values_wh, qualities, meter_id)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (service_point_id, day) DO UPDATE SET values_wh = excluded.values_wh, qualities = excluded.qualities
"""
_ONE_DAY = timedelta(days=1)
_ESTIMATED_MAX = timedelta(hours=ESTIMATED_HOURS_MAX)
_encode = msgspec.msgpack.Encoder().encode
_decode_values = msgspec.msgpack.Decoder(tuple[int | None, ...]).decode
_decode_qualities = msgspec.msgpack.Decoder(tuple[int, ...]).decode


def load_blocks(
    connection: Connection, service_point_id: str, first: date, end: date
) -> list[IntervalBlock]:
    """Read a service point's blocks of the local days ``[first, end)``, oldest first; unread days have none."""
    return [
        IntervalBlock(
            day=date.fromisoformat(day),
            start=datetime.fromtimestamp(start, UTC),
            interval_seconds=interval_seconds,
            wh=_decode_values(values_wh),
            quality=_decode_qualities(qualities),
        )
        for day, start, interval_seconds, values_wh, qualities in connection.execute(
            _SELECT, (service_point_id, first.isoformat(), end.isoformat())
        )
    ]


def read_days(connection: Connection, service_point_id: str) -> tuple[date, date] | None:
    """
    Tell the first local day that was read from its beginning, and the last that was read to its end.

    A file may start or stop at any hour: the parts of days at its ends are no days that a bill could begin or end with,
    but for a last day of which no more is missing than may be estimated. None where there is no such pair of days.
    """
    first, last = connection.execute(
        "SELECT min(day), max(day) FROM interval_blocks WHERE service_point_id = ?",
        (service_point_id,),
    ).fetchone()
    if first is None:
        return None
    first_day, last_day = date.fromisoformat(first), date.fromisoformat(last)
    if _block(connection, service_point_id, first_day).wh[0] is None:
        first_day += _ONE_DAY
    if _missing_at_end(_block(connection, service_point_id, last_day)) > _ESTIMATED_MAX:
        last_day -= _ONE_DAY
    return (first_day, last_day) if first_day <= last_day else None


def _account_of(connection: Connection, service_point_id: str) -> list[str]:
    rows = connection.execute(
        "SELECT account_id FROM service_points WHERE service_point_id = ?", (service_point_id,)
    ).fetchall()
    return [account_id for (account_id,) in rows]


def _missing_at_end(block: IntervalBlock) -> timedelta:
    count = len(block.wh)
    read = max((index + 1 for index, wh in enumerate(block.wh) if wh is not None), default=0)
    return timedelta(seconds=(count - read) * block.interval_seconds)


def _block(connection: Connection, service_point_id: str, day: date) -> IntervalBlock:
    (block,) = load_blocks(connection, service_point_id, day, day + _ONE_DAY)
    return block


def store_blocks(
    tx: Transaction, service_point_id: str, blocks: Iterable[IntervalBlock], *, meter_id: str
) -> list[Conflict]:
    """
    Merge blocks into what is stored and publish the months they touch; storing the same again changes nothing.

    Returns:
        Measured values that differ from a stored measured one; the stored one stands.

    Raises:
        ValueError: A day is already stored in intervals of another length.
    """
    offered = {block.day: block for block in blocks}
    if not offered:
        return []
    tx.hold_accounts(_account_of(tx.connection, service_point_id))
    conflicts: list[Conflict] = []
    stored = {
        block.day: block
        for block in load_blocks(
            tx.connection,
            service_point_id,
            min(offered),
            max(offered) + _ONE_DAY,
        )
    }
    rows = []
    for day, block in offered.items():
        kept = block
        if day in stored:
            kept, found = merge_blocks(stored[day], block)
            conflicts += found
        rows.append(
            (
                service_point_id,
                day.isoformat(),
                int(kept.start.timestamp()),
                kept.interval_seconds,
                _encode(kept.wh),
                _encode(kept.quality),
                meter_id,
            )
        )
    tx.connection.executemany(_UPSERT, rows)
    for month in sorted({day.isoformat()[:7] for day in offered}):
        publish_usage(tx, service_point_id, month)
    return conflicts

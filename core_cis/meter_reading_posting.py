"""
Readings that customers send: judged beside what is known of the meter, and kept among its register's reads.

The conflict rule: the newest day counts, of one day what was accepted last. An older reading is kept as history and
changes nothing, in whatever order readings come.
"""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import msgspec

from cache_sync.documents import StatementBody
from cache_sync.sql import Connection
from core_cis.instants import from_text, local_date, to_text
from core_cis.message_verdicts import Verdict, posted, rejected
from core_cis.store import Transaction
from failover.intents import Intent
from failover.message_bodies import MessageBody, MeterReading
from failover.reading_rules import LastRead, is_older, newest, problem_of_reading

KEPT_AS_HISTORY = "kept_as_history"
_OTHER_QUALITY = 16
"""ESPI's QualityOfReading: none of the others."""

_METER = """
    SELECT 1 FROM meters m JOIN service_points s USING (service_point_id)
    WHERE m.meter_id = ? AND s.service_point_id = ? AND s.account_id = ?
"""
_NEWEST = "SELECT read_at, register_wh, told_at FROM register_reads WHERE meter_id = ? ORDER BY read_at DESC LIMIT 1"
_LATEST_STATEMENT = (
    "SELECT body FROM statements WHERE account_id = ? ORDER BY period_to DESC LIMIT 1"
)
_KEEP = """
    INSERT INTO register_reads (meter_id, read_at, register_wh, quality, told_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (meter_id, read_at) DO UPDATE
    SET register_wh = excluded.register_wh, quality = excluded.quality, told_at = excluded.told_at
    WHERE register_reads.told_at < excluded.told_at
"""


def judge_reading(tx: Transaction, intent: Intent, body: MessageBody) -> Verdict:
    """Judge a reading by the register's newest read: one of the utility, of a statement or of a customer."""
    assert isinstance(body, MeterReading), "the type names the body"
    connection, timezone = tx.connection, tx.utility.timezone
    place = (body.meter_id, body.service_point_id, intent.account_id)
    if connection.execute(_METER, place).fetchone() is None:
        return rejected("meter_unknown")
    stored = connection.execute(_NEWEST, (body.meter_id,)).fetchone()
    known = _billed(connection, intent.account_id, body.meter_id)
    told_at = ""
    if stored is not None:
        told_at = stored[2]
        known.append(LastRead(local_date(from_text(stored[0]), timezone), stored[1]))
    last = newest(known)
    # Of one day what was accepted last counts: the reading that it corrects is no measure for it.
    if last is not None and last.read_on == body.read_on and stored is not None:
        if to_text(intent.accepted_at) <= told_at:
            return posted(KEPT_AS_HISTORY)
        if told_at:
            last = newest(known[:-1])
    sent_on = local_date(intent.accepted_at, timezone)
    problem = problem_of_reading(body.read_on, body.register_wh, last=last, today=sent_on)
    if problem is not None:
        return rejected(problem)
    return posted(KEPT_AS_HISTORY if is_older(body.read_on, last) else "")


def enter_reading(tx: Transaction, intent: Intent, body: MessageBody, _: str) -> None:
    """Keep a reading among the register's reads; of one day the one that was accepted last."""
    assert isinstance(body, MeterReading), "the type names the body"
    read_at = to_text(_beginning(body.read_on, tx.utility.timezone))
    told_at = to_text(intent.accepted_at)
    tx.connection.execute(
        _KEEP, (body.meter_id, read_at, body.register_wh, _OTHER_QUALITY, told_at)
    )


def _beginning(day: date, timezone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)).astimezone(UTC)


def _billed(connection: Connection, account_id: str, meter_id: str) -> list[LastRead]:
    row = connection.execute(_LATEST_STATEMENT, (account_id,)).fetchone()
    if row is None:
        return []
    statement = msgspec.json.decode(row[0], type=StatementBody)
    return [
        LastRead(meter.read_to, meter.end_register_wh)
        for meter in statement.meters
        if meter.meter_id == meter_id
    ]

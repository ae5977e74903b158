"""Green Button readings into the books: valid ones stored, bad ones quarantined and reported."""

from zoneinfo import ZoneInfo

import msgspec

from core_cis.domain.green_button import Channel, GreenButtonFeed
from core_cis.domain.metering import build_blocks
from core_cis.errors import UnknownServicePoint, UnusableReadings
from core_cis.instants import to_text
from core_cis.readings import store_blocks
from core_cis.store import Transaction


class ReportedFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A reading that was kept out, or a remark; ``start`` is an instant in UTC, empty when it cannot be read."""

    line: int
    rule: str
    start: str
    detail: str


class ReadingsImported(msgspec.Struct, frozen=True, kw_only=True):
    """What an import of readings did."""

    service_point_id: str
    meter_id: str
    interval_seconds: int
    intervals: int
    days: int
    usage_wh: int
    first: str
    end: str
    findings: list[ReportedFinding]
    conflicts: list[ReportedFinding]
    refused: list[str]


def import_readings(
    tx: Transaction, feed: GreenButtonFeed, *, service_point_id: str, source: str
) -> ReadingsImported:
    """
    Store a Green Button file's readings for a service point and publish its usage.

    Importing the same file again changes nothing. A stored measured value stands against a different one, which is
    reported as a conflict.

    Args:
        feed: The file as read, before this transaction: reading takes seconds that others need not wait for.
        service_point_id: Whose readings they are.
        source: The file's name, kept with its findings.

    Raises:
        UnknownServicePoint: There is none of that id.
        UnusableReadings: The file has readings of several meters, or intervals of another length than stored ones.
    """
    meter = tx.connection.execute(
        "SELECT meter_id FROM meters WHERE service_point_id = ? AND removed_on IS NULL",
        (service_point_id,),
    ).fetchone()
    if meter is None:
        raise UnknownServicePoint(service_point_id)
    channel = _only_channel(feed)
    if not channel.intervals:
        raise UnusableReadings("no_readings", "every reading in the file breaks a rule")
    zone = ZoneInfo(tx.utility.timezone)
    blocks = build_blocks(channel.intervals, zone, channel.interval_seconds)
    try:
        conflicts = store_blocks(tx, service_point_id, blocks, meter_id=meter[0])
    except ValueError as error:
        raise UnusableReadings("interval_length", str(error)) from error
    _keep_findings(tx, channel, service_point_id, source)
    return ReadingsImported(
        service_point_id=service_point_id,
        meter_id=meter[0],
        interval_seconds=channel.interval_seconds,
        intervals=len(channel.intervals),
        days=len(blocks),
        usage_wh=sum(interval.wh for interval in channel.intervals),
        first=channel.intervals[0].start.isoformat(),
        end=channel.intervals[-1].end.isoformat(),
        findings=[
            ReportedFinding(
                line=finding.line,
                rule=finding.rule,
                start=finding.start.isoformat() if finding.start else "",
                detail=finding.detail,
            )
            for finding in channel.findings
        ],
        conflicts=[
            ReportedFinding(
                line=0,
                rule="conflict",
                start=conflict.start.isoformat(),
                detail=f"{conflict.stored_wh} Wh are stored, the file says {conflict.offered_wh} Wh",
            )
            for conflict in conflicts
        ],
        refused=[
            f"{refusal.title}: {refusal.detail} ({refusal.reason})" for refusal in feed.refused
        ],
    )


def _only_channel(feed: GreenButtonFeed) -> Channel:
    if len(feed.channels) > 1:
        titles = ", ".join(channel.title or channel.address for channel in feed.channels)
        raise UnusableReadings(
            "several_channels", f"the file has several meter readings ({titles}); give one a file"
        )
    return feed.channels[0]


def _keep_findings(tx: Transaction, channel: Channel, service_point_id: str, source: str) -> None:
    tx.connection.executemany(
        "INSERT INTO import_findings (imported_at, source, line, code, detail, service_point_id, start)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [
            (
                to_text(tx.stamp),
                source,
                finding.line,
                finding.rule,
                finding.detail,
                service_point_id,
                int(finding.start.timestamp()) if finding.start else 0,
            )
            for finding in channel.findings
        ],
    )

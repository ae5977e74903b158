"""
Validating a channel of interval readings (the V of VEE).

What breaks a rule is quarantined and reported with its line and instant; the rest is kept. A gap is
reported where no reading of the file, kept or quarantined, reaches: a quarantined reading already
tells of the time it covers.

The rules are those of meter data management by other names: Interval Size (`zero_duration`,
`interval_size`, `misaligned_start`), Negative Consumption, Duplicate, Consecutive Interval (`gap`).
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from core_cis.domain.calendar import SECONDS_PER_DAY
from core_cis.domain.metering import QUALITY_QUESTIONABLE, Interval

Rule = Literal[
    "malformed",
    "negative_value",
    "zero_duration",
    "interval_size",
    "misaligned_start",
    "duplicate_start",
    "gap",
]


class Finding(msgspec.Struct, frozen=True):
    """
    One thing wrong in a file.

    Attributes:
        rule: What is broken.
        line: Of the reading; for a gap, of the first reading after it.
        start: When the reading or gap starts, UTC; None when that cannot be read.
        detail: For the operator.
    """

    rule: Rule
    line: int
    start: datetime | None
    detail: str


class FileReading(msgspec.Struct, frozen=True):
    """
    A reading as a file gives it.

    Attributes:
        line: Where its element starts.
        start: Seconds since 1970, UTC.
        duration_seconds: As given, which may be wrong.
        wh: As given, in Wh.
        quality: ESPI `QualityOfReading`.
    """

    line: int
    start: int
    duration_seconds: int
    wh: int
    quality: int


def validate_channel(
    readings: Sequence[FileReading], interval_seconds: int
) -> tuple[list[Interval], list[Finding]]:
    """
    Keep the valid readings of a channel, in order of time, and report the others.

    Of readings with the same start the first in the file is kept; when a later one has another
    value, nobody knows which is right, and the kept one is marked questionable (quality 10).
    """
    findings: list[Finding] = []
    kept: dict[int, FileReading] = {}
    for reading in readings:
        finding = _broken_rule(reading, interval_seconds)
        if finding is None and (first := kept.get(reading.start)) is not None:
            finding = _duplicate(reading, first)
            if reading.wh != first.wh:
                questionable = msgspec.structs.replace(first, quality=QUALITY_QUESTIONABLE)
                kept[reading.start] = questionable
        if finding is None:
            kept[reading.start] = reading
        else:
            findings.append(finding)
    findings = [_naming_twin(finding, kept) for finding in findings]
    findings.extend(_gaps(readings))
    findings.sort(key=lambda finding: finding.line)
    return [_interval(kept[start]) for start in sorted(kept)], findings


def _broken_rule(reading: FileReading, interval_seconds: int) -> Finding | None:
    rule: Rule
    if reading.duration_seconds == 0:
        rule, detail = "zero_duration", f"0 s, {reading.wh} Wh"
    elif reading.duration_seconds != interval_seconds:
        rule = "interval_size"
        detail = f"{reading.duration_seconds} s instead of {interval_seconds} s"
    elif reading.start % interval_seconds:
        rule, detail = "misaligned_start", f"not a multiple of {interval_seconds} s"
    elif reading.wh < 0:
        rule, detail = "negative_value", f"{reading.wh} Wh delivered"
    else:
        return None
    return Finding(rule, reading.line, _instant(reading.start), detail)


def _naming_twin(finding: Finding, kept: dict[int, FileReading]) -> Finding:
    """Say of a reading without duration which valid one has its start."""
    if finding.rule != "zero_duration" or finding.start is None:
        return finding
    twin = kept.get(int(finding.start.timestamp()))
    if twin is None:
        return finding
    detail = f"{finding.detail}; line {twin.line} has this start too, with {twin.wh} Wh"
    return msgspec.structs.replace(finding, detail=detail)


def _duplicate(reading: FileReading, first: FileReading) -> Finding:
    detail = f"line {first.line} has this start too, with {first.wh} Wh; here {reading.wh} Wh"
    return Finding("duplicate_start", reading.line, _instant(reading.start), detail)


def _gaps(readings: Iterable[FileReading]) -> Iterator[Finding]:
    reached: int | None = None
    for reading in sorted(readings, key=lambda reading: (reading.start, reading.line)):
        if reached is not None and reading.start > reached:
            hours = (reading.start - reached) / 3600
            yield Finding("gap", reading.line, _instant(reached), f"no readings for {hours:g} h")
        # No reading, however long it says it is, explains away more than a day.
        end = reading.start + min(max(reading.duration_seconds, 0), SECONDS_PER_DAY)
        reached = end if reached is None else max(reached, end)


def _interval(reading: FileReading) -> Interval:
    return Interval(
        start=_instant(reading.start),
        duration_seconds=reading.duration_seconds,
        wh=reading.wh,
        quality=reading.quality,
    )


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)

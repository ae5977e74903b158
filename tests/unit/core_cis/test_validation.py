from datetime import UTC, datetime

import pytest

from core_cis.domain.validation import FileReading, Finding, validate_channel

NOON = int(datetime(2025, 6, 3, 12, tzinfo=UTC).timestamp())


def hour(index: int, *, line: int = 0, seconds: int = 3600, wh: int = 500) -> FileReading:
    """Return the reading of an hour after noon, on its own line."""
    return FileReading(line or 10 + index, NOON + index * 3600, seconds, wh, 0)


def rules(findings: list[Finding]) -> list[tuple[str, int, int]]:
    """Return rule, line and hour after noon of each finding."""
    return [
        (found.rule, found.line, (int(found.start.timestamp()) - NOON) // 3600)
        for found in findings
        if found.start is not None
    ]


def test_valid_readings_are_all_kept_in_order_of_time() -> None:
    """A file may list them in any order."""
    intervals, findings = validate_channel([hour(2), hour(0), hour(1)], 3600)
    assert [interval.start.hour for interval in intervals] == [12, 13, 14]
    assert findings == []


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (hour(1, seconds=0), "zero_duration"),
        (hour(1, seconds=1800), "interval_size"),
        (hour(1, wh=-1), "negative_value"),
    ],
)
def test_a_bad_reading_is_quarantined_alone(bad: FileReading, rule: str) -> None:
    """Its neighbours stay; the finding tells rule, line and instant."""
    intervals, findings = validate_channel([hour(0), bad, hour(2)], 3600)
    assert len(intervals) == 2
    assert rules(findings)[0] == (rule, 11, 1)


def test_no_consumption_is_a_reading() -> None:
    """0 Wh is known; it is not a missing hour."""
    intervals, findings = validate_channel([hour(0), hour(1, wh=0)], 3600)
    assert ([interval.wh for interval in intervals], findings) == ([500, 0], [])


def test_a_long_reading_covers_its_time() -> None:
    """Two hours in one are one finding, not also a gap."""
    _, findings = validate_channel([hour(0), hour(1, seconds=7200), hour(3)], 3600)
    assert rules(findings) == [("interval_size", 11, 1)]


def test_a_reading_without_duration_leaves_a_gap_unless_another_has_its_start() -> None:
    """The one that shares its start is kept and named."""
    intervals, findings = validate_channel([hour(0), hour(1, seconds=0), hour(2)], 3600)
    assert rules(findings) == [("zero_duration", 11, 1), ("gap", 12, 1)]
    twin = hour(1, line=99, wh=777)
    intervals, findings = validate_channel([hour(0), hour(1, seconds=0), twin, hour(2)], 3600)
    assert rules(findings) == [("zero_duration", 11, 1)]
    assert "line 99" in findings[0].detail
    assert [interval.wh for interval in intervals] == [500, 777, 500]


def test_the_first_of_duplicates_is_kept() -> None:
    """With equal values it is as good as before; with different ones it is questionable (10)."""
    same, findings = validate_channel([hour(0), hour(0, line=50)], 3600)
    assert rules(findings) == [("duplicate_start", 50, 0)]
    assert [(interval.wh, interval.quality) for interval in same] == [(500, 0)]
    different, _ = validate_channel([hour(0), hour(0, line=50, wh=600)], 3600)
    assert [(interval.wh, interval.quality) for interval in different] == [(500, 10)]


def test_a_start_off_the_grid_is_quarantined() -> None:
    """An hour that starts at five past would straddle two prices."""
    late = FileReading(11, NOON + 3900, 3600, 500, 0)
    _, findings = validate_channel([hour(0), late], 3600)
    assert [found.rule for found in findings] == ["misaligned_start", "gap"]


def test_a_gap_tells_its_start_and_the_line_after_it() -> None:
    """Between one o'clock and three nothing was read."""
    _, findings = validate_channel([hour(0), hour(3)], 3600)
    assert rules(findings) == [("gap", 13, 1)]
    assert "2 h" in findings[0].detail


def test_no_reading_explains_more_than_a_day() -> None:
    """A year in one reading does not hide what is missing."""
    _, findings = validate_channel([hour(0, seconds=31_536_000), hour(48)], 3600)
    assert rules(findings) == [("interval_size", 10, 0), ("gap", 58, 24)]

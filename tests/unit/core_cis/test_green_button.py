import io
from datetime import UTC, datetime
from typing import BinaryIO, cast

import pytest

from core_cis.domain.green_button import FILE_BYTES_MAX, GreenButtonFeed, parse_green_button
from core_cis.errors import UnusableReadings

START = 1_748_952_000  # 2025-06-03T12:00Z


def reading(index: int, value: str = "500", duration: str = "3600", extra: str = "") -> str:
    """Return an `IntervalReading` on a line of its own."""
    return (
        f"<IntervalReading>{extra}<timePeriod><duration>{duration}</duration>"
        f"<start>{START + index * 3600}</start></timePeriod><value>{value}</value>"
        "</IntervalReading>\n"
    )


def reading_type(number: str = "07", **fields: str) -> str:
    """Return the entry of a `ReadingType`."""
    given = {
        "accumulationBehaviour": "4",
        "flowDirection": "1",
        "intervalLength": "3600",
        "powerOfTenMultiplier": "0",
        "uom": "72",
        **fields,
    }
    inside = "".join(f"<{name}>{value}</{name}>" for name, value in given.items() if value)
    return (
        f'<entry><link rel="self" href="ReadingType/{number}"/><title>Type</title>'
        f'<content><ReadingType xmlns="http://naesb.org/espi">{inside}</ReadingType></content>'
        "</entry>\n"
    )


def meter(number: str = "01", type_number: str = "07") -> str:
    """Return the entry of a `MeterReading`."""
    address = f"UsagePoint/1/MeterReading/{number}"
    return (
        f'<entry><link rel="self" href="{address}"/>'
        f'<link rel="related" href="{address}/IntervalBlock"/>'
        f'<link rel="related" href="ReadingType/{type_number}"/><title>Meter {number}</title>'
        '<content><MeterReading xmlns="http://naesb.org/espi"/></content></entry>\n'
    )


def block(readings: str, number: str = "01") -> str:
    """Return the entry of an `IntervalBlock`; its readings start on a new line."""
    up = f"UsagePoint/1/MeterReading/{number}/IntervalBlock"
    return (
        f'<entry><link rel="self" href="{up}/1"/><link rel="up" href="{up}"/><content>'
        f'<IntervalBlock xmlns="http://naesb.org/espi"><interval><duration>86400</duration>'
        f"<start>{START}</start></interval>\n{readings}</IntervalBlock></content></entry>\n"
    )


def parse(*entries: str) -> GreenButtonFeed:
    """Read a feed; its first line is the root's."""
    text = '<feed xmlns="http://www.w3.org/2005/Atom">\n' + "".join(entries) + "</feed>"
    return parse_green_button(io.BytesIO(text.encode()))


def refused(data: bytes) -> UnusableReadings:
    """Return the refusal of a whole file."""
    with pytest.raises(UnusableReadings) as found:
        parse_green_button(io.BytesIO(data))
    return found.value


def test_readings_are_found() -> None:
    """Starts are UTC, values Wh, a missing quality is valid (0)."""
    marked = "<ReadingQuality><quality>8</quality></ReadingQuality><cost>7</cost>"
    feed = parse(meter(), reading_type(), block(reading(0) + reading(1, "700", extra=marked)))
    (channel,) = feed.channels
    assert (channel.title, channel.interval_seconds, channel.findings) == ("Meter 01", 3600, [])
    assert [(each.wh, each.quality) for each in channel.intervals] == [(500, 0), (700, 8)]
    assert channel.intervals[0].start == datetime(2025, 6, 3, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("power", "value", "wh"), [("3", "2", 2000), ("-3", "2500", 3), ("-3", "1499", 1)]
)
def test_values_are_scaled_to_wh(power: str, value: str, wh: int) -> None:
    """Thousands and thousandths; half a Wh rounds away from zero."""
    feed = parse(meter(), reading_type(powerOfTenMultiplier=power), block(reading(0, value)))
    assert [each.wh for each in feed.channels[0].intervals] == [wh]


def test_bad_readings_are_reported_by_line() -> None:
    """The type is on line 3, the block on line 4, its readings from line 5 on."""
    readings = reading(0) + reading(1, "1.5") + reading(2, duration="7200") + reading(4)
    feed = parse(meter(), reading_type(), block(readings))
    findings = feed.channels[0].findings
    assert [(found.rule, found.line) for found in findings] == [
        ("malformed", 6),
        ("interval_size", 7),
        ("gap", 7),
    ]
    assert len(feed.channels[0].intervals) == 2


@pytest.mark.parametrize("value", ["", "1e3", "0x10", "१", "9" * 16, "1000000000001"])
def test_values_that_are_no_energy_are_malformed(value: str) -> None:
    """Nothing, other notations, other digits, more than a power station."""
    feed = parse(meter(), reading_type(), block(reading(0) + reading(1, value)))
    assert [found.rule for found in feed.channels[0].findings] == ["malformed"]


def test_a_quality_that_is_no_code_is_malformed() -> None:
    """Codes have at most two digits."""
    for quality in ("-1", "100", "good"):
        marked = f"<ReadingQuality><quality>{quality}</quality></ReadingQuality>"
        feed = parse(meter(), reading_type(), block(reading(0) + reading(1, extra=marked)))
        assert [found.rule for found in feed.channels[0].findings] == ["malformed"]


def test_a_start_that_is_no_number_is_malformed() -> None:
    """It has no instant to report, only a line."""
    broken = reading(1).replace(str(START + 3600), "noon")
    feed = parse(meter(), reading_type(), block(reading(0) + broken))
    assert [(found.rule, found.line, found.start) for found in feed.channels[0].findings] == [
        ("malformed", 6, None)
    ]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"uom": "169"}, "unit"),
        ({"uom": ""}, "unit"),
        ({"flowDirection": "19"}, "flow_direction"),
        ({"accumulationBehaviour": "3"}, "accumulation"),
        ({"powerOfTenMultiplier": "99"}, "power_of_ten"),
        ({"intervalLength": "86400"}, "interval_length"),
    ],
)
def test_other_kinds_of_readings_are_refused_by_name(fields: dict[str, str], reason: str) -> None:
    """Gas, export, register totals and daily values are not delivered interval energy."""
    with pytest.raises(UnusableReadings) as found:
        parse(meter(), reading_type(**fields), block(reading(0)))
    assert found.value.reason == reason


def test_one_meter_of_two_can_be_used() -> None:
    """Each meter reading has its own type and blocks; the other is refused beside it."""
    feed = parse(
        block(reading(0, "900"), "02"),
        reading_type("07"),
        reading_type("08", uom="169"),
        meter("01", "07"),
        meter("02", "08"),
        block(reading(0, "100"), "01"),
    )
    assert [(each.title, each.intervals[0].wh) for each in feed.channels] == [("Meter 01", 100)]
    assert [(each.title, each.reason) for each in feed.refused] == [("Meter 02", "unit")]


def test_the_usual_length_stands_in_for_a_missing_one() -> None:
    """Without `intervalLength` most readings tell."""
    readings = reading(0) + reading(1) + reading(2, duration="1800")
    feed = parse(meter(), reading_type(intervalLength=""), block(readings))
    assert feed.channels[0].interval_seconds == 3600
    assert [found.rule for found in feed.channels[0].findings] == ["interval_size"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_xml"),
        (b"<feed><entry></feed>", "not_xml"),
        (b"\xff\xfe\x00", "not_xml"),
        (b"<feed/>", "no_readings"),
        (b'<?xml version="1.0"?><!DOCTYPE feed><feed/>', "document_type"),
        (
            b'<!DOCTYPE f [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><f>&b;</f>',
            "document_type",
        ),
        (b'<!DOCTYPE f [<!ENTITY x SYSTEM "file:///etc/hostname">]><f>&x;</f>', "document_type"),
        (b'<?xml version="1.0" encoding="hex"?><feed/>', "not_xml"),
        (b'<?xml version="1.0" encoding="nonsense"?><feed/>', "not_xml"),
        (b"<a>" * 33 + b"</a>" * 33, "too_much"),
        (
            b'<feed xmlns="http://www.w3.org/2005/Atom">' + b"<entry/>" * 50_001 + b"</feed>",
            "too_much",
        ),
        (b"<a>" + b"x" * 10_001 + b"</a>", "too_much"),
    ],
)
def test_what_is_no_feed_is_refused(data: bytes, reason: str) -> None:
    """Entity bombs, outside entities, deep nesting and broken XML never get further."""
    assert refused(data).reason == reason


def test_a_broken_file_tells_its_line() -> None:
    """The operator finds the place."""
    error = refused(b"<feed>\n\n<entry>\n</feed>")
    assert error.line == 4
    assert str(error).startswith("line 4: ")


def test_an_endless_file_is_cut_off() -> None:
    """Reading stops at 100 MB, however much there is to come."""

    class Endless(io.RawIOBase):
        sent = 0

        def read(self, size: int = -1) -> bytes:
            start = b"" if self.sent else b"<feed>"
            self.sent += size
            return start + b"<!--" + b" " * (size - len(start) - 7) + b"-->"

    stream = Endless()
    with pytest.raises(UnusableReadings, match="larger than") as found:
        parse_green_button(cast("BinaryIO", stream))
    assert found.value.reason == "too_much"
    assert stream.sent <= FILE_BYTES_MAX + 200_000

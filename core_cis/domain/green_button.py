"""
Green Button files: interval readings in ESPI Atom feeds (NAESB REQ.21).

The parser streams, so that memory grows with the readings and not with the markup, and is guarded
(defusedxml): files come from strangers. Document types and entities are refused, so are files over
100 MB, deep nesting and endless texts. A reading that breaks a rule is quarantined and reported
with its line; a meter reading in something other than delivered Wh is refused by name.
"""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import BinaryIO, Literal
from xml.sax import SAXException, SAXParseException

import msgspec
from defusedxml.common import DefusedXmlException
from defusedxml.expatreader import create_parser

from core_cis.domain.espi_feed import EspiHandler, FeedEntry, TooMuch
from core_cis.domain.metering import INTERVAL_SECONDS, QUALITY_VALID, Interval
from core_cis.domain.money import round_half_away
from core_cis.domain.validation import FileReading, Finding, validate_channel
from core_cis.errors import UnusableReadings

FILE_BYTES_MAX = 100_000_000

_CHUNK_BYTES = 65_536
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,15}\Z")
_INSTANT_MAX = 32_503_680_000
_POWERS_OF_TEN = range(-9, 7)
# More than a gigawatt for a thousand hours is no home; nor is a quality code of three digits.
_WH_MAX = 10**12
_QUALITIES = range(100)
_UNIT_WH = "72"
_DELIVERED = "1"
_DELTA = "4"

RefusalReason = Literal[
    "no_reading_type",
    "unit",
    "flow_direction",
    "accumulation",
    "power_of_ten",
    "interval_length",
    "no_readings",
]


class Channel(msgspec.Struct, frozen=True):
    """
    The readings of one meter reading of the file.

    Attributes:
        title: As the file names it.
        address: Its `self` link.
        interval_seconds: The length of each interval.
        intervals: The valid ones, oldest first, without duplicates.
        findings: What was quarantined or is missing, by line.
    """

    title: str
    address: str
    interval_seconds: int
    intervals: list[Interval]
    findings: list[Finding]


class Refusal(msgspec.Struct, frozen=True):
    """A meter reading that cannot be used as a whole, and why."""

    title: str
    reason: RefusalReason
    detail: str


class GreenButtonFeed(msgspec.Struct, frozen=True):
    """
    What a Green Button file gives.

    Attributes:
        channels: At least one.
        refused: The meter readings that are something else.
    """

    channels: list[Channel]
    refused: list[Refusal]


def parse_green_button(stream: BinaryIO) -> GreenButtonFeed:
    """
    Read the delivered electricity of a Green Button file.

    Args:
        stream: The XML, at most 100 MB.

    Raises:
        UnusableReadings: It is no XML (`not_xml`), carries a document type (`document_type`), goes
            over a bound (`too_much`), or has no channel that can be used: then the reason of the
            first refusal.
    """
    entries = _read_entries(stream)
    types = {
        entry.address: entry.reading_type for entry in entries if entry.reading_type is not None
    }
    channels: list[Channel] = []
    refused: list[Refusal] = []
    for meter, readings in _channels_of(entries):
        found = _channel(meter, readings, _type_of(meter, types))
        if isinstance(found, Channel):
            channels.append(found)
        else:
            refused.append(found)
    if not channels:
        first = refused[0] if refused else Refusal("", "no_readings", "no interval readings")
        raise UnusableReadings(first.reason, first.detail)
    return GreenButtonFeed(channels, refused)


def _read_entries(stream: BinaryIO) -> list[FeedEntry]:
    handler = EspiHandler()
    parser = create_parser(forbid_dtd=True)
    # A parser that is fed does not introduce itself; the handler needs it for its lines.
    handler.setDocumentLocator(parser)
    parser.setFeature("http://xml.org/sax/features/namespaces", True)  # noqa: FBT003 (SAX)
    parser.setContentHandler(handler)
    try:
        for chunk in _chunks(stream):
            parser.feed(chunk)
        parser.close()
    except DefusedXmlException as error:
        detail = "document types and entities are not accepted"
        raise UnusableReadings("document_type", detail, handler.line) from error
    except TooMuch as error:
        raise UnusableReadings("too_much", str(error), handler.line) from error
    except SAXParseException as error:
        line = error.getLineNumber() or 0
        raise UnusableReadings("not_xml", error.getMessage(), line) from error
    except (SAXException, ValueError, LookupError) as error:
        # The last two: an encoding that does not exist, or is none of text.
        raise UnusableReadings("not_xml", str(error), handler.line) from error
    return handler.entries


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    size = 0
    while chunk := stream.read(_CHUNK_BYTES):
        size += len(chunk)
        if size > FILE_BYTES_MAX:
            raise TooMuch(f"the file is larger than {FILE_BYTES_MAX} bytes")
        yield chunk
    if size == 0:
        raise UnusableReadings("not_xml", "the file is empty")


def _channels_of(entries: list[FeedEntry]) -> list[tuple[FeedEntry, list[FeedEntry]]]:
    """
    Each meter reading with its interval blocks.

    Blocks name the collection they are in as `up`, which the meter reading names as `related`. In a
    file with a single meter reading all blocks are its own, however they are linked.
    """
    meters = [entry for entry in entries if entry.is_meter_reading]
    blocks = [entry for entry in entries if entry.readings]
    if len(meters) <= 1:
        meter = meters[0] if meters else FeedEntry()
        return [(meter, blocks)] if blocks or meters else []
    return [
        (
            meter,
            [
                block
                for block in blocks
                if block.parent in meter.related
                or (meter.address and block.address.startswith(f"{meter.address}/"))
            ],
        )
        for meter in meters
    ]


def _type_of(meter: FeedEntry, types: dict[str, dict[str, str]]) -> dict[str, str] | None:
    if len(types) == 1:
        return next(iter(types.values()))
    return next((types[address] for address in meter.related if address in types), None)


def _channel(
    meter: FeedEntry, blocks: list[FeedEntry], reading_type: dict[str, str] | None
) -> Channel | Refusal:
    refusal = _refuse_type(meter, reading_type)
    if refusal is not None or reading_type is None:
        return refusal or Refusal(meter.title, "no_reading_type", "no ReadingType is linked")
    power = int(reading_type.get("powerOfTenMultiplier") or 0)
    readings, malformed = _readings(blocks, power)
    if not readings:
        return Refusal(meter.title, "no_readings", "no interval reading that can be read")
    length = _interval_seconds(reading_type, readings)
    if length not in INTERVAL_SECONDS:
        detail = f"intervals of {length} s; an interval divides an hour into whole parts"
        return Refusal(meter.title, "interval_length", detail)
    intervals, findings = validate_channel(readings, length)
    findings = sorted([*malformed, *findings], key=lambda finding: finding.line)
    return Channel(meter.title, meter.address, length, intervals, findings)


def _refuse_type(meter: FeedEntry, reading_type: dict[str, str] | None) -> Refusal | None:
    """Why a meter reading is not energy delivered to the customer; None when it is."""
    if reading_type is None:
        return Refusal(meter.title, "no_reading_type", "no ReadingType is linked")
    unit = reading_type.get("uom", "")
    if unit != _UNIT_WH:
        return Refusal(meter.title, "unit", f"uom {unit or 'missing'}; only 72 (Wh) is read")
    flow = reading_type.get("flowDirection") or _DELIVERED
    if flow != _DELIVERED:
        return Refusal(meter.title, "flow_direction", f"flowDirection {flow}; only 1 (delivered)")
    accumulation = reading_type.get("accumulationBehaviour") or _DELTA
    if accumulation != _DELTA:
        detail = f"accumulationBehaviour {accumulation}; only 4 (delta)"
        return Refusal(meter.title, "accumulation", detail)
    power = reading_type.get("powerOfTenMultiplier") or "0"
    if not _WHOLE_NUMBER.match(power) or int(power) not in _POWERS_OF_TEN:
        return Refusal(meter.title, "power_of_ten", f"powerOfTenMultiplier {power}")
    return None


def _readings(blocks: list[FeedEntry], power: int) -> tuple[list[FileReading], list[Finding]]:
    readings: list[FileReading] = []
    malformed: list[Finding] = []
    for raw in (raw for block in blocks for raw in block.readings):
        start, duration = _number(raw.start), _number(raw.duration)
        value, quality = _number(raw.value), _number(raw.quality or str(QUALITY_VALID))
        if start is None or not 0 <= start < _INSTANT_MAX:
            malformed.append(Finding("malformed", raw.line, None, f"start {raw.start!r}"))
            continue
        wh = None if value is None else _scaled(value, power)
        if (
            duration is None
            or duration < 0
            or wh is None
            or abs(wh) > _WH_MAX
            or quality not in _QUALITIES
        ):
            detail = f"duration {raw.duration!r}, value {raw.value!r}, quality {raw.quality!r}"
            instant = datetime.fromtimestamp(start, UTC)
            malformed.append(Finding("malformed", raw.line, instant, detail))
        else:
            readings.append(FileReading(raw.line, start, duration, wh, quality or QUALITY_VALID))
    return readings, malformed


def _number(text: str) -> int | None:
    return int(text) if _WHOLE_NUMBER.match(text) else None


def _scaled(value: int, power: int) -> int:
    """A value times a power of ten, in whole Wh, halves away from zero."""
    if power >= 0:
        return int(value * 10**power)
    return round_half_away(Decimal(value).scaleb(power))


def _interval_seconds(reading_type: dict[str, str], readings: list[FileReading]) -> int:
    """What the type says, else the length that most readings have."""
    given = _number(reading_type.get("intervalLength", ""))
    if given:
        return given
    return Counter(reading.duration_seconds for reading in readings).most_common(1)[0][0]

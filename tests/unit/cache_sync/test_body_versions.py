"""Two versions of a body: both are read, either is written, and what they say is the same as far as it can be."""

import json
from datetime import date

import msgspec
import pytest

from cache_sync.body_versions import (
    UsageBody1,
    decode_version,
    encode_version,
    parse_versions,
    version_decoder,
    write_versions,
)
from cache_sync.documents import (
    KNOWN_VERSIONS,
    USAGE,
    ArchiveBody,
    UsageBody,
    UsageDay,
    encode_body,
)
from cache_sync.errors import UnknownVersion

OCTOBER = date(2026, 10, 1)
MEASURED = UsageDay(day=OCTOBER, usage_wh=6, estimated_wh=0, complete=True, hours=[1, 2, 3])
MIXED = UsageDay(
    day=OCTOBER,
    usage_wh=6,
    estimated_wh=2,
    complete=False,
    hours=[1, None, 3, None],
    estimated_hours={1: 2},
)
GUESSED = UsageDay(
    day=OCTOBER,
    usage_wh=6,
    estimated_wh=6,
    complete=True,
    hours=[None, None],
    estimated_hours={0: 2, 1: 4},
)
DAILY = UsageDay(day=OCTOBER, usage_wh=9, estimated_wh=0, complete=True)


def month(*days: UsageDay) -> UsageBody:
    """Make a month of days."""
    return UsageBody(
        account_id="a", service_point_id="sp", month="2026-10", timezone="UTC", days=list(days)
    )


def through(version: int, body: UsageBody) -> UsageBody:
    """Write and read a body in a version."""
    return decode_version(UsageBody, encode_version(body, version), version)


def test_the_newest_version_says_everything() -> None:
    """What was written is read; a day without estimates costs no byte for them."""
    body = month(MEASURED, MIXED, GUESSED, DAILY)
    assert through(KNOWN_VERSIONS[USAGE], body) == body
    assert b"estimated_hours" not in encode_body(month(MEASURED, DAILY))


def test_the_first_version_has_all_hours_in_one_list() -> None:
    """As the release before wrote it, to the byte: its readers find what they know and nothing else."""
    written = encode_version(month(MIXED), 1)
    assert json.loads(written) == {
        "version": 1,
        "account_id": "a",
        "service_point_id": "sp",
        "month": "2026-10",
        "timezone": "UTC",
        "days": [
            {
                "day": "2026-10-01",
                "usage_wh": 6,
                "estimated_wh": 2,
                "complete": False,
                "hours": [1, 2, 3, None],
            }
        ],
    }
    assert msgspec.json.encode(msgspec.json.decode(written, type=UsageBody1)) == written


def test_the_first_version_is_read_without_taking_an_estimate_for_a_measurement() -> None:
    """A measured day and a wholly estimated one lose nothing; of a mixed one any hour may have been estimated."""
    read = through(1, month(MEASURED, MIXED, GUESSED, DAILY)).days
    assert (read[0], read[2], read[3]) == (MEASURED, GUESSED, DAILY)
    assert read[1].hours == [None] * 4
    assert read[1].estimated_hours == {0: 1, 1: 2, 2: 3}
    assert read[1].all_hours == MIXED.all_hours
    assert (read[1].usage_wh, read[1].estimated_wh) == (6, 2)


def test_a_version_of_a_later_release_is_neither_read_nor_written() -> None:
    """It is named; the bytes are not looked at."""
    later = KNOWN_VERSIONS[USAGE] + 1
    with pytest.raises(UnknownVersion, match="usage"):
        decode_version(UsageBody, b"not even JSON", later)
    for version in (0, later):
        with pytest.raises(UnknownVersion, match="usage"):
            encode_version(month(), version)


def test_kinds_with_one_version_are_read_and_written_as_ever() -> None:
    """And a field of a later release is ignored."""
    body = ArchiveBody(account_id="a", statements=[])
    assert encode_version(body, 1) == encode_body(body)
    read = version_decoder(ArchiveBody)
    assert read(encode_body(body)[:-1] + b',"later": {"more": 1}}', 1) == body


def test_what_a_node_reads_is_told_and_understood() -> None:
    """What is no version is left out, however it came there; there is a bound."""
    assert parse_versions(write_versions(KNOWN_VERSIONS)) == KNOWN_VERSIONS
    assert parse_versions("") == {}
    odd = "usage.2,usage,.3,account.x,a.-1,a.1e3,b.12345678901," + "k" * 65 + ".1,new.kind.7"
    assert parse_versions(odd) == {"usage": 2, "new.kind": 7}
    assert len(parse_versions(",".join(f"k{number}.1" for number in range(1000)))) <= 64

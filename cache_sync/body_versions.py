"""
The versions of bodies: what a later release writes otherwise, read in every version and written in the one asked for.

A version is raised only where a reader of the one before would show something else than the core means; a field that
may be ignored needs none. Whoever reads gets the newest form, however old the document is.

- ``usage`` 2: hours that were estimated stand apart from those that were measured. Version 1 had them in one list and
  only told how much of the day was estimated.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from typing import TypeVar

import msgspec

from cache_sync.documents import (
    BODY_TYPES,
    KNOWN_VERSIONS,
    USAGE,
    Body,
    UsageBody,
    UsageDay,
    encode_body,
)
from cache_sync.errors import UnknownVersion
from cache_sync.packed_bodies import unpack_body

FIRST_VERSION = 1
KINDS_MAX = 64
KIND_CHARACTERS_MAX = 64
_VERSION = re.compile(r"[0-9]{1,9}", re.ASCII)

KIND_OF: Mapping[type[object], str] = {body_type: kind for kind, body_type in BODY_TYPES.items()}

_BodyT = TypeVar("_BodyT", bound=Body)


class UsageDay1(msgspec.Struct, frozen=True, kw_only=True):
    """A day in version 1 of usage: ``hours`` are measured or estimated, and nothing says which."""

    day: date
    usage_wh: int
    estimated_wh: int
    complete: bool
    hours: list[int | None] = []


class UsageBody1(msgspec.Struct, frozen=True, kw_only=True):
    """Version 1 of usage."""

    version: int = 1
    account_id: str
    service_point_id: str
    month: str
    timezone: str
    days: list[UsageDay1]


def usage_from_1(old: UsageBody1) -> UsageBody:
    """
    Read version 1 of usage.

    On a day of which only a part was estimated any hour may have been: all of them count as such.
    """
    return UsageBody(
        account_id=old.account_id,
        service_point_id=old.service_point_id,
        month=old.month,
        timezone=old.timezone,
        days=[_day_from_1(day) for day in old.days],
    )


def _day_from_1(old: UsageDay1) -> UsageDay:
    estimated = old.estimated_wh > 0
    return UsageDay(
        day=old.day,
        usage_wh=old.usage_wh,
        estimated_wh=old.estimated_wh,
        complete=old.complete,
        hours=[None] * len(old.hours) if estimated else old.hours,
        estimated_hours={
            hour: value for hour, value in enumerate(old.hours) if value is not None and estimated
        },
    )


def usage_to_1(body: UsageBody) -> UsageBody1:
    """Write version 1 of usage: what was measured and what was estimated in one list."""
    return UsageBody1(
        account_id=body.account_id,
        service_point_id=body.service_point_id,
        month=body.month,
        timezone=body.timezone,
        days=[
            UsageDay1(
                day=day.day,
                usage_wh=day.usage_wh,
                estimated_wh=day.estimated_wh,
                complete=day.complete,
                hours=day.all_hours,
            )
            for day in body.days
        ],
    )


_decode_usage_1 = msgspec.json.Decoder(UsageBody1).decode

_OLDER: Mapping[tuple[str, int], Callable[[bytes], Body]] = {
    (USAGE, 1): lambda content: usage_from_1(_decode_usage_1(content)),
}
_DECODERS: Mapping[type[object], Callable[[bytes], Body]] = {
    body_type: msgspec.json.Decoder(body_type).decode for body_type in BODY_TYPES.values()
}


def decode_version(body_type: type[_BodyT], content: bytes, version: int) -> _BodyT:
    """
    Decode a body that is stored in some version, packed or not, as the newest.

    Raises:
        UnknownVersion: It is of a later release.
        UnreadableBody: It does not unpack.
        msgspec.DecodeError: The bytes are not what kind and version say.
    """
    kind = KIND_OF[body_type]
    if version > KNOWN_VERSIONS[kind]:
        raise UnknownVersion(kind, version)
    body = _OLDER.get((kind, version), _DECODERS[body_type])(unpack_body(content))
    assert isinstance(body, body_type)
    return body


def version_decoder(body_type: type[_BodyT]) -> Callable[[bytes, int], _BodyT]:
    """Make what decodes the bodies of one type: see `decode_version`."""
    return partial(decode_version, body_type)


def encode_version(body: Body, version: int) -> bytes:
    """
    Encode a body in a version for which this release has a way to write it.

    Raises:
        UnknownVersion: It has none.
    """
    kind = KIND_OF[type(body)]
    if version == KNOWN_VERSIONS[kind]:
        return encode_body(body)
    if isinstance(body, UsageBody) and version == FIRST_VERSION:
        return msgspec.json.encode(usage_to_1(body))
    raise UnknownVersion(kind, version)


def write_versions(versions: Mapping[str, int]) -> str:
    """Write the newest version of each kind that a node reads as one text, as it is told to the core."""
    return ",".join(f"{kind}.{version}" for kind, version in sorted(versions.items()))


def parse_versions(text: str) -> dict[str, int]:
    """Read what `write_versions` wrote; what is none is left out."""
    found = {}
    for part in text.split(",", KINDS_MAX)[:KINDS_MAX]:
        kind, _, version = part.rpartition(".")
        if 0 < len(kind) <= KIND_CHARACTERS_MAX and _VERSION.fullmatch(version):
            found[kind] = int(version)
    return found

"""
Sums of what a journal keeps no longer, and a digest that tells whether two sides have summed up the same. Pure.

The digest of many is the sum of the digests of each: it does not depend on their order, and a part can be taken away.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date
from typing import Final, Literal

import msgspec

from failover.intents import Intent

_BYTES: Final = 16
_MODULUS: Final = 1 << (8 * _BYTES)

PrunedType = Literal["payment", "message"]


class PrunedSums(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was pruned of one day's intents in one final state.

    ``day`` is that of their acceptance in the utility's time zone. ``state`` is what the edge had been told, or
    ``void``. ``cents`` sums amounts, ``digest`` is `write_digest` of all. Copies have their ``writer`` and the
    ``incarnation`` of its journal; of an edge's own both are empty.
    """

    day: date
    type: PrunedType
    state: str
    count: int
    cents: int
    digest: str
    writer: str = ""
    incarnation: str = ""


class PrunedPart(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a journal keeps no longer.

    ``mark`` is that of the newest backup by which something was dropped. ``ordinals`` are the own ones that were, as
    ranges (first, last), in order; of copies there are none.
    """

    mark: str
    ordinals: list[tuple[int, int]] = []
    sums: list[PrunedSums] = []


def gaps(
    present: Collection[int],
    ranges: Sequence[tuple[int, int]],
    *,
    after: int,
    upto: int,
    limit: int,
) -> Iterator[int]:
    """Name numbers behind ``after`` and up to ``upto`` that are neither there nor in ranges; at most ``limit``."""
    taken = sorted([*((number, number) for number in present), *ranges])
    named, expected = 0, after + 1
    for first, last in [*taken, (upto + 1, upto + 1)]:
        while expected < min(first, upto + 1) and named < limit:
            yield expected
            named, expected = named + 1, expected + 1
        expected = max(expected, last + 1)


def is_within(number: int, ranges: Sequence[tuple[int, int]]) -> bool:
    """Tell whether a number is in one of some ranges (first, last), which are in order and apart from each other."""
    at = bisect_right(ranges, number, key=lambda each: each[0])
    return at > 0 and ranges[at - 1][1] >= number


def digest_of(intent: Intent) -> int:
    """Hash what must be the same on both sides: the fingerprint covers account, type, amount, method or body."""
    said = f"{intent.intent_id}\n{intent.fingerprint}\n{intent.amount_cents}"
    return int.from_bytes(hashlib.sha256(said.encode()).digest()[:_BYTES])


def add_digests(digests: Iterable[int]) -> int:
    """Return the digest of many."""
    return sum(digests) % _MODULUS


def missing_digest(whole: int, part: int) -> int:
    """Return the digest of what ``part`` lacks of ``whole``."""
    return (whole - part) % _MODULUS


def write_digest(digest: int) -> str:
    """Write a digest as text (hex)."""
    return f"{digest:0{2 * _BYTES}x}"


def read_digest(text: str) -> int:
    """Read what `write_digest` wrote."""
    return int(text, 16)

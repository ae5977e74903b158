"""
Sets of accounts and payments that a node may tell others without naming one: keyed hashes in a few bytes.

A set may say yes to what was never put in, seldom, and never no to what was. Without the fleet's key nobody can ask it.
"""

import hashlib
import hmac
from collections.abc import Collection, Iterable, Iterator
from typing import Final

BYTES_MIN: Final = 64
BYTES_MAX: Final = 32 * 1024
BITS_FOR_EACH: Final = 16
"""With four places for each mark, one question in some four hundred is answered with a wrong yes."""

_PLACES: Final = 4
_PURPOSE: Final = b"marks of what waits"
_MARK_BYTES: Final = 8
_HALF: Final = 32


class Marker:
    """
    Makes the marks of one fleet.

    Args:
        fleet_key: A key that all edges of the fleet share.
    """

    def __init__(self, fleet_key: bytes) -> None:
        self._key = hmac.digest(fleet_key, _PURPOSE, "sha256")

    def account(self, account_id: str, number: int) -> int:
        """Mark that an account has at least ``number`` payments in the set."""
        return self._mark(b"account", account_id.encode(), str(number).encode())

    def payment(self, account_id: str, payment_id: str) -> int:
        """Mark one payment of an account."""
        return self._mark(b"payment", account_id.encode(), payment_id.encode())

    def _mark(self, *parts: bytes) -> int:
        told = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        digest = hashlib.blake2b(told, key=self._key, digest_size=_MARK_BYTES).digest()
        return int.from_bytes(digest, "big")


def pack_marks(marks: Collection[int]) -> bytes:
    """Put marks into a set of at most `BYTES_MAX`, however many they are: more only make wrong yeses likelier."""
    size = BYTES_MIN
    while size < BYTES_MAX and size * 8 < len(marks) * BITS_FOR_EACH:
        size *= 2
    packed = bytearray(size)
    for place in _places(marks, size * 8):
        packed[place >> 3] |= 1 << (place & 7)
    return bytes(packed)


def is_marked(packed: bytes, mark: int) -> bool:
    """Tell whether a mark is in a set, or may be."""
    return all(
        packed[place >> 3] & (1 << (place & 7)) for place in _places((mark,), len(packed) * 8)
    )


def is_packed(packed: bytes) -> bool:
    """Tell whether bytes from elsewhere are such a set."""
    size = len(packed)
    return BYTES_MIN <= size <= BYTES_MAX and size & (size - 1) == 0


def _places(marks: Iterable[int], bits: int) -> Iterator[int]:
    for mark in marks:
        first, step = mark >> _HALF, mark | 1
        for number in range(_PLACES):
            yield (first + number * step) & (bits - 1)

"""
Bodies as they are stored and sent: their JSON text, packed where that makes it shorter.

A packed body is the byte 1, the number of the dictionary it was packed with (`body_dictionaries`, 0 for none), and a
zstd frame without magic bytes that tells the text's length. Whatever begins with another byte is text as it stands, as
releases before this stored all of it. The core packs when it publishes; from there to every disk, stream and cache the
same bytes are copied and hashed, and only who shows a document unpacks it, to the byte what the core committed.

Nobody unpacks more than `BODY_BYTES_MAX`: the length is read before a byte is unpacked.
"""

import threading
from typing import Final, NamedTuple

import zstandard

from cache_sync.body_dictionaries import (
    NO_DICTIONARY,
    WRITTEN_WITH,
    knows_dictionary,
    load_dictionary,
)
from cache_sync.documents import ACCOUNT, CREDENTIAL, MESSAGE, PAYMENT
from cache_sync.errors import UnreadableBody

BODY_BYTES_MAX: Final = 1024 * 1024
"""How long a body's text may be: some hundred times the longest of an ordinary account."""

_PACKED: Final = 1
_HEADER_BYTES: Final = 2
# The longest header of a zstd frame has 18 bytes (RFC 8878, section 3.1.1.1), four of them magic.
_FACTS_BYTES: Final = _HEADER_BYTES + 14
# What changes with every payment is packed fast; what is written once and kept, harder. Matches of three or four bytes
# cost more than they save in texts that are half digits.
_FAST: Final = frozenset({ACCOUNT, CREDENTIAL, MESSAGE, PAYMENT})
_FAST_LEVEL, _FAST_MATCH = 6, 5
_HARD_LEVEL, _HARD_MATCH = 9, 6


class BodyFacts(NamedTuple):
    """What a stored body says of itself: the number of its dictionary, and how long its text is."""

    dictionary: int
    text_bytes: int


class _Contexts(threading.local):
    """A thread's own (un)packers: one must not be used by two threads at a time."""

    def __init__(self) -> None:
        self.packers: dict[str, zstandard.ZstdCompressor] = {}
        self.unpackers: dict[int, zstandard.ZstdDecompressor] = {}


_contexts = _Contexts()


def pack_body(kind: str, text: bytes) -> bytes:
    """Return a body of a kind as it is stored and sent."""
    number = WRITTEN_WITH.get(kind, NO_DICTIONARY)
    packer = _contexts.packers.get(kind)
    if packer is None:
        packer = _contexts.packers[kind] = _new_packer(kind, number)
    packed = bytes((_PACKED, number)) + packer.compress(text)
    # Text that looks packed must not stand as it is.
    return packed if len(packed) < len(text) or text[:1] == bytes((_PACKED,)) else text


def unpack_body(stored: bytes) -> bytes:
    """
    Return the text of a stored body, to the byte what the core committed.

    Raises:
        UnreadableBody: It was packed with a dictionary of another release, is too long, or is damaged.
    """
    if stored[:1] != b"\x01":
        return stored
    facts = read_facts(stored)
    if not knows_dictionary(facts.dictionary):
        raise UnreadableBody(
            f"a body is packed with dictionary {facts.dictionary}, of a later release"
        )
    if facts.text_bytes > BODY_BYTES_MAX:
        raise UnreadableBody(f"a body says that it is {facts.text_bytes} bytes long")
    unpacker = _contexts.unpackers.get(facts.dictionary)
    if unpacker is None:
        unpacker = _contexts.unpackers[facts.dictionary] = _new_unpacker(facts.dictionary)
    try:
        return unpacker.decompress(stored[_HEADER_BYTES:], allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise UnreadableBody("a body does not unpack") from error


def read_facts(stored: bytes) -> BodyFacts:
    """
    Read what a stored body says of itself; unpacks nothing.

    Raises:
        UnreadableBody: It is packed, and does not say how long it is.
    """
    if stored[:1] != b"\x01":
        return BodyFacts(NO_DICTIONARY, len(stored))
    try:
        frame = zstandard.get_frame_parameters(
            stored[_HEADER_BYTES:_FACTS_BYTES], format=zstandard.FORMAT_ZSTD1_MAGICLESS
        )
    except zstandard.ZstdError as error:
        raise UnreadableBody("a body is packed in no known way") from error
    if frame.content_size == zstandard.CONTENTSIZE_UNKNOWN:
        raise UnreadableBody("a body does not say how long it is")
    return BodyFacts(stored[1], frame.content_size)


def _new_packer(kind: str, number: int) -> zstandard.ZstdCompressor:
    level, match = (_FAST_LEVEL, _FAST_MATCH) if kind in _FAST else (_HARD_LEVEL, _HARD_MATCH)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        min_match=match,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=True,
        write_dict_id=False,
    )
    dictionary = load_dictionary(number) if number else None
    return zstandard.ZstdCompressor(compression_params=parameters, dict_data=dictionary)


def _new_unpacker(number: int) -> zstandard.ZstdDecompressor:
    dictionary = load_dictionary(number) if number else None
    return zstandard.ZstdDecompressor(dict_data=dictionary, format=zstandard.FORMAT_ZSTD1_MAGICLESS)

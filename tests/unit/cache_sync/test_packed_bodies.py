"""Bodies lie packed and come out to the byte; what cannot be unpacked is named, and costs no memory."""

import concurrent.futures
import tracemalloc
from random import Random

import pytest
import zstandard

from cache_sync.body_dictionaries import WRITTEN_WITH
from cache_sync.documents import PAYMENT, STATEMENT
from cache_sync.errors import UnreadableBody
from cache_sync.packed_bodies import (
    BODY_BYTES_MAX,
    BodyFacts,
    pack_body,
    read_facts,
    unpack_body,
)
from chaos.dictionaries.samples import sample_bodies


@pytest.mark.parametrize("kind", sorted(WRITTEN_WITH))
def test_every_kind_is_packed_and_comes_out_to_the_byte(kind: str) -> None:
    """A body of each kind takes little more than half of its text at most, and says how long that is."""
    for text in sample_bodies(kind, 50):
        stored = pack_body(kind, text)
        assert unpack_body(stored) == text
        assert len(stored) < 0.6 * len(text)
        assert read_facts(stored) == BodyFacts(WRITTEN_WITH[kind], len(text))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b'{"version":1, "of_a_later_release": [null, 1.0, "\\u00e9"],  "x":"\xc3\xa9"}',
        b"\x01",
        b"\x01\x04 looks packed",
        Random(1).randbytes(1000),
        b"\x01" + Random(2).randbytes(1000),
        b" " * BODY_BYTES_MAX,
    ],
    ids=["empty", "tiny", "unknown", "one", "looks", "noise", "both", "longest"],
)
@pytest.mark.parametrize("kind", [PAYMENT, "a_kind_of_a_later_release"])
def test_any_bytes_come_out_as_they_went_in(kind: str, text: bytes) -> None:
    """Unknown fields, odd spacing and what is no JSON at all survive; what packing makes longer is left as it is."""
    stored = pack_body(kind, text)
    assert unpack_body(stored) == text
    assert len(stored) <= len(text) or text[:1] == b"\x01"


def test_packing_is_stable() -> None:
    """The same text becomes the same bytes, in any thread: they are hashed."""
    texts = sample_bodies(STATEMENT, 40)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        packed = list(pool.map(lambda text: pack_body(STATEMENT, text), texts * 4))
        assert packed == [pack_body(STATEMENT, text) for text in texts] * 4
        assert list(pool.map(unpack_body, packed)) == texts * 4


def _claiming(text: bytes, **parameters: bool) -> bytes:
    made = zstandard.ZstdCompressionParameters.from_level(
        3, format=zstandard.FORMAT_ZSTD1_MAGICLESS, **parameters
    )
    return b"\x01\x00" + zstandard.ZstdCompressor(compression_params=made).compress(text)


_GOOD = pack_body(PAYMENT, sample_bodies(PAYMENT, 1)[0])
_BAD = {
    "its head alone": b"\x01",
    "no frame": b"\x01\x04",
    "noise": b"\x01\x04abc",
    "cut": _GOOD[:-3],
    "longer": _GOOD + b"z",
    "a dictionary of a later release": b"\x01\x63" + _GOOD[2:],
    "packed with another one": b"\x01\x00" + _GOOD[2:],
    "no length": _claiming(b"{}", write_content_size=False),
    "too long": _claiming(b" " * (BODY_BYTES_MAX + 1), write_content_size=True),
}


@pytest.mark.parametrize("stored", _BAD.values(), ids=_BAD.keys())
def test_what_cannot_be_unpacked_is_named(stored: bytes) -> None:
    """Nothing but `UnreadableBody` comes out of bad bytes, and none of them stands in the message."""
    with pytest.raises(UnreadableBody) as raised:
        unpack_body(stored)
    assert "abc" not in str(raised.value)


def test_a_small_body_cannot_take_much_memory() -> None:
    """A few kilobytes that would unpack to 256 MB are refused before any of it is."""
    bomb = _claiming(b" " * (256 << 20), write_content_size=True)
    assert len(bomb) < 64 * 1024
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableBody):
            unpack_body(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < BODY_BYTES_MAX


def test_a_length_that_is_not_true_is_found_out() -> None:
    """A frame that unpacks to more than it says is refused; nothing is written behind its end."""
    honest = _claiming(b" " * 1000, write_content_size=True)
    lying = bytearray(honest)
    at = honest.index((1000 - 256).to_bytes(2, "little"))
    lying[at : at + 2] = (10).to_bytes(2, "little")
    assert read_facts(bytes(lying)).text_bytes == 266
    with pytest.raises(UnreadableBody):
        unpack_body(bytes(lying))

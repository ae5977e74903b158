"""Frames and positions on the wire, and what is refused of them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_sync.errors import InvalidFrame, UnknownVersion
from cache_sync.frame_guards import Held, check_follows, check_frame
from cache_sync.frames import Position, decode_frame, encode_frame, sealed
from tests.unit.cache_sync.feed_world import NOON, make_document, make_frame

FRAME = make_frame([make_document(3), make_document(5, body=None)], age_seconds=0.25)


def test_a_frame_comes_out_as_it_went_in() -> None:
    """Bodies, tombstones, instants and ages survive the way exactly."""
    came = decode_frame(encode_frame(FRAME))
    assert came == FRAME
    check_frame(came)


@given(position=st.integers(0, len(encode_frame(FRAME)) - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(position: int, bit: int) -> None:
    """Rows and header alike: a wrong T would be as false as a wrong balance. The format's number too."""
    content = bytearray(encode_frame(FRAME))
    content[position] ^= 1 << bit
    with pytest.raises((InvalidFrame, UnknownVersion)):
        check_frame(decode_frame(bytes(content)))


def test_a_frame_that_ends_early_is_none() -> None:
    """After whichever byte."""
    content = encode_frame(FRAME)
    for length in range(len(content)):
        with pytest.raises((InvalidFrame, UnknownVersion)):
            check_frame(decode_frame(content[:length]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"count": 3}, "count"),
        ({"rows": list(reversed(FRAME.rows))}, "order"),
        ({"rows": [FRAME.rows[0], FRAME.rows[0]]}, "order"),
        ({"after": 3}, "order"),
        ({"upto": 4}, "range"),
        ({"after": 7}, "range"),
        ({"epoch": 0}, "range"),
        ({"head": 2**63}, "range"),
        ({"head": 6}, "barrier"),
        ({"barrier": False, "upto": 6, "head": 6}, "range"),
        ({"age_seconds": float("nan")}, "age"),
        ({"floor": 6}, "floor"),
    ],
)
def test_a_frame_that_is_wrong_in_itself_is_refused(change: dict[str, object], reason: str) -> None:
    """Even when its digest is right: the other end may be wrong too."""
    with pytest.raises(InvalidFrame) as caught:
        check_frame(sealed(msgspec.structs.replace(FRAME, **change)))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (Held("1", 1, 0, 0, None), "shard"),
        (Held("0", 2, 0, 0, None), "epoch"),
        (Held("0", 1, 1, 0, None), "gap"),
        (Held("0", 1, 0, 0, NOON.replace(hour=13)), "as_of"),
    ],
)
def test_a_frame_that_does_not_follow_is_refused(held: Held, reason: str) -> None:
    """A gap, another history or an older T."""
    with pytest.raises(InvalidFrame) as caught:
        check_follows(FRAME, held)
    assert caught.value.reason == reason
    check_follows(FRAME, Held("0", 0, 0, 0, None))


def test_a_position_is_read_back_from_its_text() -> None:
    """It travels in a cookie and a header."""
    assert Position.parse(str(Position(3, "0", 42))) == Position(3, "0", 42)


@pytest.mark.parametrize("text", ["", "1.0", "1.0.x", "-1.0.2", "1.0.2.3", "1.0.²", "9" * 70])
def test_what_is_not_a_position_is_none(text: str) -> None:
    """Clients may send anything."""
    assert Position.parse(text) is None

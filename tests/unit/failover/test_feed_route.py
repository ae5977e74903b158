"""Frames on the wire: compressed when they are large and the asker takes it, and the same bytes either way."""

import gzip

import pytest

from failover.feed_route import COMPRESSED_BYTES_MIN, frame_response, takes_gzip

LARGE = b"a statement of an account " * 4096


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [("gzip", True), ("br, GZIP", True), ("identity", False), ("", False), ("gzip;q=0", False)],
)
def test_who_takes_it(accepted: str, *, takes: bool) -> None:
    """By its name alone: whoever weighs encodings gets the plain one."""
    assert takes_gzip({"accept-encoding": accepted}) is takes


async def test_a_large_frame_travels_compressed() -> None:
    """A bootstrap costs a fraction of the wire."""
    answer = await frame_response(LARGE, {"accept-encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.content) < len(LARGE) / 4
    assert gzip.decompress(answer.content) == LARGE


@pytest.mark.parametrize(
    ("content", "accepted"), [(LARGE, "identity"), (LARGE[: COMPRESSED_BYTES_MIN - 1], "gzip")]
)
async def test_others_travel_as_they_are(content: bytes, accepted: str) -> None:
    """Who does not take it, and what is small."""
    answer = await frame_response(content, {"accept-encoding": accepted})
    assert "Content-Encoding" not in answer.headers
    assert answer.content == content

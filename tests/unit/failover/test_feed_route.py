"""Frames on the wire: compressed when they are large and the asker takes it, and the same bytes either way."""

import gzip
from typing import Any

import pytest

from failover.feed_route import COMPRESSED_BYTES_MIN, frame_answer, takes_gzip
from failover.held_answers import answer_places

LARGE = b"a statement of an account " * 4096


async def answer(content: bytes, accepted: str) -> tuple[dict[bytes, bytes], bytes]:
    """Answer whoever takes some encodings; return the headers and the body."""
    sent: list[dict[str, Any]] = []

    async def make() -> bytes:
        return content

    async def at_once() -> None:
        pass

    async def send(message: Any) -> None:
        sent.append(message)

    headers = {"accept-encoding": accepted}
    app: Any = frame_answer(answer_places(), "east", make, headers, seconds=1.0, before=at_once)
    await app({"type": "http"}, None, send)
    return dict(sent[0]["headers"]), b"".join(message["body"] for message in sent[1:])


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [("gzip", True), ("br, GZIP", True), ("identity", False), ("", False), ("gzip;q=0", False)],
)
def test_who_takes_it(accepted: str, *, takes: bool) -> None:
    """By its name alone: whoever weighs encodings gets the plain one."""
    assert takes_gzip({"accept-encoding": accepted}) is takes


async def test_a_large_frame_travels_compressed() -> None:
    """A bootstrap costs a fraction of the wire."""
    headers, body = await answer(LARGE, "gzip")
    assert headers[b"content-encoding"] == b"gzip"
    assert len(body) < len(LARGE) / 4
    assert gzip.decompress(body) == LARGE


@pytest.mark.parametrize(
    ("content", "accepted"), [(LARGE, "identity"), (LARGE[: COMPRESSED_BYTES_MIN - 1], "gzip")]
)
async def test_others_travel_as_they_are(content: bytes, accepted: str) -> None:
    """Who does not take it, and what is small."""
    headers, body = await answer(content, accepted)
    assert b"content-encoding" not in headers
    assert body == content

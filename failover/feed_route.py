"""A frame of the feed as an answer over HTTP, compressed where that saves the wire something."""

import gzip
from collections.abc import Awaitable, Callable, Mapping

from cache_sync.frames import FRAME_CONTENT_TYPE
from cache_sync.offload import in_thread
from cache_sync.places import Places
from failover.held_answers import LargeAnswer

COMPRESSED_BYTES_MIN = 16 * 1024
"""What tails a shard is smaller: compressing it would cost every follower's core time for a packet or two."""
_LEVEL = 1


def frame_answer(
    places: Places,
    node_id: str,
    make: Callable[[], Awaitable[bytes]],
    headers: Mapping[str, str],
    *,
    seconds: float,
    before: Callable[[], Awaitable[None]],
) -> LargeAnswer:
    """
    Answer with the encoded frame that ``make`` makes, in gzip when it is large and the asker takes that.

    Args:
        places: Of the large answers of this server.
        node_id: Who asked.
        make: Makes the frame.
        headers: Of the question.
        seconds: How long it may wait for its place.
        before: Waits for news.
    """

    async def pack(content: bytes) -> tuple[bytes, Mapping[str, str]]:
        if len(content) < COMPRESSED_BYTES_MIN or not takes_gzip(headers):
            return content, {}
        packed = await in_thread(lambda: gzip.compress(content, _LEVEL, mtime=0))
        return packed, {"content-encoding": "gzip"}

    return LargeAnswer(
        places,
        node_id,
        make,
        media_type=FRAME_CONTENT_TYPE,
        seconds=seconds,
        before=before,
        pack=pack,
    )


def takes_gzip(headers: Mapping[str, str]) -> bool:
    """Tell whether an asker takes gzip; our own nodes say so by its name alone."""
    accepted = headers.get("accept-encoding", "").split(",")
    return any(one.strip().lower() == "gzip" for one in accepted)

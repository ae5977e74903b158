"""A frame of the feed as an answer over HTTP, compressed where that saves the wire something."""

import gzip
from collections.abc import Mapping

from litestar import Response

from cache_sync.frames import FRAME_CONTENT_TYPE
from cache_sync.offload import in_thread

COMPRESSED_BYTES_MIN = 16 * 1024
"""What tails a shard is smaller: compressing it would cost every follower's core time for a packet or two."""
_LEVEL = 1


async def frame_response(content: bytes, headers: Mapping[str, str]) -> Response[bytes]:
    """Answer with an encoded frame, in gzip when it is large and the asker takes that."""
    if len(content) < COMPRESSED_BYTES_MIN or not takes_gzip(headers):
        return Response(content, media_type=FRAME_CONTENT_TYPE)
    packed = await in_thread(lambda: gzip.compress(content, _LEVEL, mtime=0))
    return Response(packed, media_type=FRAME_CONTENT_TYPE, headers={"Content-Encoding": "gzip"})


def takes_gzip(headers: Mapping[str, str]) -> bool:
    """Tell whether an asker takes gzip; our own nodes say so by its name alone."""
    accepted = headers.get("accept-encoding", "").split(",")
    return any(one.strip().lower() == "gzip" for one in accepted)

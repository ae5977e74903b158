"""Where a node that passes documents on stands: what others choose by whom they ask. Small, and cheap to answer."""

from datetime import datetime

import msgspec

from cache_sync.errors import InvalidFrame

PATH_NODES_MAX = 16


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """
    A node's barrier, how old its as-of time is, and the way its documents take.

    ``age_seconds`` was true when this was answered; ``age_at_least`` marks it as a lower bound. ``path`` names the
    nodes that the documents come through, its own upstream first and the core last: a node that finds itself in it
    would be asking itself.
    """

    epoch: int
    shard: str
    cursor: int
    as_of: datetime
    age_seconds: float
    age_at_least: bool
    path: list[str]


def encode_standing(standing: Standing) -> bytes:
    """Encode a standing as it travels, JSON."""
    return msgspec.json.encode(standing)


def decode_standing(content: bytes) -> Standing:
    """
    Decode a standing as it came.

    Raises:
        InvalidFrame: The bytes are not one (`malformed`).
    """
    try:
        standing = _STANDING.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidFrame("malformed", "the answer is not a standing") from error
    if standing.as_of.tzinfo is None or len(standing.path) > PATH_NODES_MAX:
        raise InvalidFrame("malformed", "the answer is not a standing")
    return standing


_STANDING = msgspec.json.Decoder(Standing)

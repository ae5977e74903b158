"""The feed on the wire: frames of documents, barriers and core time."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from itertools import islice

import msgspec

from cache_sync.documents import Document
from cache_sync.errors import InvalidFrame, UnknownVersion
from cache_sync.row_hash import CHAIN_BYTES, SEAL_BYTES, is_sealed

FRAME_FORMAT = 3
# What went before it, with bodies that are never packed: read still, so that an edge is upgraded before its core.
_TEXT_FORMAT = 2
FRAME_CONTENT_TYPE = "application/vnd.ridethrough.frame+msgpack"
POSITION_CHARACTERS_MAX = 64
POSITIONS_MAX = 32


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """
    The documents of a shard with ``after < seq <= upto``, in seq order.

    ``barrier`` says that the page reached the head within its own read transaction: only then may a follower let
    readers see the rows, move its cursor for onward use and take over ``as_of``. ``as_of`` is core time T: everything
    the core committed before T is at or below the barrier. ``age_seconds`` is how old T was when this frame was
    answered (0 at the core, relayed and grown from node to node); ``age_at_least`` marks it as a lower bound.
    ``floor`` is the oldest cursor that still sees every tombstone. ``digest`` is `digest_frame`.

    At a barrier ``live_hash`` and ``live_rows`` are the sum and the number of all live rows of the shard, ``chain`` is
    the chain hash of the newest commit and ``seal`` the core's mark on (epoch, shard, upto, chain), see
    `cache_sync.row_hash`; elsewhere they say nothing. ``format`` is this struct's: a follower refuses one that it does
    not know. No field has a default: one whose name was damaged on the way must be missed.
    """

    format: int
    epoch: int
    shard: str
    after: int
    upto: int
    count: int
    rows: list[Document]
    digest: str
    barrier: bool
    head: int
    as_of: datetime
    age_seconds: float
    age_at_least: bool
    floor: int
    live_hash: int
    live_rows: int
    chain: bytes
    seal: bytes


class CheckedFrame(Frame, frozen=True, kw_only=True):
    """A frame that `cache_sync.frame_guards` have found whole and readable here; never made otherwise."""


class Position(msgspec.Struct, frozen=True):
    """How far a reader has seen: epoch, shard and seq. Travels with the customer as ``epoch.shard.seq``."""

    epoch: int
    shard: str
    seq: int

    def __str__(self) -> str:
        """Write the position as it stands in the cookie and in the ``Ridethrough-Position`` header."""
        return f"{self.epoch}.{self.shard}.{self.seq}"

    @staticmethod
    def parse(text: str) -> "Position | None":
        """Read a position; None when it is not one (positions come from clients and may be anything)."""
        parts = text.split(".")
        if len(parts) != len(Position.__struct_fields__) or len(text) > POSITION_CHARACTERS_MAX:
            return None
        epoch, shard, seq = parts
        if not text.isascii() or not epoch.isdigit() or not seq.isdigit():
            return None
        return Position(int(epoch), shard, int(seq))


def write_positions(positions: Iterable[Position]) -> str:
    """Write positions of several shards as one text; `POSITIONS_MAX` at most."""
    return ",".join(str(position) for position in islice(positions, POSITIONS_MAX))


def parse_positions(text: str) -> list[Position]:
    """Read positions of several shards; what is none is left out."""
    parts = text.split(",", POSITIONS_MAX)[:POSITIONS_MAX]
    return [position for part in parts if (position := Position.parse(part)) is not None]


class Proof(msgspec.Struct, frozen=True):
    """
    A barrier that a node has reached, with what proves it: the chain hash there and the core's seal on both.

    Shown to the core as ``epoch.shard.seq.chain.seal``, the last two in hex.
    """

    epoch: int
    shard: str
    seq: int
    chain: bytes
    seal: bytes

    def __str__(self) -> str:
        """Write the proof as it is shown to the core."""
        return f"{self.epoch}.{self.shard}.{self.seq}.{self.chain.hex()}.{self.seal.hex()}"

    @staticmethod
    def parse(text: str) -> "Proof | None":
        """Read a proof; None when it is not one."""
        position, _, rest = text.rpartition(".")
        position, _, chain = position.rpartition(".")
        reached = Position.parse(position)
        if reached is None or len(chain) != 2 * CHAIN_BYTES or len(rest) != 2 * SEAL_BYTES:
            return None
        try:
            shown = bytes.fromhex(chain), bytes.fromhex(rest)
        except ValueError:
            return None
        return Proof(reached.epoch, reached.shard, reached.seq, *shown)

    def is_sealed(self, seal_key: bytes) -> bool:
        """Tell whether the core with this key has sealed it."""
        return is_sealed(self.seal, seal_key, self.epoch, self.shard, self.seq, self.chain)


def digest_frame(frame: Frame) -> str:
    """
    Hash all of a frame but its digest, so that a flipped byte anywhere between the two ends is noticed; hex SHA-256.

    The header is covered too: a wrong `as_of` would be a false label as much as a wrong row is a false balance.
    """
    header = msgspec.msgpack.encode(msgspec.structs.replace(frame, rows=[], digest=""))
    digest = hashlib.sha256(header)
    digest.update(msgspec.msgpack.encode(frame.rows))
    return digest.hexdigest()


def sealed(frame: Frame) -> Frame:
    """Return the frame with its digest filled in."""
    return msgspec.structs.replace(frame, digest=digest_frame(frame))


def encode_frame(frame: Frame) -> bytes:
    """Encode a frame as it travels."""
    return msgspec.msgpack.encode(frame)


class EncodedFrames:
    """Encodes a frame once where many are answered with it, one after the other."""

    def __init__(self) -> None:
        self._newest: tuple[Frame, bytes] | None = None

    def encode(self, frame: Frame) -> bytes:
        """Encode a frame as it travels."""
        newest = self._newest
        if newest is None or newest[0] is not frame:
            newest = self._newest = (frame, encode_frame(frame))
        return newest[1]


def decode_frame(content: bytes) -> Frame:
    """
    Decode a frame as it came; a follower checks its digest before it applies it.

    Raises:
        InvalidFrame: The bytes are not a frame (`malformed`).
        UnknownVersion: They are a frame of a format that another release writes.
    """
    try:
        return _FRAME.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _refuse_other_format(content)
        raise InvalidFrame("malformed", "the answer is not a frame") from error


def check_format(written: int) -> None:
    """
    Check that a frame is of a format that this release reads.

    Raises:
        UnknownVersion: It is not.
    """
    if written not in (FRAME_FORMAT, _TEXT_FORMAT):
        raise UnknownVersion("frame", written)


class _Any(msgspec.Struct):
    """What a frame of every format has."""

    format: int


def _refuse_other_format(content: bytes) -> None:
    try:
        written = _ANY.decode(content).format
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    check_format(written)


_FRAME = msgspec.msgpack.Decoder(Frame)
_ANY = msgspec.msgpack.Decoder(_Any)

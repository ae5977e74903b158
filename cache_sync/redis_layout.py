"""
How a shard lies in a Redis: one hash an account, and one key that says which generation of them is to be read.

All keys of a shard have the same hash tag: in a cluster they lie on one node, and one script changes them together.
Readers find the generation in the *state*, which also says at which barrier it stands. A new generation is filled
beside it under another name, and writing the state anew is what swaps.

Whoever can write to the Redis could show customers what the core never said. Rows and state therefore carry a keyed
tag of this node: what has none that fits is not used.
"""

import struct
from hashlib import blake2b
from hmac import compare_digest
from typing import Final, NamedTuple

import msgspec

from cache_sync.documents import CREDENTIAL, Document
from cache_sync.frame_guards import Held
from cache_sync.replica import from_microseconds
from cache_sync.row_hash import row_hash

LAYOUT_FORMAT: Final = 1
TAG_BYTES: Final = 16
_HEADER: Final = struct.Struct(">QIq16s")
_SEPARATOR: Final = b"\0"
_MASK: Final = (1 << 64) - 1
_encode = msgspec.msgpack.Encoder().encode


class RedisState(msgspec.Struct, frozen=True, array_like=True):
    """
    Where a generation stands: the columns of a replica's `shard_head` and `as_of`.

    ``boot_id`` says on which machine's boot clock ``asked_boot_seconds`` was read.
    """

    format: int
    shard: str
    generation: str
    epoch: int
    cursor: int
    floor: int
    live_hash: int
    live_rows: int
    chain: bytes
    seal: bytes
    as_of_us: int
    asked_boot_seconds: float
    age_seconds: float
    at_least: bool
    boot_id: str

    @property
    def held(self) -> Held:
        """Its place in the feed."""
        as_of = from_microseconds(self.as_of_us)
        return Held(self.shard, self.epoch, self.cursor, self.floor, as_of)


class StoredRow(NamedTuple):
    """A live document as it lies in a field of its account's hash, and the hash by which it counts."""

    hashed: int
    value: bytes


_STATE: Final = msgspec.msgpack.Decoder(RedisState)


class RedisLayout:
    """
    The names and the encoding of one shard of one node.

    Args:
        node_id: Whose copy it is: several nodes may use one Redis.
        shard: The shard.
        key: What this node's rows are tagged with; nobody else has it.
    """

    def __init__(self, node_id: str, shard: str, key: bytes) -> None:
        self.shard = shard
        self._key = blake2b(b"%s\0%s" % (node_id.encode(), shard.encode()), key=key[:64]).digest()
        self.prefix = f"ridethrough:{{{node_id}.{shard}}}:".encode()
        self.state = self.prefix + b"state"
        self.build = self.prefix + b"build"

    def generation_prefix(self, generation: str) -> bytes:
        """Return what the keys of a generation begin with."""
        return b"%s%s:" % (self.prefix, generation.encode())

    def account(self, generation: str, account_id: str) -> bytes:
        """Name the hash of an account's documents."""
        return b"%sa:%s" % (self.generation_prefix(generation), account_id.encode())

    def credential(self, generation: str, key: str) -> bytes:
        """Name the hash of the credentials under a `sign_in_key`, one field an account."""
        return b"%sc:%s" % (self.generation_prefix(generation), key.encode())

    def generation_of(self, name: bytes) -> str | None:
        """Tell which generation a key belongs to; None for the others."""
        generation, separator, _ = name.removeprefix(self.prefix).partition(b":")
        if not name.startswith(self.prefix) or not separator:
            return None
        return generation.decode(errors="replace")

    # What is written

    def pack(self, document: Document) -> StoredRow:
        """Pack a live document."""
        account_id, kind, key, seq, body, version = msgspec.structs.astuple(document)
        assert body is not None, "a tombstone is not kept"
        hashed = row_hash(account_id, kind, key, seq, version, body)
        tag = self._tag(account_id, kind, key, seq, version, body)
        return StoredRow(hashed, _HEADER.pack(seq, version, hashed, tag) + body)

    def unpack(self, account_id: str, kind: str, key: str, value: bytes) -> Document | None:
        """Unpack a row; None when this node did not write it there."""
        if len(value) < _HEADER.size:
            return None
        seq, version, _, tag = _HEADER.unpack_from(value)
        body = value[_HEADER.size :]
        if not compare_digest(tag, self._tag(account_id, kind, key, seq, version, body)):
            return None
        return Document(account_id, kind, key, seq, body, version)

    def pack_state(self, state: RedisState) -> bytes:
        """Pack the state."""
        content = _encode(state)
        return blake2b(content, key=self._key, digest_size=TAG_BYTES).digest() + content

    def unpack_state(self, value: bytes) -> RedisState | None:
        """Unpack the state; None when this node, of this release, did not write it."""
        tag, content = value[:TAG_BYTES], value[TAG_BYTES:]
        expected = blake2b(content, key=self._key, digest_size=TAG_BYTES).digest()
        if not compare_digest(tag, expected):
            return None
        try:
            state = _STATE.decode(content)
        except msgspec.DecodeError:
            return None
        return state if state.format == LAYOUT_FORMAT and state.shard == self.shard else None

    def _tag(self, *row: str | int | bytes) -> bytes:
        return blake2b(_encode(row), key=self._key, digest_size=TAG_BYTES).digest()


def field_of(kind: str, key: str) -> bytes:
    """Name a document within its account's hash."""
    return kind.encode() + _SEPARATOR + key.encode()


def parse_field(field: bytes) -> tuple[str, str] | None:
    """Read kind and key out of a field's name; None when it is none."""
    kind, separator, key = field.partition(_SEPARATOR)
    try:
        return (kind.decode(), key.decode()) if separator else None
    except UnicodeDecodeError:
        return None


def is_credential(kind: str) -> bool:
    """Tell whether documents of a kind are also looked up by their key alone."""
    return kind == CREDENTIAL


def pack_rows(
    layout: RedisLayout, generation: str, rows: list[Document]
) -> tuple[list[bytes], bytes]:
    """
    Pack the rows of a page for the script that applies them: the keys that it changes, and one binary string.

    Of several rows of one document only the newest is packed. Keys are numbered as the script counts them, from 2.
    """
    keys: dict[bytes, int] = {}
    parts = []
    newest = {(row.account_id, row.kind, row.key): row for row in rows}
    for row in newest.values():
        place = keys.setdefault(layout.account(generation, row.account_id), len(keys) + 2)
        owner, beside = b"", 0
        if is_credential(row.kind):
            owner = row.account_id.encode()
            beside = keys.setdefault(layout.credential(generation, row.key), len(keys) + 2)
        stored = layout.pack(row) if row.body is not None else StoredRow(0, b"")
        field = field_of(row.kind, row.key)
        parts.append(
            struct.pack(
                f">IIQQI{len(field)}sI{len(owner)}sI{len(stored.value)}s",
                place,
                beside,
                row.seq,
                stored.hashed & _MASK,
                len(field),
                field,
                len(owner),
                owner,
                len(stored.value),
                stored.value,
            )
        )
    return list(keys), b"".join(parts)

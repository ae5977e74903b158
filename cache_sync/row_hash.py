"""
Hashes over documents: what makes two nodes able to say that they hold the same.

- `row_hash` is a row's: all of it, as stored.
- The *live hash* of a shard is the sum of its live rows' hashes, modulo 2^64. It does not depend on the order in which
  they came and is kept up to date by adding and subtracting; tombstones count nothing, so it stays as it is when they
  are forgotten. A row that was left out upstream, or never deleted, shows at the next barrier.
- The *chain hash* of a commit covers the commit before and everything this one published: two histories that parted
  once never have the same one again, whatever they count their seqs as.
- The *seal* is the core's own mark (keyed, HMAC-SHA-256) on a position and its chain hash: a node that shows it proves
  that this core, or one restored from its backup, was there.
"""

import hashlib
import hmac
from collections.abc import Iterable
from hashlib import blake2b

import msgspec

CHAIN_BYTES = 16
SEAL_BYTES = 16
FIRST_CHAIN = bytes(CHAIN_BYTES)
_MASK = (1 << 64) - 1
_SIGN = 1 << 63
_encode = msgspec.msgpack.Encoder().encode


def row_hash(account_id: str, kind: str, key: str, seq: int, version: int, body: bytes) -> int:
    """
    Hash a live row as it is stored; a signed 64-bit integer, as databases keep them.

    BLAKE2b over the row as it travels, a msgpack array: in it every part is preceded by its length, so that no two rows
    read the same.
    """
    row = _encode((account_id, kind, key, seq, body, version))
    return int.from_bytes(blake2b(row, digest_size=8).digest(), "big", signed=True)


def add_hashes(total: int, added: Iterable[int] = (), removed: Iterable[int] = ()) -> int:
    """Move a live hash: add the hashes of rows that came, subtract those of rows that went; signed 64-bit."""
    moved = (total + sum(added) - sum(removed)) & _MASK
    return moved - (1 << 64) if moved & _SIGN else moved


def next_chain(chain: bytes, published: Iterable[tuple[int, int]]) -> bytes:
    """
    Return the chain hash of a commit.

    Args:
        chain: Of the commit before; `FIRST_CHAIN` at a shard's beginning and at the beginning of each epoch.
        published: Seq and row hash of what the commit published, in seq order; a tombstone's hash is 0.
    """
    digest = blake2b(chain, digest_size=CHAIN_BYTES)
    for seq, hashed in published:
        digest.update(seq.to_bytes(8, "big"))
        digest.update(hashed.to_bytes(8, "big", signed=True))
    return digest.digest()


def seal_position(seal_key: bytes, epoch: int, shard: str, seq: int, chain: bytes) -> bytes:
    """Seal a position with the core's own key."""
    message = f"{epoch}.{shard}.{seq}.".encode() + chain
    return hmac.new(seal_key, message, hashlib.sha256).digest()[:SEAL_BYTES]


def is_sealed(seal: bytes, seal_key: bytes, epoch: int, shard: str, seq: int, chain: bytes) -> bool:
    """Tell whether a seal is this core's own on that position; in constant time."""
    return hmac.compare_digest(seal, seal_position(seal_key, epoch, shard, seq, chain))

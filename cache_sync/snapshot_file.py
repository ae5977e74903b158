"""
Snapshot files on the wire: what a node offers, what it signs, and what makes an offer acceptable. Pure.

A snapshot file is one shard's finished replica at one barrier. Its manifest says where in the feed it stands and names
the hash of every chunk; the node that cut it signs the manifest. So whoever trusts the signer can take the bytes from
anybody, over any line, and knows of each chunk whether it is the one that was signed.
"""

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from cache_sync.body_dictionaries import knows_dictionary
from cache_sync.documents import KNOWN_VERSIONS
from cache_sync.errors import SnapshotRefused
from cache_sync.file_keys import PLAIN, FileKeys, key_id
from cache_sync.row_hash import CHAIN_BYTES, SEAL_BYTES
from cache_sync.shards import first_seq, last_seq

MANIFEST_FORMAT = 1
# Of a file that is encrypted: a release that does not know of it takes none.
ENCRYPTED_FORMAT = 2
# The tables of a replica's file, `cache_sync.document_table`, and how bodies lie in them: raised with every change.
REPLICA_SCHEMA = 4
# What went before it: the same tables, and no body in them is packed.
_TEXT_SCHEMA = 3

CHUNK_BYTES = 4 * 1024 * 1024
CHUNK_BYTES_MIN = 1024
CHUNK_BYTES_MAX = 16 * 1024 * 1024
FILE_BYTES_MAX = 1 << 40
OFFER_BYTES_MAX = 16 * 1024 * 1024

_NAME = re.compile(r"[0-9]{1,4}-[0-9]{1,19}-[0-9]{1,19}-[0-9a-f]{16}\.db")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_INTEGER_MAX = 2**63 - 1

SignatureCheck = Callable[[str, bytes, bytes], None]
"""
Checks a manifest's signature: (signer, signed bytes, signature).

Raises `SnapshotRefused` (`signer` for one who is not trusted, `signature` for one that is not the signer's).
"""


class SnapshotManifest(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a snapshot file holds, and the hash of every part of it.

    ``epoch``, ``seq``, ``chain``, ``seal``, ``live_hash``, ``live_rows``, ``floor`` are the barrier's, as in a frame;
    ``as_of`` is its core time T. ``rows`` counts tombstones too. ``versions`` is the newest version of a body by kind,
    ``dictionaries`` are those that its bodies are packed with (`cache_sync.packed_bodies`).
    ``chunks`` are the SHA-256 of consecutive parts of ``chunk_bytes``, the last one shorter: they decide what is taken.
    ``sha256`` is the whole file's, for people and their tools; all in hex. ``schema`` is that of the tables, ``format``
    this struct's. ``key_id`` names the key that the file is encrypted under, which comes with the offer; empty for a
    plain file.
    """

    format: int
    schema: int
    shard: str
    epoch: int
    seq: int
    chain: bytes
    seal: bytes
    live_hash: int
    live_rows: int
    rows: int
    floor: int
    as_of: datetime
    versions: dict[str, int]
    name: str
    file_bytes: int = msgspec.field(name="bytes")
    sha256: str
    chunk_bytes: int
    chunks: list[str]
    key_id: str = ""
    dictionaries: list[int] = []

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and seq: a file further on is greater."""
        return self.epoch, self.seq

    def chunk_range(self, number: int) -> tuple[int, int]:
        """Return where a chunk begins, and where it ends (exclusive)."""
        begin = number * self.chunk_bytes
        return begin, min(begin + self.chunk_bytes, self.file_bytes)


class SnapshotOffer(msgspec.Struct, frozen=True, kw_only=True):
    """
    A snapshot file that a node hands out: the manifest's exact bytes, who signed them, and how old its T is.

    ``age_seconds`` was true when this was answered; ``age_at_least`` marks it as a lower bound. ``key`` opens the file,
    and no other one, where it is encrypted: it is a secret like the documents themselves.
    """

    manifest: bytes
    signer: str
    signature: bytes
    age_seconds: float
    age_at_least: bool
    key: bytes = b""

    def __repr__(self) -> str:
        return f"SnapshotOffer({self.signer})"


class Need(NamedTuple):
    """
    What a follower can use: nothing of an older epoch, and within that epoch nothing below a seq.

    ``rows_max`` is from how many rows on a file costs more than what it saves, 0 for any. ``unwanted`` names files that
    were had before and did not lead on.
    """

    epoch_min: int = 0
    seq_min: int = 0
    rows_max: int = 0
    unwanted: frozenset[str] = frozenset()


def file_name(shard: str, epoch: int, seq: int, mark: int) -> str:
    """Name a snapshot file; ``mark`` is 64 random bits, so that no two cuts of one barrier are confused."""
    return f"{shard}-{epoch}-{seq}-{mark:016x}.db"


def mark_of(name: str) -> str:
    """Return the mark in a snapshot file's name."""
    return name.removesuffix(".db").rpartition("-")[2]


def is_file_name(text: str) -> bool:
    """Tell whether a text that came from elsewhere can be a snapshot file's name; it is then no path either."""
    return _NAME.fullmatch(text) is not None


def encode_manifest(manifest: SnapshotManifest) -> bytes:
    """Encode a manifest as it is signed."""
    return msgspec.json.encode(manifest)


def encode_offer(offer: SnapshotOffer) -> bytes:
    """Encode an offer as it travels, JSON."""
    return msgspec.json.encode(offer)


def decode_offer(content: bytes) -> SnapshotOffer:
    """
    Decode an offer as it came.

    Raises:
        SnapshotRefused: The bytes are not one (`malformed`).
    """
    try:
        offer = _OFFER.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotRefused("malformed", "the answer is not an offer") from error
    age = offer.age_seconds
    _require(math.isfinite(age) and age >= 0, "malformed", f"an age of {age} s")
    return offer


def decode_manifest(content: bytes) -> SnapshotManifest:
    """
    Decode a manifest whose signature was checked, and check that it agrees with itself.

    Raises:
        SnapshotRefused: `malformed`, or `format` for one that only a newer release reads.
    """
    try:
        if _FORMAT.decode(content).format not in (MANIFEST_FORMAT, ENCRYPTED_FORMAT):
            raise SnapshotRefused("format", "a manifest that only another release reads")
        manifest = _MANIFEST.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotRefused("malformed", "what was signed is not a manifest") from error
    _check_numbers(manifest)
    return manifest


def _check_numbers(manifest: SnapshotManifest) -> None:
    sound = (
        is_file_name(manifest.name)
        and 0 < manifest.epoch <= _INTEGER_MAX
        and 0 <= manifest.live_rows <= manifest.rows
        and manifest.floor <= manifest.seq
        and len(manifest.chain) == CHAIN_BYTES
        and len(manifest.seal) in (0, SEAL_BYTES)
        and manifest.as_of.tzinfo is not None
        and (manifest.format == ENCRYPTED_FORMAT) == bool(manifest.key_id)
        and all(_SHA256.fullmatch(text) for text in (manifest.sha256, *manifest.chunks))
    )
    _require(sound, "malformed", "a manifest with impossible values")
    _require(
        CHUNK_BYTES_MIN <= manifest.chunk_bytes <= CHUNK_BYTES_MAX,
        "too_large",
        f"chunks of {manifest.chunk_bytes} bytes",
    )
    _require(0 < manifest.file_bytes <= FILE_BYTES_MAX, "too_large", f"{manifest.file_bytes} bytes")
    chunks = -(-manifest.file_bytes // manifest.chunk_bytes)
    _require(
        len(manifest.chunks) == chunks, "malformed", f"{len(manifest.chunks)} chunks of {chunks}"
    )


def check_wanted(
    manifest: SnapshotManifest, shard: str, need: Need, known_versions: Mapping[str, int]
) -> None:
    """
    Check that a node can read a file, all of its bodies too, and that it leads further than what is held.

    Raises:
        SnapshotRefused: `schema`, `shard`, `unknown_version`, `older_epoch`, `behind` or `unwanted`.
    """
    _require(
        manifest.schema in (REPLICA_SCHEMA, _TEXT_SCHEMA),
        "schema",
        f"tables of schema {manifest.schema} are unknown",
    )
    _require(manifest.shard == shard, "shard", f"it holds shard {manifest.shard!r}")
    _require(first_seq(shard) <= manifest.seq <= last_seq(shard), "shard", "a seq of another shard")
    for kind, version in manifest.versions.items():
        known = version <= known_versions.get(kind, version)
        _require(known, "unknown_version", f"{kind} documents of version {version}")
    for number in manifest.dictionaries:
        known = knows_dictionary(number)
        _require(known, "unknown_version", f"bodies that are packed with dictionary {number}")
    _require(manifest.epoch >= need.epoch_min, "older_epoch", f"it is of epoch {manifest.epoch}")
    _require(
        manifest.epoch > need.epoch_min or manifest.seq >= need.seq_min,
        "behind",
        f"it stands at {manifest.seq}, below {need.seq_min}",
    )
    costly = 0 < need.rows_max < manifest.rows
    _require(not costly, "unwanted", f"{manifest.rows} rows are more than what is missing")
    _require(manifest.name not in need.unwanted, "unwanted", "it was had before and led nowhere")


def open_offer(
    offer: SnapshotOffer,
    shard: str,
    need: Need,
    check_signature: SignatureCheck,
    known_versions: Mapping[str, int] = KNOWN_VERSIONS,
) -> SnapshotManifest:
    """
    Return what an offer offers, when it is signed by somebody who is trusted, can be read, and leads on.

    Raises:
        SnapshotRefused: With the rule it breaks.
    """
    check_signature(offer.signer, offer.manifest, offer.signature)
    manifest = decode_manifest(offer.manifest)
    check_wanted(manifest, shard, need, known_versions)
    return manifest


def offered_keys(offer: SnapshotOffer, manifest: SnapshotManifest, held: FileKeys) -> FileKeys:
    """
    Return what an offered file is opened with.

    Raises:
        SnapshotRefused: `plain` where this node keeps nothing on its disk that is not encrypted, `key` where the key
            that came is not the file's.
    """
    if not manifest.key_id:
        _require(
            not held, "plain", "it is not encrypted, and nothing else lies on this node's disk"
        )
        return PLAIN
    _require(key_id(offer.key) == manifest.key_id, "key", "its key came wrong, or did not come")
    return FileKeys((offer.key,), source="the offer")


def trusting(
    keys: Mapping[str, str], is_signed: Callable[[bytes, bytes, str], bool]
) -> SignatureCheck:
    """
    Make a check that trusts the holders of some public keys.

    Args:
        keys: Public key by node id; an empty one trusts nobody.
        is_signed: (content, signature, public key) → whether it is that key's signature.
    """

    def check(signer: str, content: bytes, signature: bytes) -> None:
        key = keys.get(signer)
        if not key:
            raise SnapshotRefused("signer", "it is signed by a node that is not trusted")
        if not is_signed(content, signature, key):
            raise SnapshotRefused("signature", f"it is not what {signer} signed")

    return check


def chunk_digest(content: bytes | bytearray) -> str:
    """Hash a chunk as manifests name it."""
    return hashlib.sha256(content).hexdigest()


def _require(holds: bool, reason: str, detail: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise SnapshotRefused(reason, detail)


class _Format(msgspec.Struct):
    format: int


_FORMAT = msgspec.json.Decoder(_Format)
_MANIFEST = msgspec.json.Decoder(SnapshotManifest)
_OFFER = msgspec.json.Decoder(SnapshotOffer)

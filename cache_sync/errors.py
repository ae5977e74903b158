"""
What can go wrong between the core's documents and a node's snapshot of them.

```
SyncError
├── UnknownShard           a file does not hold the shard that was asked for
├── FeedError              what a feed answers instead of a page
│   ├── FeedUnavailable    no answer, or none in time: ask again
│   │   └── Behind         the node that answers has not got as far as the cursor: ask it later, or another one
│   ├── EpochChanged       the core was restored: start again from zero
│   ├── Forked             the cursor is ahead of the feed: one of the two histories is not true
│   └── BelowFloor         the cursor is older than the deletes that the feed still knows
├── NoPlace                so many are answered at once that one more must wait
├── NotComparable          two nodes stand too far apart for their digests to be compared
├── InvalidFrame           a frame that cannot follow what a replica holds, or that was damaged on its way
├── NotTakenHere           what came is undamaged, and this node must not take it: it waits
│   ├── UnknownVersion     a body, or a frame, that this release cannot read: only a newer release helps
│   ├── DocumentTooLarge   a body longer than any may be
│   └── FrameTooLarge      an answer longer than any frame may be
├── DamagedSnapshot        a snapshot file that cannot be trusted or read
│   └── UnreadableBody     a body that cannot be unpacked
├── SnapshotRefused        a snapshot file, or the offer of one, that must not be used
├── SnapshotUnavailable    nobody hands a snapshot file out now
├── StorageFailed          the disk refused: full, read-only, broken, or busy for too long
│   └── KeyNotHeld         a file is encrypted under a key that is not held, or plain although there are keys
├── KeyFileInvalid         a key file or variable that holds no key, or that others may read
├── RedisUnavailable       a Redis does not answer, not in time, or not with what was put there
│   ├── RedisLost          it holds something else than what was last written: flushed, restarted or failed over
│   └── RedisFull          it has no memory left
└── NoSnapshot             a node that has not got its first snapshot yet
```
"""


class SyncError(Exception):
    """The root of what goes wrong downstream."""


class UnknownShard(SyncError):
    """A file does not hold the shard that was asked for."""

    def __init__(self, shard: str) -> None:
        super().__init__(f"no shard {shard!r} here")
        self.shard = shard


class FeedError(SyncError):
    """What a feed answers instead of a page."""


class FeedUnavailable(FeedError):
    """No answer from the feed, or none within the deadline. Nothing is wrong with the data: ask again."""


class Behind(FeedUnavailable):
    """The node that answers stands below the cursor: it is late, and nothing is wrong with either history."""

    def __init__(self, epoch: int, head: int) -> None:
        super().__init__(f"it is behind, at {head} in epoch {epoch}")
        self.epoch = epoch
        self.head = head


class EpochChanged(FeedError):
    """The feed is in another epoch than the cursor: seqs of two epochs cannot be compared."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the feed is in epoch {epoch}")
        self.epoch = epoch


class Forked(FeedError):
    """The cursor is ahead of the feed's head within the same epoch."""

    def __init__(self, head: int) -> None:
        super().__init__(f"the feed's head is {head}, behind the cursor")
        self.head = head


class BelowFloor(FeedError):
    """Deletes after this cursor were forgotten: only a new snapshot can be true."""

    def __init__(self, floor: int) -> None:
        super().__init__(f"deletes up to seq {floor} are forgotten")
        self.floor = floor


class NoPlace(SyncError):
    """So many nodes are answered at once that this one must wait, or it has as many answers under way as it may."""


class NotComparable(SyncError):
    """
    Two nodes stand too far apart for their digests to be compared now; nothing is known to be wrong.

    ``reason`` is `behind` (the answering node has not reached the asker's barrier) or `moved` (it has changed too much
    since).
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{detail} ({reason})")
        self.reason = reason


class InvalidFrame(SyncError):
    """
    A frame that must not be applied.

    Args:
        reason: A stable code: `malformed`, `digest`, `shard`, `epoch`, `gap`, `count`, `order`, `range`, `floor`,
            `barrier`, `as_of`, `age`, `hash`, `body` or `collision`.
        detail: The same for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{detail} ({reason})")
        self.reason = reason
        self.detail = detail


class NotTakenHere(SyncError):
    """
    What came is undamaged, and this node must not take it; asking again brings the same until the other end changes.

    ``reason`` is the status that is shown for it, a stable code.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{detail} ({reason})")
        self.reason = reason


class UnknownVersion(NotTakenHere):
    """
    A body, or a frame, of a version that this release does not know: it could say what the core did not mean.

    ``kind`` is the documents' kind, `dictionary` (the number of the one it is packed with) or `frame`.
    """

    def __init__(self, kind: str, version: int) -> None:
        reason = f"unknown_version:{kind}:{version}"
        super().__init__(reason, f"{kind}s of version {version} need another release")
        self.kind = kind
        self.version = version


class DocumentTooLarge(NotTakenHere):
    """A body whose text is longer than `cache_sync.packed_bodies.BODY_BYTES_MAX`; this release writes none."""

    def __init__(self, kind: str, text_bytes: int) -> None:
        detail = f"a {kind} document of {text_bytes} bytes"
        super().__init__(f"document_too_large:{kind}", detail)
        self.kind = kind
        self.text_bytes = text_bytes


class FrameTooLarge(NotTakenHere):
    """An answer that is longer than any frame may be; it was not read to its end."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__("frame_too_large", f"an answer of more than {bytes_max} bytes")
        self.bytes_max = bytes_max


class DamagedSnapshot(SyncError):
    """A snapshot file that cannot be trusted or read."""


class UnreadableBody(DamagedSnapshot):
    """A stored body that cannot be unpacked: damaged, too long, or packed by another release."""


class SnapshotRefused(SyncError):
    """
    A snapshot file that must not be used, or an offer of one; what is held keeps serving.

    Args:
        reason: A stable code: `malformed`, `format`, `signer`, `signature`, `schema`, `shard`, `unknown_version`,
            `older_epoch`, `behind`, `unwanted`, `too_large`, `no_space`, `chunk`, `truncated`, `sha256`,
            `not_a_replica`, `contents`, `plain` or `key`.
        detail: The same for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{detail} ({reason})")
        self.reason = reason
        self.detail = detail


class SnapshotUnavailable(SyncError):
    """
    A node does not hand a snapshot file out now.

    ``reason`` is `none` (it has none and makes none), `being_made`, `busy`, `gone` (no longer the file that was begun)
    or `silent` (no answer, or none in time).
    """

    def __init__(self, reason: str, detail: str = "", *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class StorageFailed(SyncError):
    """
    The disk refused: full, read-only, broken, or busy for too long. Says nothing about the data.

    ``reason`` is a stable code.
    """

    reason = "storage"


class KeyNotHeld(StorageFailed):
    """
    A file is encrypted under a key that this process does not hold, or is plain although keys are held.

    Nothing is known to be wrong with it: it is neither changed nor replaced, only the right key helps.
    """

    reason = "wrong_key"


class KeyFileInvalid(SyncError):
    """A key file, or a variable in its place, that holds no key or may be read by others than its owner."""


class RedisUnavailable(SyncError):
    """A Redis does not answer, not in time, or not with what was put there; what is on the disk answers instead."""


class RedisLost(RedisUnavailable):
    """A Redis holds something else than what was last written: it was flushed, restarted, or failed over."""


class RedisFull(RedisUnavailable):
    """A Redis takes nothing more: it has no memory left."""


class NoSnapshot(SyncError):
    """This node has not got its first snapshot yet."""

"""What makes a frame fit to follow what a replica holds. Pure."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec.structs import asdict

from cache_sync.body_dictionaries import knows_dictionary
from cache_sync.errors import DocumentTooLarge, InvalidFrame, UnknownVersion, UnreadableBody
from cache_sync.frames import CheckedFrame, Frame, check_format, digest_frame
from cache_sync.packed_bodies import BODY_BYTES_MAX, read_facts

_NEVER = datetime.min.replace(tzinfo=UTC)
SEQ_MAX = 2**63 - 1

# These say that a build itself cannot become true; the others may be a frame damaged on its way.
FATAL_TO_A_BUILD = frozenset({"floor", "epoch", "collision", "shard", "as_of", "behind", "hash"})


class Held(NamedTuple):
    """What a replica holds: its place in the feed, and T of its last barrier (None before the first)."""

    shard: str
    epoch: int
    cursor: int
    floor: int
    as_of: datetime | None

    @property
    def as_of_or_never(self) -> datetime:
        """T, or the beginning of time before the first barrier."""
        return self.as_of or _NEVER


def check_frame(frame: Frame) -> None:
    """
    Check a frame in itself: undamaged, complete, in order, and a barrier only where one can be.

    Raises:
        InvalidFrame: With the rule it breaks.
        UnknownVersion: It is of a format that another release writes.
    """
    check_format(frame.format)
    _require(frame.digest == digest_frame(frame), "digest", "the frame was damaged on its way")
    _require(
        frame.count == len(frame.rows),
        "count",
        f"{len(frame.rows)} rows came of {frame.count}",
    )
    _require(
        0 <= frame.after <= frame.upto <= frame.head <= SEQ_MAX and 0 < frame.epoch <= SEQ_MAX,
        "range",
        f"after {frame.after}, up to {frame.upto}, head {frame.head} in epoch {frame.epoch}",
    )
    previous = frame.after
    for row in frame.rows:
        # Not `_require`, which would write a sentence about every row.
        if row.seq <= previous:
            raise InvalidFrame("order", f"seq {row.seq} comes after {previous}")
        previous = row.seq
    _require(previous <= frame.upto, "range", f"seq {previous} is above {frame.upto}")
    if frame.barrier:
        _require(frame.upto == frame.head, "barrier", "a barrier that is not at the head")
    else:
        # A page that is neither at the head nor brings anything would be asked for again for ever.
        _require(
            bool(frame.rows) and previous == frame.upto, "range", "a page that does not move on"
        )
    _require(
        math.isfinite(frame.age_seconds) and frame.age_seconds >= 0,
        "age",
        f"an age of {frame.age_seconds} s",
    )
    _require(0 <= frame.floor <= frame.head, "floor", f"a floor of {frame.floor}")


def check_follows(frame: Frame, held: Held) -> None:
    """
    Check that a frame continues what is held: the same history, no gap, and T not before the T that was shown.

    A replica in epoch 0 is empty and takes the epoch of its first frame.

    Raises:
        InvalidFrame: With the rule it breaks.
    """
    _require(frame.shard == held.shard, "shard", f"shard {frame.shard!r}, not {held.shard!r}")
    begins = held.epoch == 0 and held.cursor == 0
    _require(
        begins or frame.epoch == held.epoch,
        "epoch",
        f"epoch {frame.epoch}, not {held.epoch}",
    )
    _require(
        frame.after == held.cursor,
        "gap",
        f"the frame begins after {frame.after}, the replica is at {held.cursor}",
    )
    if held.as_of is not None:
        _require(
            frame.as_of >= held.as_of,
            "as_of",
            f"core time went back from {held.as_of.isoformat()} to {frame.as_of.isoformat()}",
        )


def check_no_step_back(finished: Held, held: Held | None, least: tuple[int, int]) -> None:
    """
    Check that a new snapshot shows readers nothing older than they have seen.

    Args:
        finished: Where the new snapshot stands.
        held: Where the one that serves does; None without one.
        least: Epoch and seq that readers have seen.

    Raises:
        InvalidFrame: `behind` or `as_of`. A node above that is behind us is behind, not a fork.
    """
    _require(
        (finished.epoch, finished.cursor) >= least,
        "behind",
        f"the new snapshot is at {finished.cursor}",
    )
    if held is not None and finished.epoch == held.epoch:
        _require(
            finished.as_of_or_never >= held.as_of_or_never,
            "as_of",
            "the new snapshot's core time is older",
        )


def check_live(frame: Frame, live_hash: int, live_rows: int) -> None:
    """
    Check at a barrier that what is held is all of what lives above, and nothing else.

    Raises:
        InvalidFrame: `hash`: a document was left out, changed or never deleted, here or above.
    """
    _require(
        (live_hash, live_rows) == (frame.live_hash, frame.live_rows),
        "hash",
        f"{live_rows} live rows here do not sum up to the {frame.live_rows} above",
    )


def check_versions(frame: Frame, known_versions: Mapping[str, int]) -> CheckedFrame:
    """
    Check that a node can take every body: its version, by the newest of each kind that it reads, and how it is packed.

    Return the frame, which `check_frame` has found whole before, as one that may be applied.

    A kind that it does not know at all is nobody's business here, and is kept for those further down.

    Raises:
        UnknownVersion: A body's version is newer than what it reads, or it is packed with a `dictionary` of a later
            release.
        DocumentTooLarge: A body is longer than any may be.
        InvalidFrame: `body`: it is packed in no known way.
    """
    for row in frame.rows:
        body, known = row.body, known_versions.get(row.kind)
        if body is None:
            continue
        if known is not None and row.version > known:
            raise UnknownVersion(row.kind, row.version)
        if len(body) > BODY_BYTES_MAX:
            raise DocumentTooLarge(row.kind, len(body))
        if known is not None:
            _check_packing(row.kind, body)
    return CheckedFrame(**asdict(frame))


def _check_packing(kind: str, body: bytes) -> None:
    try:
        facts = read_facts(body)
    except UnreadableBody as error:
        raise InvalidFrame("body", str(error)) from error
    if not knows_dictionary(facts.dictionary):
        raise UnknownVersion("dictionary", facts.dictionary)
    if facts.text_bytes > BODY_BYTES_MAX:
        raise DocumentTooLarge(kind, facts.text_bytes)


def _require(holds: bool, reason: str, detail: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise InvalidFrame(reason, detail)

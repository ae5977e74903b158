"""
What nodes tell each other of the payments that wait with them: in short, signed, passed on.

With three edges or more a payment may be known to two others only until the core has posted it. So that a node can say
what it may miss, each tells with every greeting what waits there, and what it last heard of the others. What is told
names nobody: it is counts, sums and marks under a key of the fleet.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
import structlog

from cache_sync.clock import Clock
from failover.errors import JournalError
from failover.journal_outstanding import Outstanding, read_outstanding
from failover.journal_reader import JournalReader
from failover.marks import Marker, is_packed, pack_marks
from failover.noted_file import put_whole
from failover.peer_messages import Hello, Summary
from failover.sibling_news import WRITTEN_SECONDS, NodeNews, SiblingNews, undated
from failover.signing import Signer, verify_summary

TOLD_SECONDS: Final = 1.0
"""How long a node says the same of itself."""

FRESH_SECONDS: Final = 3.0
"""Of a sibling that said something itself so lately, nothing is taken from others."""

MARKS_BYTES_MAX: Final = 512 * 1024
"""Of all sets in one answer; what did not fit is told with a later one, when the caller has some of these."""

_WORK_SHARE: Final = 50
_log = structlog.get_logger(__name__)


def hash_marks(marks: bytes) -> str:
    """Name a set of marks."""
    return hashlib.blake2b(marks, digest_size=8).hexdigest()


class Gossip:
    """
    Makes what this node tells of itself, and keeps what it hears of its siblings; for one event loop.

    Args:
        node_id: This node.
        reader: Its journal.
        signer: Signs what it says of itself.
        public_keys: What siblings sign with: node id → base64 Ed25519. Of nobody else anything is taken.
        expelled: Says of a sibling whether it was; there is no news of it then.
        fleet_key: What marks are made with.
        normal: Says whether this node is in normal operation.
        core_now: Estimates core time; None while there is nothing to estimate it from.
        clock: Time.
        path: Where what was heard is written down for the node's other processes.
    """

    def __init__(  # noqa: PLR0913 - everything it tells of is handed in
        self,
        node_id: str,
        *,
        reader: JournalReader,
        signer: Signer,
        public_keys: Mapping[str, str],
        expelled: Callable[[str], bool],
        fleet_key: bytes,
        normal: Callable[[], bool],
        core_now: Callable[[], datetime | None],
        clock: Clock,
        path: Path,
    ) -> None:
        self._node_id = node_id
        self._reader = reader
        self._signer = signer
        self._public_keys = public_keys
        self._expelled = expelled
        self._marker = Marker(fleet_key)
        self._normal = normal
        self._core_now = core_now
        self._clock = clock
        self._path = path
        self._own: tuple[Summary, bytes] | None = None
        self._told_at = float("-inf")
        self._outstanding = Outstanding()
        self._marks = pack_marks(())
        self._read_version: object = None
        self._read_again_at = float("-inf")
        self._heard: dict[str, tuple[Summary, bytes, float]] = {}
        self._written: SiblingNews | None = None

    # Telling

    def tell(self, have: Collection[str]) -> tuple[list[Summary], dict[str, bytes]]:
        """
        Return the newest summaries that are known here, and the sets of marks that the asker does not ``have``.

        Of itself this node says nothing while its journal cannot be read, or it does not know the time.
        """
        own = self._about_itself()
        known = [
            *([own] if own else ()),
            *((told, marks) for told, marks, _ in self._heard.values()),
        ]
        sets: dict[str, bytes] = {}
        size = 0
        for told, marks in known:
            size += len(marks)
            if told.marks_hash not in have and size <= MARKS_BYTES_MAX:
                sets[told.marks_hash] = marks
        return [told for told, _ in known], sets

    def have(self) -> list[str]:
        """Name the sets of marks that need not be told again."""
        return [told.marks_hash for told, _, _ in self._heard.values()]

    def _about_itself(self) -> tuple[Summary, bytes] | None:
        now = self._clock.boot_seconds()
        if self._own is not None and now - self._told_at < TOLD_SECONDS:
            return self._own
        observed_at = self._core_now()
        try:
            if not self._look(now):
                return self._own
        except JournalError:
            observed_at = None
        if observed_at is None or not self._outstanding.incarnation:
            self._own = None
            return None
        waits = self._outstanding
        told = Summary(
            node_id=self._node_id,
            incarnation=waits.incarnation,
            last_ordinal=waits.last_ordinal,
            count=waits.count,
            cents=waits.cents,
            unlisted=waits.unlisted,
            marks_hash=hash_marks(self._marks),
            normal=self._normal(),
            observed_at=observed_at,
        )
        self._own, self._told_at = (self._signer.sign_summary(told), self._marks), now
        return self._own

    def _look(self, now: float) -> bool:
        """Look at the journal where it has changed; False where that waits: it takes a small share of the time."""
        version = self._reader.version()
        if version == self._read_version:
            return True
        if now < self._read_again_at:
            return False
        self._outstanding = read_outstanding(self._reader)
        self._marks = pack_marks(self._marks_of(self._outstanding.listed))
        self._read_version = version
        took = self._clock.boot_seconds() - now
        self._read_again_at = now + took * _WORK_SHARE
        return True

    def _marks_of(self, listed: Iterable[tuple[str, str]]) -> list[int]:
        counted: Counter[str] = Counter()
        marks = []
        for account_id, payment_id in listed:
            counted[account_id] += 1
            marks.append(self._marker.account(account_id, counted[account_id]))
            marks.append(self._marker.payment(account_id, payment_id))
        return marks

    # Hearing

    def hear(self, peer: str, hello: Hello, *, asked_at: float) -> None:
        """
        Take over what is new in a sibling's answer to a greeting of ``asked_at`` (boot clock).

        What it says of itself counts from the asking; of others it only passes on what they signed.
        """
        sets = {told.marks_hash: marks for told, marks, _ in self._heard.values()}
        for told in hello.summaries:
            if told.node_id not in self._public_keys:
                continue
            known = self._heard.get(told.node_id)
            heard_at = asked_at if told.node_id == peer else self._heard_through(peer, told, known)
            if heard_at is None:
                continue
            # Whoever has nothing waiting has the same set, so it may be known of another.
            marks = hello.marks.get(told.marks_hash, sets.get(told.marks_hash))
            if marks is None or not is_packed(marks) or hash_marks(marks) != told.marks_hash:
                continue
            self._heard[told.node_id] = (told, marks, heard_at)

    def _heard_through(
        self, peer: str, told: Summary, known: tuple[Summary, bytes, float] | None
    ) -> float | None:
        """Tell when something that a sibling passes on was so; None where it is not news, or not true."""
        now, core_now = self._clock.boot_seconds(), self._core_now()
        if core_now is None:
            return None
        heard_at = now - max(0.0, (core_now - told.observed_at).total_seconds())
        if known is not None:
            fresh = now - known[2] < FRESH_SECONDS
            if fresh or told.observed_at <= known[0].observed_at or heard_at <= known[2]:
                return None
        if not verify_summary(told, self._public_keys[told.node_id]):
            _log.error(
                "a sibling passes on what another has not said",
                alarm="forged_summary",
                peer=peer,
                node=told.node_id,
            )
            return None
        return heard_at

    # Writing down

    def write_down(self) -> None:
        """Write down what was heard, where something else must be known of it than is written."""
        news = SiblingNews(
            boot_id=self._clock.boot_id(),
            nodes=[
                self._news_of(peer)
                for peer in sorted(self._public_keys)
                if not self._expelled(peer)
            ],
        )
        if self._written is not None and not _is_news(self._written, news):
            return
        try:
            put_whole(self._path, msgspec.msgpack.encode(news))
        except OSError as error:
            # It grows old, and is told as such.
            _log.warning("what siblings said could not be written down", error=type(error).__name__)
            return
        self._written = news

    def _news_of(self, peer: str) -> NodeNews:
        known = self._heard.get(peer)
        if known is None:
            return NodeNews(node_id=peer)
        told, marks, heard_at = known
        return NodeNews(
            node_id=peer,
            heard_at=heard_at,
            observed_at=told.observed_at,
            incarnation=told.incarnation,
            last_ordinal=told.last_ordinal,
            count=told.count,
            cents=told.cents,
            unlisted=told.unlisted,
            normal=told.normal,
            marks=marks,
        )


def _is_news(written: SiblingNews, now: SiblingNews) -> bool:
    """Tell whether more has changed than that siblings were heard of again, or that was long ago."""
    return (
        written.boot_id != now.boot_id
        or len(written.nodes) != len(now.nodes)
        or any(
            undated(before) != undated(after)
            or (after.heard_at or 0.0) - (before.heard_at or 0.0) >= WRITTEN_SECONDS
            for before, after in zip(written.nodes, now.nodes, strict=True)
        )
    )

"""
Is this core the one that its edges have followed so far?

A core whose database was restored from a backup has forgotten what it published after it, and would give out the same
positions for other documents. Edges show the barrier they have reached, its chain hash and this core's seal on it, with
every probe, every intent and every question to the feed; a sealed barrier that is not in this core's history proves the
restore, also when the core has published as much again since. From then on feed, probe and intake
answer 503 until an operator raises the epoch (`core epoch raise`): edges go on serving what they hold and keep payments
queued, instead of mixing two histories.
"""

from datetime import datetime
from typing import NamedTuple

import msgspec
import structlog

from cache_sync.document_table import ShardHead
from cache_sync.frames import Proof
from failover.web import Problem

_AGREED_MAX = 1024
_log = structlog.get_logger(__name__)


class ForgottenPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A position that a node has reached and this core does not know: epoch and seq shown, and this core's own."""

    node_id: str
    epoch: int
    seq: int
    core_epoch: int
    core_head: int
    seen_at: datetime


class Known(NamedTuple):
    """
    What a core knows about a place in a shard's history.

    ``chain`` is the chain hash of the commit that ended there, None where none did; ``oldest`` is the seq of the oldest
    commit whose chain hash is still kept.
    """

    head: ShardHead
    chain: bytes | None
    oldest: int

    def contradicts(self, shown: Proof) -> bool:
        """
        Tell whether this core can never have given out a barrier, although it has sealed it.

        A restored core that has outgrown the node again has a commit of another chain there, or none.
        """
        if (shown.epoch, shown.seq) > (self.head.epoch, self.head.head):
            return True
        if shown.epoch < self.head.epoch or shown.seq < self.oldest:
            return False
        return self.chain != shown.chain


class Lineage:
    """Remembers the first position that this core cannot match; one per running core."""

    def __init__(self) -> None:
        self._forgotten: ForgottenPosition | None = None
        self._agreed: set[str] = set()
        self._agreed_at: int | None = None

    def agrees(self, shown: str, version: int | None) -> bool:
        """
        Tell whether a proof as it was shown has been compared with this very state of the database.

        Many followers show the same barrier, and ask again before anything was committed.

        Args:
            shown: The proof.
            version: What changes with every commit; None where that cannot be told: then it has to be compared.
        """
        return (
            version is not None
            and version == self._agreed_at
            and self._forgotten is None
            and shown in self._agreed
        )

    def note_agreed(self, shown: str, proof: Proof | None, version: int | None) -> None:
        """Note that what was shown has been compared, without a contradiction; what is no proof may be anything."""
        if version is None or (proof is None and shown):
            return
        if version != self._agreed_at or len(self._agreed) >= _AGREED_MAX:
            self._agreed.clear()
            self._agreed_at = version
        self._agreed.add(shown)

    def forgotten(self, head: ShardHead) -> ForgottenPosition | None:
        """Return what this core has forgotten, None while it has not, or since its epoch was raised above it."""
        shown = self._forgotten
        if shown is not None and head.epoch > max(shown.epoch, shown.core_epoch):
            self._forgotten = None
        return self._forgotten

    def check(self, shown: Proof | None, known: Known, *, node_id: str, now: datetime) -> None:
        """
        Compare a barrier that a registered node has proven to have reached with this core's own history.

        Args:
            shown: With this core's own seal; nobody stops a core with a position that he made up.
            known: What this core knows about that place.
            node_id: Who shows it.
            now: For the record.

        Raises:
            Problem: 503 `restored`: this core has forgotten something, now or before.
        """
        head = known.head
        if shown is not None and self._forgotten is None and known.contradicts(shown):
            self._forgotten = ForgottenPosition(
                node_id=node_id,
                epoch=shown.epoch,
                seq=shown.seq,
                core_epoch=head.epoch,
                core_head=head.head,
                seen_at=now,
            )
            _log.error(
                "this core has forgotten what it published: was it restored from a backup?",
                alarm="restored",
                edge=node_id,
                shown=f"{shown.epoch}.{shown.seq}",
                here=f"{head.epoch}.{head.head}",
            )
        if self.forgotten(head) is not None:
            raise Problem(
                "restored",
                status=503,
                title="This core was restored from a backup",
                detail="It waits for an operator to raise its epoch: core epoch raise",
                retry="same",
            )

"""
Is this core the one that its edges have followed so far?

A core whose database was restored from a backup has forgotten what it published after it, and would give out the same
positions for other documents. Edges show the position they have reached with every probe and every intent, and with
every question to the feed; a position this core never gave out proves the restore. From then on feed, probe and intake
answer 503 until an operator raises the epoch (`core epoch raise`): edges go on serving what they hold and keep payments
queued, instead of mixing two histories.
"""

from datetime import datetime

import msgspec
import structlog

from cache_sync.document_table import ShardHead
from cache_sync.frames import Position
from failover.web import Problem

_log = structlog.get_logger(__name__)


class ForgottenPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A position that a node has reached and this core does not know: epoch and seq shown, and this core's own."""

    node_id: str
    epoch: int
    seq: int
    core_epoch: int
    core_head: int
    seen_at: datetime


class Lineage:
    """Remembers the first position that this core cannot match; one per running core."""

    def __init__(self) -> None:
        self._forgotten: ForgottenPosition | None = None

    def forgotten(self, head: ShardHead) -> ForgottenPosition | None:
        """Return what this core has forgotten, None while it has not, or since its epoch was raised above it."""
        shown = self._forgotten
        if shown is not None and head.epoch > max(shown.epoch, shown.core_epoch):
            self._forgotten = None
        return self._forgotten

    def check(
        self, shown: Position | None, head: ShardHead, *, node_id: str, now: datetime
    ) -> None:
        """
        Compare a position that a registered node has reached with this core's own.

        Raises:
            Problem: 503 `restored`: this core has forgotten something, now or before.
        """
        ahead = shown is not None and (shown.epoch, shown.seq) > (head.epoch, head.head)
        if shown is not None and ahead and self._forgotten is None:
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

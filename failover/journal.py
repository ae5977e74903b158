"""
The journal: what customers asked this node to do, on its own disk, before anybody is told that it was taken.

Only the agent writes it. Every change is durable (synchronous FULL) when its call returns. A commit that failed fences
the journal: SQLite would go on acknowledging after the disk reported an error, so nothing is acknowledged until the
file was reopened, forced out to the disk and verified.
"""

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.sqlite import Connection, Error, WrongKey, connect
from failover import journal_captures as captures
from failover import journal_changes as changes
from failover import journal_pruning as pruning
from failover.errors import JournalError, JournalFenced, JournalFull
from failover.group_commit import Change, Committer, ThreadCommitter
from failover.intents import Capture, Intent, Outcome
from failover.journal_changes import Draft, Offers, Recorded, Recording, Rules
from failover.journal_order import dated
from failover.journal_pruning import Pruned, PruneOrder
from failover.journal_reader import JournalReader
from failover.journal_schema import JournalEntry, prepare, verify
from failover.peer_messages import Source
from failover.signing import Signer
from failover.standin import Limits

INCARNATION_BYTES = 16
STALLED_SECONDS = 2.0

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class JournalBounds(msgspec.Struct, frozen=True, kw_only=True):
    """How large a journal may grow: undecided intents, and bytes that must stay free on its disk."""

    pending_max: int = 50_000
    free_bytes_min: int = 64 * 1024 * 1024


def _connect(path: Path, keys: FileKeys) -> Connection:
    return connect(path, synchronous="FULL", same_thread=False, keys=keys)


def _free_bytes(path: Path) -> int:
    # Asked before every payment: the library's way through the folder's path costs ten times as much.
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


class Journal:
    """
    The agent's own journal; made by `open`, used from one event loop.

    ``incarnation`` is made with the file, at random: a node whose disk was lost comes back with another, and "unknown"
    from it proves nothing about what the lost one had recorded.
    """

    def __init__(  # noqa: PLR0913 — assembled by `open` alone
        self,
        path: Path,
        *,
        node_id: str,
        incarnation: str,
        signer: Signer,
        bounds: JournalBounds,
        free_bytes: Callable[[Path], int],
        connect_file: Callable[[Path], Connection],
        make_committer: Callable[[Connection], Committer],
        connection: Connection,
        keys: FileKeys = PLAIN,
    ) -> None:
        self.path = path
        self.node_id = node_id
        self.incarnation = incarnation
        self.reader = JournalReader(path, keys=keys)
        self._signer = signer
        self._bounds = bounds
        self._free_bytes = free_bytes
        self._connect_file = connect_file
        self._make_committer = make_committer
        self._committer = make_committer(connection)
        self._acknowledged = 0
        self._uncertain: set[str] = set()

    @classmethod
    def open(  # noqa: PLR0913 - everything that a test or a simulator replaces
        cls,
        path: Path,
        *,
        node_id: str,
        signer: Signer,
        random_bytes: Callable[[int], bytes] = os.urandom,
        bounds: JournalBounds | None = None,
        free_bytes: Callable[[Path], int] = _free_bytes,
        connect_file: Callable[[Path], Connection] | None = None,
        make_committer: Callable[[Connection], Committer] = ThreadCommitter,
        keys: FileKeys = PLAIN,
    ) -> "Journal":
        """
        Open the journal, or make it; voids what was recorded but never offered. Needs a running event loop.

        Args:
            path: The file.
            node_id: Whose it is.
            signer: Signs what is recorded.
            random_bytes: Where a new journal's incarnation comes from.
            bounds: How large it may grow.
            free_bytes: Tells how many bytes are free on the disk of a path.
            connect_file: Opens the file, where it is not the ordinary way.
            make_committer: Who commits.
            keys: What the file is, or will be, encrypted under.

        Raises:
            JournalError: The file is another node's, damaged, has holes, or is under a key that is not held.
        """
        connect_file = connect_file or partial(_connect, keys=keys)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = connect_file(path)
            try:
                incarnation = prepare(
                    connection,
                    node_id=node_id,
                    new_incarnation=random_bytes(INCARNATION_BYTES).hex(),
                )
            except BaseException:
                connection.close()
                raise
        except WrongKey as error:
            raise JournalError(f"the journal cannot be opened: {error}") from error
        except Error as error:
            raise JournalError(f"the journal cannot be opened: {type(error).__name__}") from error
        return cls(
            path,
            node_id=node_id,
            incarnation=incarnation,
            signer=signer,
            bounds=bounds or JournalBounds(),
            free_bytes=free_bytes,
            connect_file=connect_file,
            make_committer=make_committer,
            connection=connection,
            keys=keys,
        )

    @property
    def fenced(self) -> bool:
        """Tell whether a commit failed, so that the journal takes nothing until `reopen` succeeds."""
        return self._committer.fenced

    @property
    def full(self) -> bool:
        """Tell whether its disk is so nearly full that nothing new is recorded; so is one that does not answer."""
        try:
            return self._free_bytes(self.path) < self._bounds.free_bytes_min
        except OSError:
            return True

    @property
    def stalled(self) -> bool:
        """Tell whether its disk has left a change without an answer for so long that nothing new is recorded."""
        return self._committer.waiting_seconds > STALLED_SECONDS

    def in_doubt(self, intent_id: str) -> bool:
        """Tell whether a commit of this intent failed and may be on the disk all the same, until `reopen` finds out."""
        return intent_id in self._uncertain

    def close(self) -> None:
        """Finish what was taken and close the file; blocks for one commit."""
        self._committer.close()
        self.reader.close()

    def reopen(self) -> None:
        """
        Open the file again after a failed commit, force it out to the disk and verify it; blocks.

        Raises:
            JournalError: Not yet possible; the journal stays fenced.
        """
        self._committer.close()
        self.reader.close()
        try:
            connection = self._connect_file(self.path)
            try:
                self._force_out(connection)
            except BaseException:
                connection.close()
                raise
        except Error as error:
            raise JournalError(f"the journal's disk still fails: {type(error).__name__}") from error
        self._committer = self._make_committer(connection)
        self._uncertain.clear()
        _log.warning("journal reopened and verified", last_acknowledged=self._acknowledged)

    def _force_out(self, connection: Connection) -> None:
        # After a failed sync the kernel may believe pages clean that never reached the disk: write the file itself.
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise JournalError("a reader is in the way of writing the journal out")
        verify(connection, ordinal_at_least=self._acknowledged)
        (incarnation,) = connection.execute("SELECT incarnation FROM journal").fetchone()
        if incarnation != self.incarnation:
            raise JournalError("the journal's file was exchanged")

    # -- own intents ---------------------------------------------------------------------------------------------------

    async def record(
        self,
        draft: Draft,
        offers: Offers,
        *,
        limits: Limits,
        edge_share_known: bool,
        outage_seconds: float = 0.0,
    ) -> Recording:
        """
        Record a payment, reserve it and note whom it is offered to; durable when this returns.

        The same id and fingerprint again returns what is known; see `Recording` for the rest.

        Raises:
            JournalFull: The disk is nearly full; nothing was recorded.
            JournalFenced: Nothing is acknowledged; says whether this attempt may be on the disk.
        """
        self._check_room()
        rules = Rules(
            limits=limits,
            edge_share_known=edge_share_known,
            outage_seconds=outage_seconds,
            pending_max=self._bounds.pending_max,
        )
        try:
            recording = await self._committer.run(
                lambda connection: changes.record(
                    connection, dated(connection, draft), offers, rules, self._build
                )
            )
        except JournalFenced as error:
            raise JournalFenced(uncertain=self._may_be_known(draft.intent_id, error)) from error
        if isinstance(recording, Recorded):
            self._acknowledged = max(self._acknowledged, recording.entry.position)
        return recording

    async def offer(self, ordinal: int, *, witness: str | None = None, core: bool = False) -> bool:
        """Note whom an undecided intent is about to be offered to as well; False when it must not be any more."""
        return await self._run(
            lambda connection: changes.offer(connection, ordinal, witness=witness, core=core)
        )

    async def confirm(self, ordinals: Iterable[int], witness: str) -> None:
        """Note that a witness holds durable copies; lost with the power, the note is made again by asking again."""
        known = list(ordinals)
        await self._committer.run(
            lambda connection: changes.confirm(connection, known, witness), durable=False
        )

    async def void(self, ordinal: int) -> bool:
        """End an attempt of which no byte left this node; False when it is decided or confirmed after all."""
        return await self._run(lambda connection: changes.void(connection, ordinal))

    # -- captured here -------------------------------------------------------------------------------------------------

    async def begin_capture(self, ordinal: int, now: datetime) -> bool:
        """Note that the processor is about to be called, at ``now`` (core time); False when it must not be."""
        return await self._run(lambda connection: captures.begin_capture(connection, ordinal, now))

    async def end_capture(self, ordinal: int, capture: Capture) -> JournalEntry | None:
        """Write what the processor said into the intent, signed anew; None when that is there already."""
        sign = self._signer.sign
        return await self._run(
            lambda connection: captures.end_capture(connection, ordinal, capture, sign)
        )

    async def told_capture(self, ordinals: Iterable[int]) -> None:
        """Note that the core knows of captures that it had decided without."""
        known = list(ordinals)
        await self._run(lambda connection: captures.told_capture(connection, known))

    async def released(self, ordinals: Iterable[int], peer: str) -> None:
        """Note that a holder of copies knows their outcomes."""
        known = list(ordinals)
        await self._run(lambda connection: changes.released(connection, known, peer))

    # -- own intents and copies ----------------------------------------------------------------------------------------

    async def settle(self, outcomes: Iterable[Outcome]) -> list[str]:
        """Take over what the core decided, for own intents and copies; returns the ids that were undecided here."""
        known = list(outcomes)
        return await self._run(lambda connection: changes.settle(connection, known))

    async def renew(self, outcomes: Iterable[Outcome]) -> int:
        """Replace outcomes of an earlier epoch by the core's of a later one; returns how many rows that were."""
        known = list(outcomes)
        return await self._run(lambda connection: changes.renew(connection, known))

    async def empty_bodies(self, *, decided_before: datetime, limit: int) -> int:
        """Empty the bodies of messages that were decided before an instant (core time); returns how many that were."""
        return await self._run(
            lambda connection: pruning.empty_bodies(
                connection, decided_before=decided_before, limit=limit
            )
        )

    # What is dropped with the power's loss is dropped again: it need not wait for the disk.

    async def prune(
        self, source: Source, order: PruneOrder, *, after: tuple[int, int], limit: int
    ) -> Pruned:
        """Drop settled entries that an order allows, of ``limit`` of them behind a place (seq, position)."""
        return await self._committer.run(
            lambda connection: pruning.prune_settled(
                connection, source, order, after=after, limit=limit
            ),
            durable=False,
        )

    async def prune_void(self, order: PruneOrder, *, after: int, limit: int) -> Pruned:
        """Drop attempts that ended here, of ``limit`` of them behind an ordinal."""
        return await self._committer.run(
            lambda connection: pruning.prune_void(connection, order, after=after, limit=limit),
            durable=False,
        )

    async def forget_receipts(self, *, pruned_before: datetime, limit: int) -> int:
        """Drop what is told of ids that were pruned before an instant (core time); returns how many that were."""
        return await self._committer.run(
            lambda connection: pruning.forget_receipts(
                connection, pruned_before=pruned_before, limit=limit
            ),
            durable=False,
        )

    # -- copies for siblings -------------------------------------------------------------------------------------------

    async def store_copies(self, intents: Iterable[Intent]) -> tuple[list[str], list[str]]:
        """
        Keep copies for a sibling; returns the ids held and those refused. Durable when this returns.

        Raises:
            JournalFull: The disk is nearly full; none was kept.
        """
        self._check_room()
        known = list(intents)
        return await self._run(lambda connection: changes.store_copies(connection, known))

    async def inherit(self, peer: str, cents: int) -> None:
        """Count what a sibling holds of this node's earlier incarnations into the stand-in share."""
        await self._run(lambda connection: changes.inherit(connection, peer, cents))

    async def inherited(self) -> dict[str, int]:
        """Tell which siblings' copies of earlier incarnations are counted, and with how many cents."""
        return await self._run(changes.inherited_from)

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _run(self, change: Change[T]) -> T:
        return await self._committer.run(change)

    def _check_room(self) -> None:
        if self.stalled:
            # What waits may still be written; more would only wait behind it, without a bound.
            raise JournalFull("the journal's disk does not answer")
        if self.full:
            raise JournalFull("the journal's disk is nearly full")

    def _may_be_known(self, intent_id: str, error: JournalFenced) -> bool:
        """Tell whether an id may be in the file: in doubt by a failed commit, or visibly there."""
        if error.uncertain:
            self._uncertain.add(intent_id)
        if intent_id in self._uncertain:
            return True
        try:
            return self.reader.find(intent_id) is not None
        except JournalError:
            return True

    def _build(self, draft: Draft, ordinal: int, not_after: datetime | None) -> Intent:
        return self._signer.sign(
            Intent(
                intent_id=draft.intent_id,
                fingerprint=draft.fingerprint,
                type=draft.type,
                kind=draft.kind,
                account_id=draft.account_id,
                amount_cents=draft.amount_cents,
                currency=draft.currency,
                method_id=draft.method_id,
                idempotency_key=draft.idempotency_key,
                # What is signed must read back the same from any encoding, so every instant is in UTC.
                accepted_at=draft.accepted_at.astimezone(UTC),
                edge_id=self.node_id,
                incarnation=self.incarnation,
                ordinal=ordinal,
                not_after=None if not_after is None else not_after.astimezone(UTC),
                body_hash=draft.body_hash,
                body=draft.body,
            )
        )

"""
Reading a journal: by web workers, the agent, status commands and reconciliation, also while the agent is dead.

Every method is one short read of its own; nothing keeps a transaction open across a wait. A journal that does not exist
yet reads as empty.
"""

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.sqlite import (
    Connection,
    Error,
    OperationalError,
    WrongKey,
    connect,
    data_version,
    file_key_id,
)
from failover.errors import JournalError
from failover.intent_states import (
    CHARGE_OPEN,
    CHARGE_OWED,
    CHARGE_UNANSWERED,
    COPY_UNDECIDED,
    OWN_LIVING,
    OWN_UNDECIDED,
    SETTLED,
)
from failover.intents import Outcome, Receipt
from failover.journal_pruned import read_part, read_receipts
from failover.journal_schema import JournalEntry, entry, micros, moment
from failover.journal_views import JournalSize, OpenCapture, QueueSummary, Release, Waiting
from failover.peer_messages import Holding, RecordedPage, Source
from failover.pruned_sums import gaps

PAGE_MAX = 500
_BUSY_TIMEOUT_SECONDS = 0.25

_decode_outcome = msgspec.msgpack.Decoder(Outcome).decode


class JournalReader:
    """
    Reads one journal file; for one thread.

    Args:
        path: The file.
        keys: What it is encrypted under.
    """

    def __init__(self, path: Path, *, keys: FileKeys = PLAIN) -> None:
        self._path = path
        self._keys = keys
        self._connection: Connection | None = None
        self._opened = 0

    def version(self) -> tuple[int, int] | None:
        """
        Return what changes with every commit to the journal, at the price of a microsecond; None before there is one.

        Raises:
            JournalError: It cannot be read.
        """
        if self._connection is None:
            self.rows("SELECT 1")
        if self._connection is None:
            return None
        try:
            return self._opened, data_version(self._connection)
        except Error as error:
            self.close()
            raise JournalError("the journal cannot be read") from error

    def key_id(self) -> str:
        """Return the id of the key that the journal is encrypted under; empty for a plain one, or for none."""
        self.rows("SELECT 1")
        return file_key_id(self._connection) if self._connection is not None else ""

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- customers -----------------------------------------------------------------------------------------------------

    def receipts(self, account_id: str, *, settled_since: datetime) -> list[Receipt]:
        """
        Return an account's intents that the core has not decided, or decided since; newest first, each once.

        Own records come before copies of the same intent. Voided attempts are left out: they bind nothing.
        """
        since = micros(settled_since)
        own = self.rows(
            f"SELECT * FROM own_entries WHERE account_id = ? AND {OWN_LIVING} "
            "AND (decided_micros IS NULL OR decided_micros >= ?)",
            (account_id, since),
        )
        copies = self.rows(
            "SELECT * FROM copy_entries WHERE account_id = ? "
            "AND (decided_micros IS NULL OR decided_micros >= ?)",
            (account_id, since),
        )
        found: dict[tuple[str, str], JournalEntry] = {}
        for row in [*(entry("own", row) for row in own), *(entry("copies", row) for row in copies)]:
            pair = (row.intent.intent_id, row.intent.fingerprint)
            known = found.get(pair)
            # A decided copy beats an undecided record: the outcome is news that has not come round yet.
            if known is None or (row.settled and not known.settled):
                found[pair] = row
        newest_first = sorted(found.values(), key=lambda row: row.intent.accepted_at, reverse=True)
        return [row.receipt() for row in newest_first]

    def receipt(self, account_id: str, intent_id: str) -> Receipt | None:
        """Return what is known here of one payment of this account; a voided attempt only when nothing else is."""
        pair = (account_id, intent_id)
        own = self.rows(
            "SELECT * FROM own_entries WHERE account_id = ? AND intent_id = ? ORDER BY position DESC",
            pair,
        )
        copies = self.rows(
            "SELECT * FROM copy_entries WHERE intent_id = ?2 AND account_id = ?1",
            pair,
        )
        rows = [*(entry("own", row) for row in own), *(entry("copies", row) for row in copies)]
        best = min(rows, key=lambda row: (not row.settled, row.state == "void"), default=None)
        if best is not None and best.settled:
            return best.receipt()
        pruned = [told for told in self.pruned(intent_id) if told.account_id == account_id]
        if pruned:
            return pruned[0]
        return None if best is None else best.receipt()

    def pruned(self, intent_id: str) -> list[Receipt]:
        """Return what is told of an id that was decided and pruned here: of each content that was taken under it."""
        return read_receipts(self.rows, intent_id)

    # -- operators -----------------------------------------------------------------------------------------------------

    def queue(self, core_now: datetime | None) -> QueueSummary:
        """Sum up what waits for the core; ``core_now`` is the estimated core time, None when there is none."""
        own = self.rows(
            f"""
            SELECT journal.pending,
                (SELECT coalesce(sum(amount_cents), 0) FROM intents WHERE {OWN_UNDECIDED}),
                (SELECT min(accepted_micros) FROM intents WHERE {OWN_UNDECIDED})
            FROM journal
            """
        )
        copies = self.rows(
            f"SELECT count(*), coalesce(sum(amount_cents), 0) FROM copies WHERE {COPY_UNDECIDED}"
        )
        if not own:
            return QueueSummary()
        pending, amount, oldest = own[0]
        waited = (
            (core_now - moment(oldest)).total_seconds() if core_now and oldest is not None else 0.0
        )
        return QueueSummary(
            pending=pending,
            oldest_seconds=max(0.0, waited),
            amount_cents=amount,
            copies_held=copies[0][0],
            copies_cents=copies[0][1],
        )

    def outstanding_cents(self) -> int:
        """Tell what counts against this edge's share: reserved and undecided, and what siblings hold of it besides."""
        rows = self.rows(
            "SELECT outstanding_cents + (SELECT coalesce(sum(cents), 0) FROM inherited) FROM journal"
        )
        return int(rows[0][0]) if rows else 0

    def waiting(self) -> Waiting:
        """
        Sum up own undecided intents and the copies held, for the core's operators.

        Raises:
            JournalError: There is no journal to read.
        """
        rows = self.rows(
            f"""
            SELECT count(*), coalesce(sum(amount_cents), 0), min(accepted_micros), coalesce(sum(CASE WHEN EXISTS (
                SELECT 1 FROM offers WHERE offers.ordinal = intents.ordinal AND confirmed) THEN 0
                ELSE amount_cents END), 0), (SELECT incarnation FROM journal)
            FROM intents WHERE {OWN_UNDECIDED}
            """
        )
        if not rows or rows[0][4] is None:
            raise JournalError("there is no journal here yet")
        pending, cents, oldest, one_copy, incarnation = rows[0]
        held = self.rows(
            f"""
            SELECT writer, incarnation, count(*), sum(amount_cents), min(accepted_micros)
            FROM copies WHERE {COPY_UNDECIDED} GROUP BY writer, incarnation
            """
        )
        return Waiting(
            incarnation=incarnation,
            pending=pending,
            amount_cents=cents,
            one_copy_cents=one_copy,
            oldest_at=moment(oldest) if oldest is not None else None,
            holdings=[
                Holding(
                    writer=writer,
                    incarnation=of,
                    count=count,
                    cents=sum_,
                    oldest_at=moment(first),
                )
                for writer, of, count, sum_, first in held
            ],
        )

    def page(
        self, source: Source, *, after: int, limit: int = PAGE_MAX, undecided: bool = False
    ) -> RecordedPage:
        """
        Return recorded intents with what became of them, in order, for reconciliation; or those that wait only.

        Raises:
            JournalError: There is no journal to read: an answer without intents would be a lie.
        """
        limit = max(1, min(limit, PAGE_MAX))
        about = self.rows("SELECT node_id, incarnation, last_ordinal FROM journal")
        if not about:
            raise JournalError("there is no journal here yet")
        node_id, incarnation, last = about[0]
        view = "own_entries" if source == "own" else "copy_entries"
        which = f" AND {OWN_UNDECIDED}" if undecided else ""
        rows = self.rows(
            f"SELECT * FROM {view} WHERE position > ?{which} ORDER BY position LIMIT ?",
            (after, limit),
        )
        items = [entry(source, row).recorded() for row in rows]
        complete = len(items) < limit
        upto = last if complete else items[-1].position
        # Read after the rows: one that was dropped meanwhile is in at least one of the two.
        pruned = None if undecided else read_part(self.rows, source)
        holes: list[int] = []
        if source == "own" and pruned is not None:
            present = {item.position for item in items}
            holes = list(gaps(present, pruned.ordinals, after=after, upto=upto, limit=PAGE_MAX))
        return RecordedPage(
            node_id=node_id,
            incarnation=incarnation,
            items=items,
            next_after=None if complete else items[-1].position,
            holes=holes,
            last_ordinal=last,
            pruned=pruned if complete else None,
        )

    def size(self) -> JournalSize:
        """Tell how large the journal is; all zero where there is none."""
        rows = self.rows(
            """
            SELECT (SELECT count(*) FROM intents), (SELECT count(*) FROM copies),
                (SELECT coalesce(sum(last - first + 1), 0) FROM pruned_ordinals),
                (SELECT coalesce(max(mark), '') FROM pruning)
            """
        )
        if not rows:
            return JournalSize()
        entries, copies, pruned, mark = rows[0]
        return JournalSize(
            bytes=_bytes_on_disk(self._path),
            entries=entries,
            copies=copies,
            pruned=pruned,
            mark=mark,
        )

    def pruned_by(self) -> str:
        """Return the mark of the newest backup by which something was dropped; empty while nothing was."""
        rows = self.rows("SELECT mark FROM pruning")
        return str(rows[0][0]) if rows else ""

    # -- the agent's own work ------------------------------------------------------------------------------------------

    def find(self, intent_id: str) -> JournalEntry | None:
        """Find the living own intent of this id, else a copy."""
        own = self.rows(
            f"SELECT * FROM own_entries WHERE intent_id = ? AND {OWN_LIVING}",
            (intent_id,),
        )
        if own:
            return entry("own", own[0])
        copies = self.rows(
            "SELECT * FROM copy_entries WHERE intent_id = ? ORDER BY position LIMIT 1",
            (intent_id,),
        )
        return entry("copies", copies[0]) if copies else None

    def undecided(self, *, limit: int) -> list[JournalEntry]:
        """Return own undecided intents, oldest first."""
        rows = self.rows(
            f"SELECT * FROM own_entries WHERE {OWN_UNDECIDED} ORDER BY accepted_micros LIMIT ?",
            (limit,),
        )
        return [entry("own", row) for row in rows]

    def promised(self, known: JournalEntry) -> JournalEntry:
        """
        Return a sibling's copy of the same wish where that is a promise and the own record is none; else what is known.

        Over a limit here, a payment was offered to the core alone and only until a last moment. A sibling that took it
        within its own limits has accepted it for good: the core must not hear of the last moment first.
        """
        if known.intent.not_after is None:
            return known
        rows = self.rows(
            f"SELECT * FROM copy_entries WHERE intent_id = ? AND {COPY_UNDECIDED} ORDER BY position",
            (known.intent.intent_id,),
        )
        for copy in (entry("copies", row) for row in rows):
            if copy.intent.fingerprint == known.intent.fingerprint and not copy.intent.not_after:
                return copy
        return known

    def unconfirmed(self, *, limit: int) -> list[JournalEntry]:
        """Return own undecided intents without a confirmed second copy that may have one, oldest first."""
        rows = self.rows(
            f"""
            SELECT * FROM own_entries WHERE {OWN_UNDECIDED} AND reserved
            AND NOT EXISTS (SELECT 1 FROM offers WHERE offers.ordinal = position AND confirmed)
            ORDER BY accepted_micros LIMIT ?
            """,
            (limit,),
        )
        return [entry("own", row) for row in rows]

    def open_captures(self, *, limit: int) -> list[OpenCapture]:
        """Return living own payments that were to be captured and have no answer, oldest first."""
        rows = self.rows(
            f"""
            SELECT own_entries.*, captures.attempted_micros FROM captures
            JOIN own_entries ON own_entries.position = captures.ordinal
            WHERE captures.{CHARGE_OPEN} AND captures.{CHARGE_UNANSWERED} AND own_entries.{OWN_LIVING}
            ORDER BY captures.ordinal LIMIT ?
            """,
            (limit,),
        )
        return [OpenCapture(entry("own", row), row[-1]) for row in rows]

    def owed_captures(self, *, limit: int) -> list[JournalEntry]:
        """Return own payments that were captured and that the core decided otherwise before it could know."""
        rows = self.rows(
            f"""
            SELECT own_entries.* FROM captures JOIN own_entries ON own_entries.position = captures.ordinal
            WHERE captures.{CHARGE_OPEN} AND captures.{CHARGE_OWED} LIMIT ?
            """,
            (limit,),
        )
        return [entry("own", row) for row in rows]

    def holdings(self) -> list[tuple[str, str, int, int]]:
        """Return (writer, incarnation, oldest accepted_micros, cents) of the undecided copies."""
        return self.rows(
            f"""
            SELECT writer, incarnation, min(accepted_micros), sum(amount_cents)
            FROM copies WHERE {COPY_UNDECIDED} GROUP BY writer, incarnation
            """
        )

    def held(
        self, writer: str, incarnation: str, *, until: datetime, limit: int
    ) -> list[JournalEntry]:
        """Return undecided copies of one writer's incarnation that were accepted up to ``until``, oldest first."""
        rows = self.rows(
            f"""
            SELECT * FROM copy_entries
            WHERE {COPY_UNDECIDED} AND writer = ? AND incarnation = ? AND accepted_micros <= ?
            ORDER BY accepted_micros LIMIT ?
            """,
            (writer, incarnation, micros(until), limit),
        )
        return [entry("copies", row) for row in rows]

    def releases(self, peer: str, *, limit: int) -> list[Release]:
        """Return outcomes that a holder of copies has not been told yet."""
        rows = self.rows(
            """
            SELECT offers.ordinal, intents.outcome FROM offers JOIN intents USING (ordinal)
            WHERE offers.release = 'owed' AND offers.peer = ? LIMIT ?
            """,
            (peer, limit),
        )
        return [Release(ordinal, _decode_outcome(outcome)) for ordinal, outcome in rows]

    def decided_before(
        self, epoch: int, source: Source, *, after: int, limit: int
    ) -> list[JournalEntry]:
        """Return what the core decided in an epoch before this one, behind a position, in order."""
        own = source == "own"
        rows = self.rows(
            f"SELECT * FROM own_entries WHERE position IN (SELECT ordinal FROM intents WHERE {SETTLED} "
            "AND decided_epoch < ?1 AND ordinal > ?2 ORDER BY ordinal LIMIT ?3) ORDER BY position"
            if own
            else f"SELECT * FROM copy_entries WHERE position IN (SELECT position FROM copies WHERE {SETTLED} "
            "AND decided_epoch < ?1 AND position > ?2 ORDER BY position LIMIT ?3) ORDER BY position",
            (epoch, after, limit),
        )
        return [entry(source, row) for row in rows]

    def inherited(self) -> Collection[str]:
        """Return the siblings whose copies of this node's earlier incarnations are counted."""
        return {peer for (peer,) in self.rows("SELECT peer FROM inherited")}

    # -- any question --------------------------------------------------------------------------------------------------

    def rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """Answer one question; empty before there is a journal. Raises `JournalError`."""
        try:
            if self._connection is None:
                if not self._path.exists():
                    return []
                self._connection = connect(
                    self._path,
                    synchronous="NORMAL",
                    read_only=True,
                    busy_timeout_seconds=_BUSY_TIMEOUT_SECONDS,
                    keys=self._keys,
                )
                self._opened += 1
            # One statement, read to its end, sees one state: a transaction around it would cost twice as much again.
            return self._connection.execute(sql, values).fetchall()
        except OperationalError as error:
            self.close()
            if "no such table" in str(error):
                return []
            raise JournalError("the journal cannot be read") from error
        except WrongKey as error:
            raise JournalError(f"the journal cannot be read: {error}") from error
        except Error as error:
            self.close()
            raise JournalError("the journal cannot be read") from error


def _bytes_on_disk(path: Path) -> int:
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())

"""
The journal's tables, what a row means, and what makes a journal whole.

One file holds what this node recorded (`intents`, with the witnesses they were offered to in `offers`) and the copies
it keeps for its siblings (`copies`). It is never replaced by anything that comes from elsewhere. Of what it need not
keep any more (`failover.journal_pruning`) sums, ordinals and receipts stay.
"""

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from cache_sync.sqlite import Connection, Error, write
from failover.errors import JournalError
from failover.intent_states import (
    ABSENT,
    CHARGE,
    CHARGE_OPEN,
    COPY,
    COPY_UNDECIDED,
    IS_VOID,
    NEVER_OFFERED,
    OWN,
    OWN_LIVING,
    OWN_OFFERED,
    OWN_UNDECIDED,
    SETTLED,
    VOID,
    Machine,
    OwnState,
    sql_words,
)
from failover.intents import (
    ASKING_BANK,
    NOT_CAPTURED,
    Capture,
    Intent,
    Outcome,
    Receipt,
    declined_reason,
)
from failover.peer_messages import RecordedIntent, Source

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INCREMENTAL = 2
_REWRITTEN_BYTES_MAX = 256 * 1024 * 1024

_TABLES = f"""
CREATE TABLE IF NOT EXISTS journal (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    node_id TEXT NOT NULL,
    incarnation TEXT NOT NULL,
    last_ordinal INTEGER NOT NULL,
    pending INTEGER NOT NULL,
    outstanding_cents INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS intents (
    ordinal INTEGER PRIMARY KEY,
    intent_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    account_id TEXT NOT NULL,
    amount_cents INTEGER NOT NULL,
    accepted_micros INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN {sql_words(OWN.states)}),
    reserved INTEGER NOT NULL,
    offered_core INTEGER NOT NULL,
    intent BLOB NOT NULL,
    outcome BLOB,
    decided_micros INTEGER,
    decided_epoch INTEGER,
    decided_shard TEXT,
    decided_seq INTEGER,
    has_body INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS intents_live ON intents (intent_id) WHERE {OWN_LIVING};
CREATE INDEX IF NOT EXISTS intents_by_account ON intents (account_id, accepted_micros);
CREATE INDEX IF NOT EXISTS intents_pending ON intents (accepted_micros) WHERE {OWN_UNDECIDED};
CREATE TABLE IF NOT EXISTS offers (
    ordinal INTEGER NOT NULL REFERENCES intents (ordinal),
    peer TEXT NOT NULL,
    confirmed INTEGER NOT NULL,
    release TEXT NOT NULL CHECK (release IN ('not_yet', 'owed', 'done')),
    PRIMARY KEY (ordinal, peer)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS offers_owed ON offers (peer, ordinal) WHERE release = 'owed';
CREATE TABLE IF NOT EXISTS copies (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    writer TEXT NOT NULL,
    incarnation TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    intent_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    account_id TEXT NOT NULL,
    amount_cents INTEGER NOT NULL,
    accepted_micros INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN {sql_words(COPY.states)}),
    intent BLOB NOT NULL,
    outcome BLOB,
    decided_micros INTEGER,
    decided_epoch INTEGER,
    decided_shard TEXT,
    decided_seq INTEGER,
    has_body INTEGER NOT NULL DEFAULT 0,
    UNIQUE (writer, incarnation, ordinal)
) STRICT;
CREATE INDEX IF NOT EXISTS copies_by_id ON copies (intent_id);
CREATE INDEX IF NOT EXISTS copies_by_account ON copies (account_id, accepted_micros);
CREATE INDEX IF NOT EXISTS copies_held ON copies (writer, incarnation, accepted_micros) WHERE {COPY_UNDECIDED};
CREATE VIEW IF NOT EXISTS own_entries AS SELECT
    ordinal AS position, state, reserved, offered_core, intent, outcome,
    (SELECT group_concat(peer || ' ' || confirmed, char(10)) FROM offers
        WHERE offers.ordinal = intents.ordinal) AS offers,
    intent_id, account_id, accepted_micros, decided_micros
    FROM intents;
CREATE VIEW IF NOT EXISTS copy_entries AS SELECT
    position, state, 1 AS reserved, 0 AS offered_core, intent, outcome, NULL AS offers,
    intent_id, account_id, accepted_micros, decided_micros, writer, incarnation
    FROM copies;
CREATE TABLE IF NOT EXISTS captures (
    ordinal INTEGER PRIMARY KEY REFERENCES intents (ordinal),
    state TEXT NOT NULL CHECK (state IN {sql_words(CHARGE.states)}),
    attempted_micros INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS captures_open ON captures (ordinal) WHERE {CHARGE_OPEN};
CREATE TABLE IF NOT EXISTS inherited (peer TEXT PRIMARY KEY, cents INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS intents_void ON intents (ordinal) WHERE {IS_VOID};
CREATE TABLE IF NOT EXISTS pruning (one INTEGER PRIMARY KEY CHECK (one = 1), mark TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS pruned_ordinals (first INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS pruned_sums (
    source TEXT NOT NULL CHECK (source IN ('own', 'copies')),
    writer TEXT NOT NULL,
    incarnation TEXT NOT NULL,
    day TEXT NOT NULL,
    type TEXT NOT NULL,
    state TEXT NOT NULL,
    count INTEGER NOT NULL,
    cents INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (source, writer, incarnation, day, type, state)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pruned_receipts (
    position INTEGER PRIMARY KEY,
    intent_id TEXT NOT NULL,
    pruned_micros INTEGER NOT NULL,
    receipt BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS pruned_receipts_by_id ON pruned_receipts (intent_id);
"""

# After a step from an older file, in which these columns were not there yet.
_INDEXES = f"""
CREATE INDEX IF NOT EXISTS intents_decided ON intents (decided_epoch, decided_seq) WHERE {SETTLED};
CREATE INDEX IF NOT EXISTS copies_decided ON copies (decided_epoch, decided_seq) WHERE {SETTLED};
CREATE INDEX IF NOT EXISTS intents_with_body ON intents (decided_micros) WHERE has_body = 1;
CREATE INDEX IF NOT EXISTS copies_with_body ON copies (decided_micros) WHERE has_body = 1;
"""
_ADDED_COLUMNS = (
    ("decided_epoch", "INTEGER"),
    ("decided_shard", "TEXT"),
    ("decided_seq", "INTEGER"),
    ("has_body", "INTEGER NOT NULL DEFAULT 0"),
)

_encode = msgspec.msgpack.Encoder().encode
_decode_intent = msgspec.msgpack.Decoder(Intent).decode
_decode_outcome = msgspec.msgpack.Decoder(Outcome).decode


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """
    One intent as this node knows it: recorded here (``source`` own) or held for a sibling (copies).

    ``position`` is the ordinal of an own intent, the order of arrival of a copy. ``witnesses`` maps the nodes that the
    intent was offered to as a second copy to whether they confirmed it. ``reserved`` says that it counts into the
    stand-in limits; without, only the core's own commit can accept it.
    """

    position: int
    source: Source
    intent: Intent
    state: OwnState
    reserved: bool
    offered_core: bool
    outcome: Outcome | None
    witnesses: dict[str, bool]

    @property
    def durable(self) -> bool:
        """Tell whether a second copy exists: a sibling's, the core's, or for a copy the writer's own."""
        return self.source == "copies" or self.settled or any(self.witnesses.values())

    @property
    def settled(self) -> bool:
        """Tell whether the core decided."""
        return self.state == "settled"

    def receipt(self) -> Receipt:
        """Say what a customer is told."""
        intent, outcome = self.intent, self.outcome
        fields = {
            "intent_id": intent.intent_id,
            "fingerprint": intent.fingerprint,
            "account_id": intent.account_id,
            "type": intent.type,
            "amount_cents": intent.amount_cents,
            "currency": intent.currency,
            "method_id": intent.method_id,
            "body_hash": intent.body_hash,
            "body": intent.body,
            "accepted_at": intent.accepted_at,
            "durable": self.durable,
        }
        if outcome is None:
            return Receipt(**fields, state=self._undecided(), reason=self._checked_because())  # type: ignore[arg-type]
        fields["accepted_at"] = outcome.accepted_at or intent.accepted_at
        return Receipt(
            **fields,  # type: ignore[arg-type]
            state=outcome.state,
            decided_at=outcome.decided_at,
            value_date=outcome.value_date,
            reason=outcome.reason,
            case_number=outcome.case_number,
            epoch=outcome.epoch,
            shard=outcome.shard,
            seq=outcome.seq,
            signature=outcome.signature,
        )

    def _undecided(self) -> Literal["void", "accepted", "checking"]:
        if self.state == "void":
            return "void"
        taken = isinstance(self.intent.capture, Capture) and self.intent.capture.state == "captured"
        if self.intent.kind == "captured" and not taken:
            # A copy of it is a copy of a question: what counts is what the processor says.
            return "checking"
        return "accepted" if self.durable else "checking"

    def _checked_because(self) -> str:
        """Say why a captured payment without an outcome is not accepted; empty where nothing special is known."""
        if self.intent.kind == "promise":
            return ""
        match self.intent.capture:
            case Capture(state="declined", code=code):
                return declined_reason(code)
            case Capture(state="nothing"):
                return NOT_CAPTURED
            case Capture():
                return ""
            case _:
                return ASKING_BANK

    def recorded(self) -> RecordedIntent:
        """Say what reconciliation is told."""
        return RecordedIntent(
            position=self.position,
            source=self.source,
            intent=self.intent,
            state=self.state,
            outcome=self.outcome,
            offered_core=self.offered_core,
            witnesses=sorted(self.witnesses),
            confirmed=sorted(peer for peer, confirmed in self.witnesses.items() if confirmed),
        )


def entry(source: Source, row: tuple[Any, ...]) -> JournalEntry:
    """Read a row of the view ``own_entries`` or ``copy_entries``."""
    position, state, reserved, offered_core, intent, outcome, offers = row[:7]
    witnesses = [line.rpartition(" ") for line in offers.split("\n")] if offers else []
    return JournalEntry(
        position=position,
        source=source,
        intent=_decode_intent(intent),
        state=state,
        reserved=bool(reserved),
        offered_core=bool(offered_core),
        outcome=None if outcome is None else _decode_outcome(outcome),
        witnesses={peer: confirmed == "1" for peer, _, confirmed in witnesses},
    )


def decode_intent(blob: bytes) -> Intent:
    """Read an intent back from its blob column."""
    return _decode_intent(blob)


def encode(value: Intent | Outcome) -> bytes:
    """Encode what a blob column holds."""
    return _encode(value)


def place_of(outcome: Outcome) -> tuple[int, str, int]:
    """Tell where the document of an outcome stands: epoch, shard, seq."""
    return outcome.epoch, outcome.shard, outcome.seq


def micros(moment: datetime) -> int:
    """Count an instant in microseconds since 1970, as columns hold it."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(count: int) -> datetime:
    """Read an instant back."""
    return _EPOCH + timedelta(microseconds=count)


def prepare(connection: Connection, *, node_id: str, new_incarnation: str) -> str:
    """
    Make the tables where they are not there, and return the journal's incarnation.

    An intent found recorded but never offered was never answered either: it is voided.

    Raises:
        JournalError: The file belongs to another node, or is not whole.
    """
    _make_shrinkable(connection)
    connection.executescript(_TABLES)
    with write(connection):
        _bring_up_to_date(connection)
    connection.executescript(_INDEXES)
    with write(connection):
        connection.execute(
            "INSERT INTO journal VALUES (1, ?, ?, 0, 0, 0) ON CONFLICT DO NOTHING",
            (node_id, new_incarnation),
        )
        owner, incarnation = connection.execute(
            "SELECT node_id, incarnation FROM journal"
        ).fetchone()
        if owner != node_id:
            raise JournalError(f"this journal belongs to {owner}, not to {node_id}")
        connection.execute(f"UPDATE intents SET state = '{VOID}' WHERE {NEVER_OFFERED}")
        connection.execute(
            f"""
            UPDATE journal SET (pending, outstanding_cents) = (
                SELECT count(*), coalesce(sum(amount_cents * reserved), 0)
                FROM intents WHERE {OWN_OFFERED})
            """
        )
    verify(connection)
    return str(incarnation)


def _make_shrinkable(connection: Connection) -> None:
    """
    Have the file give back pages that are free, where it does not yet: a new one, or an older release's.

    That takes one rewriting of the file. A large one is left as it is, and so is one that the disk has no room for: its
    free pages are used again, and the file stays as long as it is.
    """
    # Of an encrypted file some of them are told as text.
    mode, pages, page_bytes = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("auto_vacuum", "page_count", "page_size")
    )
    if mode == _INCREMENTAL or pages * page_bytes > _REWRITTEN_BYTES_MAX:
        return
    with contextlib.suppress(Error):
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL").fetchall()
        connection.execute("VACUUM")


def _bring_up_to_date(connection: Connection) -> None:
    """Add to an older release's file where each outcome stands, and which intents have a body: none had one."""
    for table, key in (("intents", "ordinal"), ("copies", "position")):
        known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        missing = [(name, kind) for name, kind in _ADDED_COLUMNS if name not in known]
        for name, kind in missing:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
        if ("decided_seq", "INTEGER") not in missing:
            continue
        settled = connection.execute(
            f"SELECT outcome, {key} FROM {table} WHERE {SETTLED}"
        ).fetchall()
        connection.executemany(
            f"UPDATE {table} SET decided_epoch = ?, decided_shard = ?, decided_seq = ? WHERE {key} = ?",
            [(*place_of(_decode_outcome(outcome)), position) for outcome, position in settled],
        )


def check_no_effect(
    connection: Connection, machine: Machine[Any], ordinal: int, event: str
) -> None:
    """
    Check that an event which changed nothing, of an intent or of its charge, came too late; after it was pruned all do.

    Raises:
        IllegalTransition: It cannot be in this state at all.
    """
    pruned = connection.execute(
        "SELECT last FROM pruned_ordinals WHERE first <= ? ORDER BY first DESC LIMIT 1", (ordinal,)
    ).fetchone()
    if pruned is not None and pruned[0] >= ordinal:
        return
    table = "captures" if machine is CHARGE else "intents"
    row = connection.execute(f"SELECT state FROM {table} WHERE ordinal = ?", (ordinal,)).fetchone()
    machine.after(row[0] if row else ABSENT, event)


def verify(connection: Connection, *, ordinal_at_least: int = 0) -> None:
    """
    Check that the journal is whole: ordinals without holes up to the newest one given out, and readable pages.

    Raises:
        JournalError: It is not; says what is wrong.
    """
    if (problem := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise JournalError(f"the journal's file is damaged: {problem}")
    (last,) = connection.execute("SELECT last_ordinal FROM journal").fetchone()
    count, highest = connection.execute(
        "SELECT count(*), coalesce(max(ordinal), 0) FROM intents"
    ).fetchone()
    pruned, pruned_to = connection.execute(
        "SELECT coalesce(sum(last - first + 1), 0), coalesce(max(last), 0) FROM pruned_ordinals"
    ).fetchone()
    if not count + pruned == max(highest, pruned_to) == last:
        raise JournalError(
            f"the journal holds {count} intents up to {max(highest, pruned_to)}, {pruned} more were pruned,"
            f" but it gave out {last} ordinals"
        )
    if last < ordinal_at_least:
        raise JournalError(f"the journal ends at {last} but {ordinal_at_least} was acknowledged")

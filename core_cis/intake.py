"""
Intents in, at most once.

An intent is decided in one transaction: its inbox row, the ledger, the payment and the documents. The same (id,
fingerprint) again gets the first outcome; the same id with another fingerprint is rejected. An intent whose
processing fails unexpectedly is undone alone (a savepoint), counted durably, and after some attempts put under review
with a case number, so that it never holds up the others.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
import structlog

from cache_sync.frames import Position
from cache_sync.sql import DatabaseError, IntegrityError, insert_rows
from core_cis.awaited_edges import refuse_while_awaiting
from core_cis.charge_records import owe_refund
from core_cis.decisions import Decision, decision_of, under_review
from core_cis.earlier_copies import hear_earlier
from core_cis.errors import DocumentTooLarge, MoneyUnknown
from core_cis.instants import to_text
from core_cis.intent_kinds import Decide, decide, document_of, record, turn_of
from core_cis.money_of_intents import hear_late, money_of
from core_cis.payment_judging import plain_payments, read_standings
from core_cis.payment_posting import record_decisions
from core_cis.settings import ServerSettings
from core_cis.store import CoreStore, Transaction
from failover.errors import where
from failover.intents import Intent, Outcome
from failover.signing import verify

_AMOUNT_BITS = 62
_TOGETHER_MIN = 2
_log = structlog.get_logger(__name__)

# What became of a case follows its first outcome.
_FIND = """
    SELECT i.fingerprint, coalesce(c.outcome, i.outcome)
    FROM inbox i LEFT JOIN case_outcomes c ON c.intent_id = i.intent_id AND c.fingerprint = i.fingerprint
    WHERE i.intent_id = ?
"""
_INSERT = """
    INSERT INTO inbox (intent_id, fingerprint, won, state, account_id, edge_id, incarnation, ordinal, delivered_by,
        received_at, intent, outcome) VALUES
"""
_COUNT_FAILURE = """
    INSERT INTO intake_failures (intent_id, fingerprint, attempts, last_error, failed_at) VALUES (?, ?, 1, ?, ?)
    ON CONFLICT (intent_id, fingerprint) DO UPDATE
    SET attempts = intake_failures.attempts + 1, last_error = excluded.last_error, failed_at = excluded.failed_at
    RETURNING attempts
"""
_FORGET_FAILURE = "DELETE FROM intake_failures WHERE intent_id = ? AND fingerprint = ?"


class FormerKey(NamedTuple):
    """A key that an edge signed with until ``replaced_at``, when it was given another."""

    public_key: str
    replaced_at: datetime


class EdgeKey(NamedTuple):
    """What an edge's signature is checked with; ``revoked_at`` when it is no longer one of us."""

    public_key: str
    revoked_at: datetime | None
    former: tuple[FormerKey, ...] = ()


class IntakeResult(msgspec.Struct, frozen=True, kw_only=True):
    """
    What became of a batch.

    ``outcomes`` are final. ``posted``, ``rejected``, ``dead_lettered``, ``repeated`` and ``conflicts`` count them;
    ``refused`` counts intents that nobody proved to have recorded, ``failed`` those to be tried again, ``held`` how
    many at the batch's end were left for later by an operator's order or the core's pace, with how long the drain
    should pause: none of them has an outcome.
    """

    outcomes: list[Outcome]
    posted: int = 0
    rejected: int = 0
    dead_lettered: int = 0
    repeated: int = 0
    conflicts: int = 0
    refused: int = 0
    failed: int = 0
    held: int = 0
    pause_seconds: float = 0.0


class _Undo(Exception):
    """Ends a rehearsal's transaction, so that nothing of it stays."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        super().__init__()
        self.outcomes = outcomes


class _Tally:
    def __init__(self) -> None:
        self.decided: list[tuple[Intent, Outcome]] = []
        self.counts: dict[str, int] = {}

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def add(self, intent: Intent, outcome: Outcome, *, repeated: bool) -> None:
        self.decided.append((intent, outcome))
        if repeated:
            self.count("repeated")
            return
        self.count("dead_lettered" if outcome.state == "dead_letter" else outcome.state)
        if outcome.reason == "id_conflict":
            self.count("conflicts")

    def sort(self, intents: Sequence[Intent]) -> None:
        """Put what was decided into the order in which it was asked for."""
        # By which it is, not by what it says: the same intent may have come twice.
        turns = {id(intent): turn for turn, intent in enumerate(intents)}
        self.decided.sort(key=lambda pair: turns[id(pair[0])])


def check_signatures(
    intents: list[Intent], edge_keys: Mapping[str, EdgeKey]
) -> tuple[list[Intent], list[tuple[Intent, str]]]:
    """
    Part intents into those that a registered edge provably recorded and the others, with a stable reason each.

    An edge that was revoked or given new keys since is still believed for what it accepted before: a replaced edge's
    payments, drained by the sibling that holds their copies, must not be lost.
    """
    proven: list[Intent] = []
    refused: list[tuple[Intent, str]] = []
    for intent in intents:
        reason = _reason_to_refuse(intent, edge_keys.get(intent.edge_id))
        if reason:
            refused.append((intent, reason))
        else:
            proven.append(intent)
    return proven, refused


def _reason_to_refuse(intent: Intent, key: EdgeKey | None) -> str:
    if key is None:
        return "unknown_edge"
    if key.revoked_at is not None and intent.accepted_at >= key.revoked_at:
        return "revoked_edge"
    # Beyond this no column holds it, and no honest edge records it.
    if intent.amount_cents.bit_length() > _AMOUNT_BITS:
        return "absurd_amount"
    # Nor does a database server hold this character in any text.
    capture = () if intent.capture is msgspec.UNSET else msgspec.structs.astuple(intent.capture)
    body = () if intent.body is msgspec.UNSET else msgspec.structs.astuple(intent.body)
    said = (*msgspec.structs.astuple(intent), *capture, *body)
    if any("\0" in text for text in said if isinstance(text, str)):
        return "absurd_text"
    valid = [key.public_key]
    valid += [former.public_key for former in key.former if intent.accepted_at < former.replaced_at]
    return "" if any(verify(intent, each) for each in valid) else "bad_signature"


class Intake:
    """
    Decides intents, in the thread that owns the store.

    Args:
        store: The core's database.
        settings: Attempts and plausible times of acceptance.
        process: Decides one intent within a savepoint; a parameter so that tests can make it fail.
    """

    def __init__(
        self,
        store: CoreStore,
        settings: ServerSettings,
        process: Decide = decide,
    ) -> None:
        self._store = store
        self._settings = settings
        self._decide = process

    def take(self, proven: list[Intent], *, delivered_by: str) -> IntakeResult:
        """
        Decide intents whose signatures were checked, as one transaction.

        Raises:
            DatabaseError: The disk or the database refused: nothing of the batch was decided.
            EdgesAwaited: This core was restored and waits for edges: likewise.
        """

        def work(tx: Transaction) -> tuple[Transaction, _Tally]:
            refuse_while_awaiting(tx.connection)
            tally = self._take_all(tx, proven, delivered_by)
            for intent, outcome in tally.decided:
                tx.locate(*document_of(intent, outcome))
            return tx, tally

        tx, tally = self._store.run(work)
        outcomes = [
            placed(outcome, tx.position(*document_of(intent, outcome)))
            for intent, outcome in tally.decided
        ]
        return IntakeResult(outcomes=outcomes, **tally.counts)

    def rehearse(self, proven: list[Intent]) -> list[Outcome]:
        """
        Tell what `take` would decide of intents by now, and undo it all.

        What fails is tried as often as a drain would try it, so that what would end under review does so here. Nobody
        is charged: a promise that the processor still has to charge counts as charged. The outcomes have no positions.

        Raises:
            DatabaseError: The disk or the database refused.
        """

        def work(tx: Transaction) -> None:
            outcomes: list[Outcome] = []
            left = proven
            for _ in range(self._settings.attempts_max):
                tally = self._take_all(tx, left, "rehearsal")
                outcomes += (outcome for _, outcome in tally.decided)
                decided = {(intent.intent_id, intent.fingerprint) for intent, _ in tally.decided}
                left = [each for each in left if (each.intent_id, each.fingerprint) not in decided]
                if not left:
                    break
            raise _Undo(outcomes)

        try:
            self._store.run(work)
        except _Undo as undone:
            return undone.outcomes
        raise AssertionError("a rehearsal is always undone")

    def judge_again(self, tx: Transaction, intent: Intent) -> Decision:
        """
        Judge an intent whose processing was given up once more, in the caller's transaction.

        Raises:
            Exception: Whatever its processing fails with, as before.
        """
        (won,) = tx.connection.execute(
            "SELECT won FROM inbox WHERE intent_id = ? AND fingerprint = ?",
            (intent.intent_id, intent.fingerprint),
        ).fetchone()
        return self._judge(tx, intent, taken=not won)

    def _take_all(self, tx: Transaction, proven: list[Intent], delivered_by: str) -> _Tally:
        tally = _Tally()
        tx.hold_accounts(intent.account_id for intent in proven)
        together = self._take_together(tx, proven, delivered_by, tally)
        for intent in sorted(proven, key=turn_of):
            if intent.intent_id not in together:
                self._take_one(tx, intent, delivered_by, tally)
        tally.sort(proven)
        return tally

    def _take_together(
        self, tx: Transaction, proven: Sequence[Intent], delivered_by: str, tally: _Tally
    ) -> frozenset[str]:
        """
        Decide the payments that have nothing to do with any other intent, in a few statements for all of them.

        Returns:
            Their ids; none where one of them broke, which is found by deciding each alone.
        """
        plain = plain_payments(tx, proven)
        if len(plain) < _TOGETHER_MIN:
            return frozenset()
        try:
            with tx.savepoint():
                decisions = [
                    self._decide(tx, intent, self._settings, standing)
                    for intent, standing in zip(plain, read_standings(tx, plain), strict=True)
                ]
                decided = [
                    (intent, outcome_of(tx, intent, decision))
                    for intent, decision in zip(plain, decisions, strict=True)
                ]
                record_decisions(tx, decisions)
                keep_outcomes(tx, decided, delivered_by, won=True)
        except Exception as error:
            if isinstance(error, DatabaseError) and not isinstance(error, IntegrityError):
                raise
            return frozenset()
        for intent, outcome in decided:
            tally.add(intent, outcome, repeated=False)
        return frozenset(intent.intent_id for intent in plain)

    def _take_one(self, tx: Transaction, intent: Intent, delivered_by: str, tally: _Tally) -> None:
        try:
            with tx.savepoint():
                outcome, repeated = self._first_outcome(tx, intent, delivered_by)
        except MoneyUnknown:
            # Nobody's fault, and not the intent's: it is asked for again.
            tally.count("failed")
        except Exception as error:
            # A failing disk is nobody's poison: the whole batch is undone and asked again.
            if isinstance(error, DatabaseError) and not isinstance(error, IntegrityError):
                raise
            parked = self._park(tx, intent, delivered_by, error)
            if parked is None:
                tally.count("failed")
            else:
                tally.add(intent, parked, repeated=False)
        else:
            tally.add(intent, outcome, repeated=repeated)

    def _first_outcome(
        self, tx: Transaction, intent: Intent, delivered_by: str
    ) -> tuple[Outcome, bool]:
        known = dict(tx.connection.execute(_FIND, (intent.intent_id,)).fetchall())
        if intent.fingerprint in known:
            hear_late(tx, intent)
            first = msgspec.msgpack.decode(known[intent.fingerprint], type=Outcome)
            hear_earlier(tx, intent, first, self._settings, delivered_by=delivered_by)
            return first, True
        decision = self._judge(tx, intent, taken=bool(known))
        outcome = _write(tx, intent, decision, delivered_by, won=not known)
        tx.connection.execute(_FORGET_FAILURE, (intent.intent_id, intent.fingerprint))
        return outcome, False

    def _judge(self, tx: Transaction, intent: Intent, *, taken: bool) -> Decision:
        """Judge an intent; ``taken`` says that another payment has its id already."""
        if not taken:
            return self._decide(tx, intent, self._settings, None)
        _log.error("one id, two payments", alarm="id_conflict", edge=intent.edge_id)
        money = money_of(tx, intent)
        if money.state == "captured":
            owe_refund(tx, intent, money.charge_id, "id_conflict")
        return decision_of(intent, state="rejected", reason="id_conflict")

    def _park(
        self, tx: Transaction, intent: Intent, delivered_by: str, error: Exception
    ) -> Outcome | None:
        (attempts,) = tx.connection.execute(
            _COUNT_FAILURE,
            (intent.intent_id, intent.fingerprint, type(error).__name__, to_text(tx.stamp)),
        ).fetchall()[0]
        given_up = attempts >= self._settings.attempts_max
        _log.error(
            "an intent could not be processed",
            alarm="dead_letter" if given_up else "intake_failure",
            attempts=attempts,
            edge=intent.edge_id,
            error=type(error).__name__,
            frames=where(error),
        )
        if not given_up:
            return None
        try:
            with tx.savepoint():
                won = tx.connection.execute(_FIND, (intent.intent_id,)).fetchone() is None
                decision = decision_of(intent, **under_review(intent))
                outcome = _write(tx, intent, decision, delivered_by, won=won)
                tx.connection.execute(_FORGET_FAILURE, (intent.intent_id, intent.fingerprint))
                return outcome
        except (IntegrityError, DocumentTooLarge, ValueError, OverflowError):
            _log.exception("an intent could not even be put under review", alarm="dead_letter")
            return None


def placed(outcome: Outcome, position: Position) -> Outcome:
    """Return an outcome that names where its document stands."""
    return msgspec.structs.replace(
        outcome, epoch=position.epoch, shard=position.shard, seq=position.seq
    )


def outcome_of(tx: Transaction, intent: Intent, decision: Decision) -> Outcome:
    """
    Write a decision of this transaction as an outcome.

    Where its document stands is known when the transaction ends, and asked for anew with every repetition.
    """
    return Outcome(
        intent_id=intent.intent_id,
        fingerprint=intent.fingerprint,
        state=decision.state,
        accepted_at=intent.accepted_at,
        decided_at=tx.stamp,
        value_date=decision.value_date,
        reason=decision.reason,
        case_number=decision.case_number,
        epoch=0,
        shard="",
        seq=0,
    )


def _write(
    tx: Transaction, intent: Intent, decision: Decision, delivered_by: str, *, won: bool
) -> Outcome:
    record(tx, intent, decision)
    outcome = outcome_of(tx, intent, decision)
    keep_outcome(tx, intent, outcome, delivered_by, won=won)
    return outcome


def keep_outcome(
    tx: Transaction, intent: Intent, outcome: Outcome, delivered_by: str, *, won: bool
) -> None:
    """
    Keep an intent's first outcome for ever; ``won`` says that the intent has its id, and no other.

    A message is kept without its body: that is in `messages`, where it can be emptied.
    """
    keep_outcomes(tx, [(intent, outcome)], delivered_by, won=won)


def keep_outcomes(
    tx: Transaction, decided: Sequence[tuple[Intent, Outcome]], delivered_by: str, *, won: bool
) -> None:
    """Keep several first outcomes in one statement, as `keep_outcome` does each."""
    received_at = to_text(tx.stamp)
    insert_rows(
        tx.connection,
        _INSERT,
        [
            (
                intent.intent_id,
                intent.fingerprint,
                int(won),
                outcome.state,
                intent.account_id,
                intent.edge_id,
                intent.incarnation,
                intent.ordinal,
                delivered_by,
                received_at,
                msgspec.msgpack.encode(intent if intent.is_payment else intent.without_body()),
                msgspec.msgpack.encode(outcome),
            )
            for intent, outcome in decided
        ],
    )

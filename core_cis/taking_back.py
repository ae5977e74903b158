"""
Taking outcomes back that this core once decided, signed, and forgot in a restore.

An outcome with this core's own signature is final, whoever kept it: it goes in as it was, with the state, the value
date and the time of decision that the customer was told. Only its position is new. What contradicts a decision of the
present history is put under review, never posted a second time.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import structlog

from cache_sync.sql import DatabaseError, IntegrityError
from core_cis.decisions import decision_of
from core_cis.earlier_copies import hear_earlier
from core_cis.intake import EdgeKey, check_signatures, keep_outcome, placed
from core_cis.intent_kinds import document_of, record
from core_cis.payment_posting import read_account_facts
from core_cis.settings import ServerSettings
from core_cis.store import CoreStore, Transaction
from failover.errors import where
from failover.intents import ID_CONFLICT, DecidedIntent, Intent, Outcome, receipt_number
from failover.signing import verify_outcome

_log = structlog.get_logger(__name__)
_FIND = "SELECT fingerprint, outcome FROM inbox WHERE intent_id = ?"
_WON = "SELECT 1 FROM inbox WHERE intent_id = ? AND won = 1"


class TakenBack(NamedTuple):
    """What became of a batch: the outcomes that hold now, and how many of them were new to these books."""

    outcomes: list[Outcome]
    entered: int


def check_returned(
    items: list[DecidedIntent], edge_keys: Mapping[str, EdgeKey], core_key: str
) -> list[DecidedIntent]:
    """Return those that an edge provably recorded and this core provably decided."""
    intents, _ = check_signatures([item.intent for item in items], edge_keys)
    recorded = {id(intent) for intent in intents}
    return [
        item
        for item in items
        if id(item.intent) in recorded
        and (item.outcome.intent_id, item.outcome.fingerprint)
        == (item.intent.intent_id, item.intent.fingerprint)
        and verify_outcome(item.outcome, core_key)
    ]


def take_back(
    store: CoreStore, items: list[DecidedIntent], settings: ServerSettings, *, delivered_by: str
) -> TakenBack:
    """
    Enter outcomes that were checked, as one transaction; one that is known already gets what is known.

    What cannot be entered, such as a payment on an account that is not in the books, has no outcome and is told in the
    log: its edge keeps it and brings it again. An edge that accepted a payment before the one whose copy was posted
    says so again with it (`core_cis.earlier_copies`); ``settings`` tell what day is plausible.

    Raises:
        DatabaseError: The disk or the database refused: nothing was entered.
    """

    def work(tx: Transaction) -> tuple[Transaction, list[tuple[Intent, Outcome]], int]:
        decided: list[tuple[Intent, Outcome]] = []
        entered = 0
        tx.hold_accounts(item.intent.account_id for item in items)
        for item in items:
            try:
                with tx.savepoint():
                    outcome, is_new = _enter(tx, item, delivered_by)
                    hear_earlier(tx, item.intent, outcome, settings, delivered_by=delivered_by)
            except Exception as error:
                if isinstance(error, DatabaseError) and not isinstance(error, IntegrityError):
                    raise
                _log.error(
                    "an outcome cannot be taken back",
                    alarm="not_taken_back",
                    edge=item.intent.edge_id,
                    error=type(error).__name__,
                    frames=where(error),
                )
                continue
            decided.append((item.intent, outcome))
            entered += is_new
        for intent, outcome in decided:
            tx.locate(*document_of(intent, outcome))
        return tx, decided, entered

    tx, decided, entered = store.run(work)
    outcomes = [
        placed(outcome, tx.position(*document_of(intent, outcome))) for intent, outcome in decided
    ]
    return TakenBack(outcomes, entered)


def _enter(tx: Transaction, item: DecidedIntent, delivered_by: str) -> tuple[Outcome, bool]:
    intent, told = item.intent, item.outcome
    known = dict(tx.connection.execute(_FIND, (intent.intent_id,)).fetchall())
    if intent.fingerprint in known:
        first = msgspec.msgpack.decode(known[intent.fingerprint], type=Outcome)
        if (first.state, first.value_date) != (told.state, told.value_date):
            _contradicted(intent)
        return first, False
    loses = told.reason == ID_CONFLICT
    if not loses and tx.connection.execute(_WON, (intent.intent_id,)).fetchone() is not None:
        _contradicted(intent)
        told, loses = _under_review(tx, intent, told), True
    facts = read_account_facts(tx.connection, intent.account_id, tx.utility.currency)
    method = facts.method(intent.method_id) if facts else None
    record(
        tx,
        intent,
        decision_of(
            intent,
            state=told.state,
            accepted_at=told.accepted_at or intent.accepted_at,
            value_date=told.value_date,
            reason=told.reason,
            case_number=told.case_number,
            decided_at=told.decided_at,
            method_label=method.label if method else "",
        ),
    )
    kept = msgspec.structs.replace(told, epoch=0, shard="", seq=0, signature="")
    keep_outcome(tx, intent, kept, delivered_by, won=not loses)
    return kept, True


def _under_review(tx: Transaction, intent: Intent, told: Outcome) -> Outcome:
    """Say what becomes of an outcome whose id another payment has won since: people decide about a posted one."""
    posted = told.state == "posted"
    case = f"C-{receipt_number(intent.intent_id + intent.fingerprint)}"
    return msgspec.structs.replace(
        told,
        state="dead_letter" if posted else "rejected",
        reason=ID_CONFLICT,
        case_number=case if posted else "",
        value_date=None,
        decided_at=tx.stamp,
    )


def _contradicted(intent: Intent) -> None:
    _log.error(
        "an outcome of before the restore contradicts one of after it",
        alarm="contradicted_outcome",
        edge=intent.edge_id,
    )

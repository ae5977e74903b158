"""
What can be done to a journal: each function is one change, run by the committer inside its transaction.

Pure of waiting and of the network; a change reads what it decides on in the same transaction that records it, so that
two attempts at once can neither take one id twice nor both use the last of a limit.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from cache_sync.sqlite import Connection
from failover import standin
from failover.intent_states import (
    COPY,
    COPY_UNDECIDED,
    OFFERED,
    OWN,
    OWN_LIVING,
    OWN_UNDECIDED,
    SETTLED,
    VOID,
)
from failover.intents import Intent, IntentType, Outcome, Receipt
from failover.journal_captures import add_capture, complete_copy
from failover.journal_pruned import find_pruned
from failover.journal_schema import (
    JournalEntry,
    check_no_effect,
    decode_intent,
    encode,
    entry,
    micros,
    place_of,
)
from failover.message_bodies import MessageBody

_DAY = timedelta(hours=24)
_FORGET_RESERVATION = (
    "UPDATE journal SET pending = pending - ?, outstanding_cents = outstanding_cents - ?"
)


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """
    A payment or message about to be recorded.

    A message has ``body_hash`` and ``body``, and nothing of what is money's. ``accepted_at`` is core time, estimated.
    ``snapshot_age_seconds`` is None when only a lower bound is known.
    """

    intent_id: str
    fingerprint: str
    account_id: str
    idempotency_key: str
    type: IntentType = "payment"
    amount_cents: int = 0
    currency: str = ""
    method_id: str = ""
    method_verified: bool = False
    method_type: standin.MethodType = "card"
    kind: Literal["promise", "captured"] = "promise"
    body_hash: str | msgspec.UnsetType = msgspec.UNSET
    body: MessageBody | msgspec.UnsetType = msgspec.UNSET
    accepted_at: datetime
    snapshot_age_seconds: float | None


class Offers(msgspec.Struct, frozen=True, kw_only=True):
    """
    Whom an intent will be offered to once it is recorded; durable with it, before the first byte leaves.

    ``core_only_until`` is set while the core answers: an intent over a stand-in limit is then offered to the core
    alone, which may post it until that instant (core time).
    """

    witness: str | None
    core: bool
    core_only_until: datetime | None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a recording is checked against, and how many undecided intents the journal takes."""

    limits: standin.Limits
    edge_share_known: bool
    outage_seconds: float
    pending_max: int


class Recorded(msgspec.Struct, frozen=True):
    """The intent is in the journal and will be offered as asked, or to the core alone."""

    entry: JournalEntry


class Existing(msgspec.Struct, frozen=True):
    """The same intent is known already: recorded here, or held as a copy."""

    entry: JournalEntry


class Finished(msgspec.Struct, frozen=True):
    """The same intent was decided, and pruned here since: all that is left of it is what is told."""

    receipt: Receipt


class Refused(msgspec.Struct, frozen=True):
    """Nothing was recorded: the id names other content, a limit is exceeded, or the journal is full."""

    why: Literal["conflict", "limit", "full"]
    which: str = ""


Recording = Recorded | Existing | Finished | Refused
Build = Callable[[Draft, int, datetime | None], Intent]
"""Makes a draft's signed intent of an ordinal, with the instant (core time) after which the core may not post it."""


def find(connection: Connection, intent_id: str) -> JournalEntry | None:
    """Find the living intent of this id: recorded here, else held as a copy."""
    own = connection.execute(
        f"SELECT * FROM own_entries WHERE intent_id = ? AND {OWN_LIVING}",
        (intent_id,),
    ).fetchone()
    if own is not None:
        return entry("own", own)
    copy = connection.execute(
        "SELECT * FROM copy_entries WHERE intent_id = ? ORDER BY position LIMIT 1",
        (intent_id,),
    ).fetchone()
    return None if copy is None else entry("copies", copy)


def finished(told: Iterable[Receipt], fingerprint: str) -> Finished | Refused:
    """Say what comes of a wish whose id was pruned: what is told of it, or of other content that has its id."""
    same = [receipt for receipt in told if receipt.fingerprint == fingerprint]
    return Finished(same[0]) if same else Refused("conflict")


def exposure(
    connection: Connection, account_id: str, now: datetime, *, messages: bool = False
) -> standin.Exposure:
    """
    Sum up what is outstanding: of the account in the past 24 hours here and in copies, and of this edge.

    Payments are counted, or else ``messages``: nobody who sent a reading can pay less often for it.
    """
    since = micros(now - _DAY)
    count, cents = connection.execute(
        f"""
        SELECT count(*), coalesce(sum(amount_cents), 0) FROM (
            SELECT amount_cents FROM intents
            WHERE account_id = ?1 AND accepted_micros > ?2 AND reserved AND {OWN_UNDECIDED}
                AND (amount_cents = 0) = ?3
            UNION ALL
            SELECT amount_cents FROM copies
            WHERE account_id = ?1 AND accepted_micros > ?2 AND {COPY_UNDECIDED} AND (amount_cents = 0) = ?3
        )
        """,
        (account_id, since, int(messages)),
    ).fetchone()
    (outstanding,) = connection.execute(
        "SELECT outstanding_cents + (SELECT coalesce(sum(cents), 0) FROM inherited) FROM journal"
    ).fetchone()
    return standin.Exposure(
        account_day_count=count, account_day_cents=cents, edge_outstanding_cents=outstanding
    )


def record(
    connection: Connection, draft: Draft, offers: Offers, rules: Rules, build: Build
) -> Recording:
    """Record an intent with a reservation and whom it is offered to, or say why not; see `Recording`."""
    known = find(connection, draft.intent_id)
    if known is not None:
        same = known.intent.fingerprint == draft.fingerprint
        return Existing(known) if same else Refused("conflict")
    if told := find_pruned(connection, draft.intent_id):
        return finished(told, draft.fingerprint)
    last, pending = connection.execute("SELECT last_ordinal, pending FROM journal").fetchone()
    if pending >= rules.pending_max:
        return Refused("full")
    which = _exceeded(connection, draft, rules)
    core_only = which is not None
    if core_only and not (offers.core and offers.core_only_until):
        return Refused("limit", which or "")
    # Over the limit: the core's own commit alone can accept it, and not long after the customer has gone.
    intent = build(draft, last + 1, offers.core_only_until if core_only else None)
    witness = None if core_only else offers.witness
    row = JournalEntry(
        position=last + 1,
        source="own",
        intent=intent,
        state=OWN.target("record_and_offer" if witness or offers.core else "record"),
        reserved=not core_only,
        offered_core=offers.core,
        outcome=None,
        witnesses={witness: False} if witness else {},
    )
    _insert(connection, row)
    return Recorded(row)


def _exceeded(connection: Connection, draft: Draft, rules: Rules) -> standin.Exceeded | None:
    messages = draft.type != "payment"
    outstanding = exposure(connection, draft.account_id, draft.accepted_at, messages=messages)
    if messages:
        return standin.exceeded_by_message(rules.limits, outstanding)
    return standin.exceeded(
        rules.limits,
        outstanding,
        amount_cents=draft.amount_cents,
        method_verified=draft.method_verified,
        method_type=draft.method_type,
        snapshot_age_seconds=draft.snapshot_age_seconds,
        outage_seconds=rules.outage_seconds,
        edge_share_known=rules.edge_share_known,
    )


def _insert(connection: Connection, row: JournalEntry) -> None:
    intent = row.intent
    connection.execute(
        """
        INSERT INTO intents (ordinal, intent_id, fingerprint, account_id, amount_cents, accepted_micros, state,
            reserved, offered_core, intent, has_body)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        (
            row.position,
            intent.intent_id,
            intent.fingerprint,
            intent.account_id,
            intent.amount_cents,
            micros(intent.accepted_at),
            row.state,
            int(row.reserved),
            int(row.offered_core),
            encode(intent),
            int(intent.body is not msgspec.UNSET),
        ),
    )
    for peer in row.witnesses:
        connection.execute("INSERT INTO offers VALUES (?, ?, 0, 'not_yet')", (row.position, peer))
    if intent.kind == "captured":
        add_capture(connection, row.position)
    connection.execute(
        """
        UPDATE journal SET last_ordinal = ?, pending = pending + 1,
            outstanding_cents = outstanding_cents + ?
        """,
        (row.position, intent.amount_cents if row.reserved else 0),
    )


def offer(connection: Connection, ordinal: int, *, witness: str | None, core: bool) -> bool:
    """
    Note that a living, undecided intent is about to be offered to somebody more.

    Returns:
        False when it is not living or decided by now: then it must not be offered.
    """
    changed = connection.execute(
        f"""
        UPDATE intents SET state = '{OFFERED}', offered_core = max(offered_core, ?)
        WHERE ordinal = ? AND {OWN_UNDECIDED}
        """,
        (int(core), ordinal),
    ).rowcount
    if not changed:
        check_no_effect(connection, OWN, ordinal, "offer")
    if changed and witness is not None:
        connection.execute(
            "INSERT INTO offers VALUES (?, ?, 0, 'not_yet') ON CONFLICT DO NOTHING",
            (ordinal, witness),
        )
    return bool(changed)


def confirm(connection: Connection, ordinals: Iterable[int], witness: str) -> None:
    """Note that a witness holds its copies; of what was decided or voided meanwhile the note is of no use."""
    for ordinal in ordinals:
        changed = connection.execute(
            "UPDATE offers SET confirmed = 1 WHERE ordinal = ? AND peer = ?", (ordinal, witness)
        ).rowcount
        if not changed:
            check_no_effect(connection, OWN, ordinal, "confirm")


def void(connection: Connection, ordinal: int) -> bool:
    """
    End an attempt that nobody was reached with; the id is free again.

    The caller knows that no byte of it left this node. An intent that a witness confirmed is never voided.

    Returns:
        False when it is decided, or confirmed, after all.
    """
    row = connection.execute(
        f"""
        UPDATE intents SET state = '{VOID}' WHERE ordinal = ? AND {OWN_UNDECIDED}
        AND NOT EXISTS (SELECT 1 FROM offers WHERE offers.ordinal = intents.ordinal AND confirmed)
        RETURNING amount_cents * reserved
        """,
        (ordinal,),
    ).fetchone()
    if row is None:
        check_no_effect(connection, OWN, ordinal, "void")
        return False
    connection.execute(_FORGET_RESERVATION, (1, row[0]))
    return True


def settle(connection: Connection, outcomes: Iterable[Outcome]) -> list[str]:
    """
    Take over what the core decided, for own intents and for copies; known outcomes change nothing.

    Returns:
        The ids that were undecided here until now.
    """
    settled = []
    for outcome in outcomes:
        values = _values(outcome)
        pair = (outcome.intent_id, outcome.fingerprint)
        # The state in the words of `intents_live`: in others the index is not used, and the whole queue is read.
        own = connection.execute(
            f"""
            UPDATE intents SET {SETTLED}, outcome = ?, decided_micros = ?,
                decided_epoch = ?, decided_shard = ?, decided_seq = ?
            WHERE intent_id = ? AND fingerprint = ? AND {OWN_LIVING} AND NOT {SETTLED}
            RETURNING ordinal, amount_cents * reserved
            """,
            values + pair,
        ).fetchone()
        if own is not None:
            connection.execute(_FORGET_RESERVATION, (1, own[1]))
            connection.execute("UPDATE offers SET release = 'owed' WHERE ordinal = ?", (own[0],))
        copies = connection.execute(
            f"""
            UPDATE copies SET {SETTLED}, outcome = ?, decided_micros = ?,
                decided_epoch = ?, decided_shard = ?, decided_seq = ?
            WHERE intent_id = ? AND fingerprint = ? AND {COPY_UNDECIDED}
            """,
            values + pair,
        ).rowcount
        if own is not None or copies:
            settled.append(outcome.intent_id)
    return settled


def _values(outcome: Outcome) -> tuple[Any, ...]:
    return (encode(outcome), micros(outcome.decided_at), *place_of(outcome))


def renew(connection: Connection, outcomes: Iterable[Outcome]) -> int:
    """
    Replace outcomes of an earlier epoch by what the core says of the same intents in a later one.

    Returns:
        How many rows, own and copies, were of an earlier epoch until now.
    """
    renewed = 0
    for outcome in outcomes:
        for table in ("intents", "copies"):
            renewed += connection.execute(
                f"""
                UPDATE {table} SET outcome = ?, decided_micros = ?,
                    decided_epoch = ?, decided_shard = ?, decided_seq = ?
                WHERE intent_id = ? AND fingerprint = ? AND {SETTLED} AND {OWN_LIVING}
                    AND decided_epoch < ?
                """,
                (*_values(outcome), outcome.intent_id, outcome.fingerprint, outcome.epoch),
            ).rowcount
    return renewed


def released(connection: Connection, ordinals: Iterable[int], peer: str) -> None:
    """Note that a holder knows the outcome of its copies."""
    connection.executemany(
        "UPDATE offers SET release = 'done' WHERE ordinal = ? AND peer = ?",
        [(ordinal, peer) for ordinal in ordinals],
    )


def store_copies(connection: Connection, intents: Iterable[Intent]) -> tuple[list[str], list[str]]:
    """
    Keep copies of what a sibling recorded; the same copy again changes nothing.

    Returns:
        The ids held, and those refused because their place in the writer's journal holds other content.
    """
    held: list[str] = []
    refused: list[str] = []
    for intent in intents:
        place = (intent.edge_id, intent.incarnation, intent.ordinal)
        blob = encode(intent)
        known = connection.execute(
            "SELECT intent FROM copies WHERE writer = ? AND incarnation = ? AND ordinal = ?", place
        ).fetchone()
        pruned = known is None and any(
            receipt.fingerprint == intent.fingerprint
            for receipt in find_pruned(connection, intent.intent_id)
        )
        if known is None and not pruned:
            connection.execute(
                f"""
                INSERT INTO copies (writer, incarnation, ordinal, intent_id, fingerprint, account_id, amount_cents,
                    accepted_micros, state, intent, has_body)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, '{COPY.target("keep")}', ?, ?)
                """,
                (
                    *place,
                    intent.intent_id,
                    intent.fingerprint,
                    intent.account_id,
                    intent.amount_cents,
                    micros(intent.accepted_at),
                    blob,
                    int(intent.body is not msgspec.UNSET),
                ),
            )
        # Signed the same it is the same, though the body that is held may be emptied by now.
        same = known is None or decode_intent(known[0]).signature == intent.signature
        if known is not None and not same:
            same = complete_copy(connection, place, known[0], intent)
        (held if same else refused).append(intent.intent_id)
    return held, refused


def inherit(connection: Connection, peer: str, cents: int) -> None:
    """Note what a sibling still holds undecided of this node's earlier incarnations; it counts into the share."""
    connection.execute(
        "INSERT INTO inherited VALUES (?1, ?2) ON CONFLICT (peer) DO UPDATE SET cents = ?2",
        (peer, cents),
    )


def inherited_from(connection: Connection) -> dict[str, int]:
    """Tell which siblings' copies are counted, and with how much."""
    return dict(connection.execute("SELECT peer, cents FROM inherited").fetchall())

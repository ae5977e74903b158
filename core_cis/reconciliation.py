"""What reconciliation compares, and what it reports."""

from collections import defaultdict
from datetime import date, datetime
from itertools import chain
from typing import Literal

import msgspec

from core_cis.charge_records import ChargeRow, RefundRow
from failover.intents import Intent, Outcome
from failover.peer_messages import Outage, RecordedIntent
from failover.pruned_sums import PrunedPart, PrunedType, is_within

Pair = tuple[str, str]
Place = tuple[str, str, int]
Verdict = Literal["equal", "reversed", "not_posted", "pending", "void", "different"]


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one reachable edge holds: its own journal and the copies that it keeps for siblings.

    ``missing`` are ordinals up to ``last_ordinal`` that its own journal ought to have and has not. ``pruned`` is what
    of its own it keeps no longer, ``pruned_copies`` of copies; None of an edge that never drops anything.
    """

    node_id: str
    incarnation: str
    own: list[RecordedIntent] = []
    copies: list[RecordedIntent] = []
    last_ordinal: int = 0
    missing: list[int] = []
    outages: list[Outage] = []
    pruned: PrunedPart | None = None
    pruned_copies: PrunedPart | None = None


class Decided(msgspec.Struct, frozen=True):
    """
    An inbox row: an intent that arrived and what became of it.

    ``first`` is its first outcome where an operator's decision of its case has followed.
    """

    intent: Intent
    outcome: Outcome
    first: Outcome | None = None


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the core's payments; ``fee_effective_on`` where fees are reckoned from a day before the value date."""

    payment_id: str
    fingerprint: str
    account_id: str
    state: str
    amount_cents: int
    source: str
    value_date: date | None
    transaction_id: int | None
    fee_effective_on: date | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the core's messages; ``shown`` is the state that its published document tells (None without one)."""

    message_id: str
    fingerprint: str
    account_id: str
    type: str
    state: str
    shown: str | None


class LedgerPayment(msgspec.Struct, frozen=True, kw_only=True):
    """
    A ledger transaction that is a payment, or moves cash: ``amount_cents`` is what it took off the receivables.

    ``reversed_by`` names the transaction that undid it.
    """

    transaction_id: int
    source: str
    idempotency_key: str
    kind: str
    payment_id: str | None
    account_ids: tuple[str, ...]
    amount_cents: int
    value_date: date
    reversed_by: int | None = None


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """
    The core's side, read in one transaction.

    ``balances`` pairs what the ledger says an account owes with what its published document says (None without one).
    ``card_charges`` and ``refunds`` are what became of payments at the processor.
    ``erased`` are accounts of customers who were forgotten: in the ledger, and published no more.
    ``charges`` are statements whose ledger transaction is missing or of another amount: (statement, expected, found).
    ``marks`` are those of all backups that these books hold.
    """

    decided: list[Decided]
    payments: list[Payment]
    ledger: list[LedgerPayment]
    messages: list[Message] = []
    balances: dict[str, tuple[int, int | None]] = {}
    published: dict[Pair, tuple[str, int]] = {}
    charges: list[tuple[str, int, int]] = []
    unbalanced: list[int] = []
    erased: frozenset[str] = frozenset()
    card_charges: list[ChargeRow] = []
    refunds: list[RefundRow] = []
    marks: frozenset[str] = frozenset()


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as it must be; ``kind`` is a stable code, amounts are cents."""

    kind: str
    detail: str
    edge_id: str = ""
    intent_id: str = ""
    account_id: str = ""
    expected: int | None = None
    found: int | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """
    One accepted payment beside its ledger entry; amounts are cents, ``ledger_amount`` as the ledger has it.

    ``day`` is that of its acceptance in the utility's time zone, ``outage`` when the edge's outage began in which it
    was accepted (None: in normal operation, or where the edge does not say). ``fee_effective_on`` is set where fees are
    reckoned from a day before the value date. ``pruned`` says that its edge keeps it in its day's sums only.
    """

    intent_id: str
    edge_id: str
    account_id: str
    amount: int
    accepted_at: datetime
    state: str
    verdict: Verdict
    day: date
    outage: datetime | None = None
    value_date: date | None = None
    fee_effective_on: date | None = None
    transaction_id: str | None = None
    ledger_amount: int | None = None
    held_by: list[str] = []
    pruned: bool = False


class EdgeSums(msgspec.Struct, frozen=True, kw_only=True):
    """
    An edge's payments in numbers and cents: accepted = posted + not posted + pending.

    ``reachable`` is False when its journal could not be read: then only what reached the core, or a sibling, is in it.
    """

    edge_id: str
    reachable: bool
    accepted: int = 0
    accepted_amount: int = 0
    posted: int = 0
    posted_amount: int = 0
    ledger_amount: int = 0
    not_posted: int = 0
    not_posted_amount: int = 0
    pending: int = 0
    pending_amount: int = 0


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """
    The payments that one edge accepted on one day, within one of its outages or outside of any; amounts are cents.

    accepted = posted + rejected + dead letter + cancelled + pending, in number and to the cent.
    """

    edge_id: str
    day: date
    outage: datetime | None
    accepted: int = 0
    accepted_amount: int = 0
    posted: int = 0
    posted_amount: int = 0
    rejected: int = 0
    rejected_amount: int = 0
    dead_letter: int = 0
    dead_letter_amount: int = 0
    cancelled: int = 0
    cancelled_amount: int = 0
    pending: int = 0
    pending_amount: int = 0
    different: int = 0


class MessageSums(msgspec.Struct, frozen=True, kw_only=True):
    """
    The messages of one type that one edge accepted: they move no money, and are in no sum of payments.

    accepted = posted + rejected + dead letter + cancelled + pending.
    """

    edge_id: str
    type: str
    accepted: int = 0
    posted: int = 0
    rejected: int = 0
    dead_letter: int = 0
    cancelled: int = 0
    pending: int = 0


class PrunedDay(msgspec.Struct, frozen=True, kw_only=True):
    """
    What an edge accepted on one day and keeps in sums only, beside what the core has decided of just these.

    ``states`` counts by what the edge had been told; ``equal`` says that number, cents and digest are the core's.
    """

    edge_id: str
    incarnation: str
    day: date
    type: PrunedType
    count: int
    amount: int
    states: dict[str, int]
    core_count: int
    core_amount: int
    equal: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """
    What reconciliation found.

    ``result`` is ``equal``, ``different``, or ``incomplete``: nothing differs, but payments or messages are still on
    their way, or an edge could not be asked. ``signature`` is the core's over the report without it (`report_signing`).
    """

    result: Literal["equal", "different", "incomplete"]
    made_at: datetime | None = None
    edges: list[EdgeSums]
    groups: list[Group]
    differences: list[Difference]
    pending: list[Line]
    unreachable: list[str]
    payments: list[Line]
    messages: list[MessageSums] = []
    pruned: list[PrunedDay] = []
    signature: str = ""


class Recorded:
    """
    All that edges recorded, whoever holds it.

    ``items`` has every wish once, by (id, fingerprint): two edges may have recorded the same one, and an attempt that
    was voided at one is alive when another took it. ``records`` has every row of a journal once, by its place.
    """

    def __init__(self, journals: list[Journal]) -> None:
        self.items: dict[Pair, RecordedIntent] = {}
        self.records: dict[Place, RecordedIntent] = {}
        self.holders: dict[Pair, list[str]] = defaultdict(list)
        self.own: dict[tuple[str, str], dict[int, RecordedIntent]] = {}
        self._pruned: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for journal in journals:
            self.own[journal.node_id, journal.incarnation] = {
                item.intent.ordinal: item for item in journal.own
            }
            if journal.pruned is not None:
                self._pruned[journal.node_id, journal.incarnation] = journal.pruned.ordinals
        # A row of the recording edge tells more than a sibling's copy of it.
        for items in ([j.own for j in journals], [j.copies for j in journals]):
            for item in chain.from_iterable(items):
                self.records.setdefault(place_of(item.intent), item)
                known = self.items.get(pair_of(item.intent))
                if known is None or known.state == "void":
                    self.items[pair_of(item.intent)] = item
        for journal in journals:
            for item in (*journal.own, *journal.copies):
                self.holders[pair_of(item.intent)].append(journal.node_id)

    def is_pruned(self, place: Place) -> bool:
        """Tell whether a journal keeps the row of a place in its sums only."""
        return is_within(place[2], self._pruned.get(place[:2], []))


def pair_of(intent: Intent) -> Pair:
    """Name an intent by what it can never share with another."""
    return intent.intent_id, intent.fingerprint


def place_of(intent: Intent) -> Place:
    """Name the row in which an intent was recorded: edge, incarnation of its journal, ordinal."""
    return intent.edge_id, intent.incarnation, intent.ordinal

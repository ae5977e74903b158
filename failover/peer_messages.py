"""What edges say to each other, and what the core reads of them to reconcile: bodies of ``/peer/v1``."""

from datetime import datetime
from typing import Literal

import msgspec

from failover.intent_states import OwnState
from failover.intents import Intent, Outcome
from failover.pruned_sums import PrunedPart

Source = Literal["own", "copies"]


class CopyBatch(msgspec.Struct, frozen=True):
    """Body of ``POST /peer/v1/copies``: intents that the caller recorded and wants a second copy of."""

    intents: list[Intent]


class CopyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """
    Answer to a `CopyBatch`, given only after the copies are durable.

    ``intent_ids`` are held; ``refused`` never will be (wrong signature, not the caller's own, another content under the
    same place). Ids in neither were not stored and may be sent again.
    """

    incarnation: str
    intent_ids: list[str]
    refused: list[str] = []


class OutcomeNotice(msgspec.Struct, frozen=True):
    """
    Body of ``POST /peer/v1/outcomes``: what the core decided, each with its signature.

    The receiver may stop pursuing these intents.
    """

    outcomes: list[Outcome]


class OutcomeAnswer(msgspec.Struct, frozen=True):
    """
    Answer to an `OutcomeNotice`: the ids that were taken over, durably, and those ``refused``.

    An outcome without the core's signature is refused; whoever holds the intent asks the core itself.
    """

    intent_ids: list[str]
    refused: list[str] = []


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``POST /peer/v1/ask``: what is known of one payment of one account."""

    account_id: str
    intent_id: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """
    What waits for the core's decision at a node, its own payments and the copies that it holds, in short.

    ``marks_hash`` names the set of their marks (`failover.marks`), which lists all but ``unlisted`` of ``count``.
    ``normal`` is whether the node is in normal operation; ``observed_at`` is core time as it estimates it. It carries
    the node's signature, so that others can pass it on.
    """

    node_id: str
    incarnation: str
    last_ordinal: int
    count: int
    cents: int
    unlisted: int
    marks_hash: str
    normal: bool
    observed_at: datetime
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """Return what is signed: all of it but the signature."""
        return msgspec.msgpack.encode(msgspec.structs.replace(self, signature=""))


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """
    Answer of ``GET /peer/v1/hello``.

    ``held_cents`` is the sum of undecided copies held for the caller, by the caller's incarnation: what a replaced edge
    must count into its stand-in share. ``summaries`` are the newest that this node knows, its own and its siblings';
    ``marks`` are their sets by hash, but those that the caller said it has.
    """

    node_id: str
    incarnation: str
    held_cents: dict[str, int] = {}
    summaries: list[Summary] = []
    marks: dict[str, bytes] = {}


class RecordedIntent(msgspec.Struct, frozen=True, kw_only=True):
    """
    One row of a journal, for reconciliation.

    ``position`` orders the list (an own intent's ordinal; for copies the order of arrival). ``witnesses`` are the nodes
    that it was offered to as a second copy, ``confirmed`` those that said they hold it. ``offered_core`` says that the
    core may have seen it.
    """

    position: int
    source: Source
    intent: Intent
    state: OwnState
    outcome: Outcome | None = None
    offered_core: bool = False
    witnesses: list[str] = []
    confirmed: list[str] = []


class Outage(msgspec.Struct, frozen=True):
    """A time in which a node was not in normal operation, in core time as it knew it; no end while it goes on."""

    began_at: datetime
    ended_at: datetime | None = None


class RecordedPage(msgspec.Struct, frozen=True, kw_only=True):
    """
    Answer of ``GET /peer/v1/intents``: a stretch of one journal's rows.

    ``next_after`` continues the list, None at its end. ``holes`` are ordinals within the stretch that are missing: a
    journal that lost one is not whole. ``last_ordinal`` is the newest ordinal that the journal ever gave out,
    ``outages`` what the node remembers of them, the oldest first. ``pruned`` comes with the end of the list: what of it
    the journal keeps no longer; ordinals in there are no holes.
    """

    node_id: str
    incarnation: str
    items: list[RecordedIntent]
    next_after: int | None = None
    holes: list[int] = []
    last_ordinal: int = 0
    outages: list[Outage] = []
    pruned: PrunedPart | None = None


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """Undecided copies that a node keeps for one incarnation of a sibling's journal; ``oldest_at`` is core time."""

    writer: str
    incarnation: str
    count: int
    cents: int
    oldest_at: datetime


class NodeStanding(msgspec.Struct, frozen=True, kw_only=True):
    """
    Answer of ``GET /peer/v1/standing``: how a node is and what waits there, for the core's operators.

    ``pending`` counts its own undecided intents, ``one_copy_cents`` is the sum of those that no other node confirmed
    to hold, ``oldest_at`` is core time as it was estimated at recording. ``limits_version`` is the order that its
    stand-in limits are of, ``limits_share_cents`` its share of the fleet's total.
    """

    node_id: str
    incarnation: str
    mode: str
    reason: str
    breaker: str
    limits_version: int = 0
    limits_share_cents: int = 0
    pending: int = 0
    amount_cents: int = 0
    one_copy_cents: int = 0
    oldest_at: datetime | None = None
    holdings: list[Holding] = []

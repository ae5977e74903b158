"""What is read out of a journal in sums and pairs, for the agent and for operators."""

from datetime import datetime
from typing import NamedTuple

import msgspec

from failover.intents import Outcome
from failover.journal_schema import JournalEntry
from failover.peer_messages import Holding


class QueueSummary(msgspec.Struct, frozen=True, kw_only=True):
    """
    What waits for the core's decision: own intents, and copies held for siblings apart.

    ``oldest_seconds`` is counted in core time; ``parked`` counts those set aside as poison (known to the agent alone).
    """

    pending: int = 0
    oldest_seconds: float = 0.0
    amount_cents: int = 0
    parked: int = 0
    copies_held: int = 0
    copies_cents: int = 0


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What waits at a node, in the journal of which incarnation; as `NodeStanding` tells it."""

    incarnation: str
    pending: int
    amount_cents: int
    one_copy_cents: int
    oldest_at: datetime | None
    holdings: list[Holding]


class Release(NamedTuple):
    """An outcome that a holder of a copy has not been told yet."""

    ordinal: int
    outcome: Outcome


class OpenCapture(NamedTuple):
    """A capture without an answer; ``attempted_micros`` (core time) is None where the processor was never called."""

    entry: JournalEntry
    attempted_micros: int | None


class JournalSize(msgspec.Struct, frozen=True, kw_only=True):
    """
    How large a journal is.

    ``bytes`` is what its file and the log beside it take on the disk, ``entries`` and ``copies`` count what is held
    whole, ``pruned`` own entries that are not any more. ``mark`` is that of the newest backup by which something was
    dropped, empty while nothing was.
    """

    bytes: int = 0
    entries: int = 0
    copies: int = 0
    pruned: int = 0
    mark: str = ""

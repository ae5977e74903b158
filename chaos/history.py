"""
What a drill saw, kept by the drill itself: every request with its answer, and the core's books before and after.

The invariants judge from this alone, so nothing here is asked of the parts under test except as a customer or an
operator would. Instants are the wall clock of the one machine that everything runs on, UTC; money is minor units.
"""

from datetime import date, datetime
from typing import Literal

import msgspec

Phase = Literal["before", "outage", "after"]


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """
    One page or resource asked of an edge by a customer.

    ``status`` 0 means that no answer came. ``archive`` marks what only the core holds: it may be refused plainly.
    ``untouched`` marks the first reads of an account that nobody had asked for before the outage. ``own_cents`` is
    what this customer had been told is accepted or posted before asking, ``own_maybe_cents`` what was still being
    asked then.
    """

    sent_at: datetime
    received_at: datetime
    edge: str
    session: str
    account_id: str
    what: str
    status: int
    problem: str = ""
    age_seconds: float | None = None
    as_of: datetime | None = None
    mode: str = ""
    position: str = ""
    catching_up: bool = False
    balance_cents: int | None = None
    pending_cents: int | None = None
    archive: bool = False
    untouched: bool = False
    own_cents: int = 0
    own_maybe_cents: int = 0


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One time that a customer was told the state of a payment: as the answer to paying, or on asking later."""

    sent_at: datetime
    received_at: datetime
    edge: str
    session: str
    account_id: str
    intent_id: str
    status: int
    state: str
    amount_cents: int
    value_date: date | None = None
    reason: str = ""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One ``POST /payments``; several with one key are repetitions of one wish."""

    sent_at: datetime
    received_at: datetime
    edge: str
    session: str
    account_id: str
    intent_id: str
    amount_cents: int
    status: int
    state: str = ""
    problem: str = ""


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """One sign-in of a crowd; ``wrong``: with a wrong password. ``status`` 0 without an answer."""

    sent_at: datetime
    received_at: datetime
    edge: str
    status: int
    wrong: bool


class StatusSample(msgspec.Struct, frozen=True, kw_only=True):
    """
    One look at an edge's ``/status``; ``mode`` is empty when it did not answer.

    ``file_refused`` is why the newest snapshot file was not taken, of any shard.
    """

    at: datetime
    edge: str
    mode: str = ""
    reason: str = ""
    as_of: datetime | None = None
    lag_seconds: float | None = None
    pending: int | None = None
    oldest_seconds: float | None = None
    amount_cents: int | None = None
    breaker: str = ""
    file_refused: str = ""


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an account in the core's books; a payment is negative."""

    transaction_id: str
    intent_id: str | None
    amount_cents: int
    value_date: date
    posted_at: datetime
    description: str = ""


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """An account in the core's books."""

    account_id: str
    balance_cents: int
    entries: list[LedgerEntry]


class CoreIntent(msgspec.Struct, frozen=True, kw_only=True):
    """What the core says of an intent; ``state`` is empty when it does not know it."""

    intent_id: str
    state: str
    account_id: str = ""
    amount_cents: int = 0


class FinalAccount(msgspec.Struct, frozen=True, kw_only=True):
    """What an edge shows of an account after everything; ``status`` 0 without an answer."""

    edge: str
    account_id: str
    status: int
    balance_cents: int | None = None
    pending_cents: int | None = None


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator's own reconciliation said at the end."""

    exit_code: int
    differences: list[str] = []


class FaultFacts(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the fault was, as far as the verdicts depend on it; without any it broke nothing.

    ``core_silent``: the core decides and says nothing while it lasts. ``without_core``: edges that lose the core.
    ``away``: edges that are broken themselves, so that customers have to turn to another. ``returns_max``: how often
    an edge may return to normal meanwhile. ``began``, ``healing`` and ``healed`` name the moments of the timeline.
    """

    core_silent: bool = False
    without_core: list[str] = []
    away: list[str] = []
    returns_max: int = 0
    began: str = "Fault begun"
    healing: str = "Healing begun"
    healed: str = "Healed"


class Milestones(msgspec.Struct, kw_only=True):
    """
    When what happened.

    ``broken_from`` is just before the fault, ``broken_at`` when it was certainly there (a killed core was gone);
    ``healing_at`` is just before the first step of healing, ``healed_at`` when core and edges answered again.
    """

    begun_at: datetime
    broken_from: datetime | None = None
    broken_at: datetime | None = None
    healing_at: datetime | None = None
    healed_at: datetime | None = None
    drained_at: datetime | None = None
    normal_at: dict[str, datetime] = {}
    ended_at: datetime | None = None


class History(msgspec.Struct, kw_only=True):
    """Everything that the invariants may know."""

    edges: list[str]
    timezone: str
    milestones: Milestones
    fault: FaultFacts = FaultFacts()
    reads: list[Read] = []
    attempts: list[Attempt] = []
    sightings: list[Sighting] = []
    sign_ins: list[SignIn] = []
    samples: list[StatusSample] = []
    ledgers_before: dict[str, Ledger] = {}
    ledgers_after: dict[str, Ledger] = {}
    core_intents: dict[str, CoreIntent] = {}
    final_accounts: list[FinalAccount] = []
    final_sightings: list[Sighting] = []
    reconciliation: Reconciliation | None = None

    def out_of_reach(self, read: Read) -> bool:
        """Whether the drill itself had taken the edge away while it was asked; healing takes its time."""
        moments = self.milestones
        if read.edge not in self.fault.away or moments.broken_from is None:
            return False
        return read.received_at >= moments.broken_from and (
            moments.healed_at is None or read.sent_at < moments.healed_at
        )

    def phase(self, at: datetime) -> Phase:
        """Tell whether an instant lies before the fault, in the outage that it makes, or after healing began."""
        moments = self.milestones
        if moments.broken_at is None or at < moments.broken_at:
            return "before"
        if moments.healing_at is None or at < moments.healing_at:
            return "outage"
        return "after"

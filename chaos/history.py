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


class StatusSample(msgspec.Struct, frozen=True, kw_only=True):
    """One look at an edge's ``/status``; ``mode`` is empty when it did not answer."""

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


class Milestones(msgspec.Struct, kw_only=True):
    """
    When what happened.

    ``killed_from`` is just before the kill, ``killed_at`` when the core was certainly gone; ``restarting_at`` is just
    before it was started again.
    """

    begun_at: datetime
    killed_from: datetime | None = None
    killed_at: datetime | None = None
    restarting_at: datetime | None = None
    core_ready_at: datetime | None = None
    drained_at: datetime | None = None
    normal_at: dict[str, datetime] = {}
    ended_at: datetime | None = None


class History(msgspec.Struct, kw_only=True):
    """Everything that the invariants may know."""

    edges: list[str]
    timezone: str
    milestones: Milestones
    reads: list[Read] = []
    attempts: list[Attempt] = []
    sightings: list[Sighting] = []
    samples: list[StatusSample] = []
    ledgers_before: dict[str, Ledger] = {}
    ledgers_after: dict[str, Ledger] = {}
    core_intents: dict[str, CoreIntent] = {}
    final_accounts: list[FinalAccount] = []
    final_sightings: list[Sighting] = []
    reconciliation: Reconciliation | None = None

    def phase(self, at: datetime) -> Phase:
        """Tell whether an instant lies before the fault, in the outage, or after the core was started again."""
        moments = self.milestones
        if moments.killed_at is None or at < moments.killed_at:
            return "before"
        if moments.restarting_at is None or at < moments.restarting_at:
            return "outage"
        return "after"

"""What a world's customers were shown and promised, in the order of true time: all that checkers know of them."""

import hashlib
from datetime import datetime

import msgspec

from cache_sync.frames import Position
from edge_portal.views import Mode


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """
    A receipt that a customer got, at ``at`` (true seconds): asked for at ``asked_at``, from one edge.

    ``paid`` says that it answered a payment; else it was asked for by id, which an edge may answer from a sibling.
    """

    at: float
    asked_at: float
    paid: bool
    edge: str
    disks_lost: int
    account_id: str
    intent_id: str
    fingerprint: str
    state: str
    reason: str
    amount_cents: int
    durable: bool


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """
    An account as a customer saw it; ``payments`` are the states by (id, fingerprint).

    ``session`` counts the customer's sign-ins, ``behind`` says that the page told him it was not up to date yet.
    """

    at: float
    edge: str
    disks_lost: int
    account_id: str
    session: int
    balance_cents: int
    pending_cents: int
    left_cents: int
    as_of: datetime
    age_seconds: float
    at_least: bool
    position: Position
    mode: Mode
    behind: bool
    payments: dict[tuple[str, str], tuple[str, int]]


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """
    A question without a receipt.

    ``why`` names the error, ``which`` the limit or field; ``paid`` says that it was a payment.
    """

    at: float
    edge: str
    account_id: str
    intent_id: str
    why: str
    paid: bool
    which: str = ""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A payment that a customer sent, once for each sending."""

    at: float
    account_id: str
    intent_id: str
    amount_cents: int


class Adjusted(msgspec.Struct, frozen=True, kw_only=True):
    """An adjustment that staff made at the core."""

    at: float
    account_id: str
    amount_cents: int
    disk: int


class Facts:
    """Everything that was noted in one world."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.told: list[Told] = []
        self.shown: list[Shown] = []
        self.refused: list[Refused] = []
        self.adjusted: list[Adjusted] = []
        self.stale_tokens: list[str] = []
        self.story: list[str] = []

    def tell(self, at: float, text: str) -> None:
        """Write down what happened, for people."""
        self.story.append(f"{at:9.3f}  {text}")

    def mark(self) -> str:
        """Return what stands for all that happened."""
        parts = [*self.story, *map(repr, (*self.told, *self.shown, *self.refused))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

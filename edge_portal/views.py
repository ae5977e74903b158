"""
What one account looks like at this node right now: the input of every page and API answer.

Built from one read transaction of the snapshot, the journal's overlay and the mode lease, so that pages and API can
never disagree.
"""

from datetime import datetime
from typing import Literal

import msgspec

from cache_sync.documents import (
    AccountBody,
    ArchivedStatement,
    StatementBody,
    UsageBody,
)
from cache_sync.frames import Position
from failover.intents import Receipt
from failover.sibling_news import NO_NEWS, MayMiss, NewsMoment
from failover.standin import Exceeded, Standing

Mode = Literal["normal", "degraded", "recovering"]


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """
    How old the data is: everything the core committed before ``as_of`` (core time) is in it.

    ``at_least`` marks ``age_seconds`` as a lower bound (the machine was restarted since).
    """

    position: Position
    as_of: datetime
    age_seconds: float
    at_least: bool


class ModeView(msgspec.Struct, frozen=True, kw_only=True):
    """
    The node's mode as its agent leased it; ``degraded`` when the lease ran out.

    ``payments_open`` is False when nothing can record a payment here (the agent is down, its disk is full, the
    core does not know this node, or no witness and no core).
    ``archive_open`` says whether archive reads are being tried. ``standing`` is where the node stands in its stand-in
    limits, which may be in the way of payments, but not of messages. ``news`` is what counts now of
    what siblings said.
    """

    mode: Mode
    reason: str
    since: datetime | None
    payments_open: bool
    archive_open: bool
    standing: Standing
    news: NewsMoment = NO_NEWS

    def closed_by(self, freshness: Freshness) -> Exceeded | None:
        """Name the stand-in limit in the way of every payment from data this old; none is while the core is asked."""
        if self.mode != "degraded" or self.archive_open:
            return None
        return self.standing.closed_by(None if freshness.at_least else freshness.age_seconds)

    def can_pay(self, freshness: Freshness) -> bool:
        """Tell whether a payment from data this old can be taken here now."""
        return self.payments_open and self.closed_by(freshness) is None


def method_label(account: AccountBody, method_id: str) -> str:
    """Name a saved way to pay; one that was removed since is only a saved one."""
    methods = account.payment_methods
    return next((m.label for m in methods if m.method_id == method_id), "A saved payment method")


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """
    Everything a customer may see of one account.

    The three balances are never mixed: ``billed_cents`` (the last bill), ``balance_cents`` (ledger as of
    ``freshness.as_of``), ``left_to_pay_cents`` (balance less ``pending_cents``, the payments accepted or posted since
    whose documents are not in this snapshot yet). Statements are newest first; ``payments`` and ``messages`` merge
    documents and overlay, newest first, each intent exactly once. ``catching_up`` is True while this node is behind the
    position the customer has already seen. ``may_miss`` says that other edges may have accepted payments that are not
    among these.
    """

    account: AccountBody
    statements: list[StatementBody]
    archived: list[ArchivedStatement]
    usage: list[UsageBody]
    payments: list[Receipt]
    billed_cents: int
    balance_cents: int
    pending_cents: int
    left_to_pay_cents: int
    freshness: Freshness
    mode: ModeView
    catching_up: bool
    messages: list[Receipt] = []
    may_miss: MayMiss | None = None

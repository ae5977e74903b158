"""A journal that can be opened from any test, and what goes into it."""

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from failover.intents import Outcome, fingerprint, intent_id
from failover.journal import Journal
from failover.journal_changes import Draft, Offers, Recording
from failover.signing import Signer, generate_signing_key
from failover.standin import Limits

KEY = generate_signing_key(lambda count: bytes(range(count)))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = Limits(account_day_count=10**6, account_day_cents=10**12, edge_outstanding_cents=10**12)
BOTH = Offers(witness="west", core=True, core_only_until=None)
NOBODY = Offers(witness=None, core=False, core_only_until=None)


def opened(path: Path, **more: Any) -> Journal:
    """Open a journal of the edge "east"."""
    return Journal.open(path, node_id="east", signer=Signer(KEY), **more)


def draft(
    key: str, amount_cents: int = 1000, *, account_id: str = "A-1", at: datetime = NOON
) -> Draft:
    """Make a payment about to be recorded."""
    return Draft(
        intent_id=intent_id(account_id, key),
        fingerprint=fingerprint(
            account_id=account_id,
            type_="payment",
            amount_cents=amount_cents,
            currency="USD",
            method_id="M",
        ),
        account_id=account_id,
        idempotency_key=key,
        amount_cents=amount_cents,
        currency="USD",
        method_id="M",
        method_verified=True,
        method_type="card",
        accepted_at=at,
        snapshot_age_seconds=1.0,
    )


def record(
    journal: Journal, wanted: Draft, offers: Offers = BOTH, limits: Limits = LIMITS
) -> Awaitable[Recording]:
    """Record a payment."""
    return journal.record(wanted, offers, limits=limits, edge_share_known=True)


def posted(wanted: Draft, seq: int = 1) -> Outcome:
    """Make the core's outcome."""
    return Outcome(
        intent_id=wanted.intent_id,
        fingerprint=wanted.fingerprint,
        state="posted",
        decided_at=NOON + timedelta(minutes=1),
        epoch=1,
        shard="0",
        seq=seq,
    )

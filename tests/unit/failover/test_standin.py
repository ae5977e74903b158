"""Stand-in limits, each at its edge."""

import pytest

from failover.standin import Exposure, Limits, exceeded

LIMITS = Limits()
NOTHING = Exposure(account_day_count=0, account_day_cents=0, edge_outstanding_cents=0)


def check(exposure: Exposure = NOTHING, **change: object) -> str | None:
    """Check a payment of 10.00, changed as asked."""
    asked: dict[str, object] = {
        "amount_cents": 1000,
        "method_verified": True,
        "snapshot_age_seconds": 10.0,
        "edge_share_known": True,
    }
    return exceeded(LIMITS, exposure, **(asked | change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "which"),
    [
        ({}, None),
        ({"amount_cents": 50_000}, None),
        ({"amount_cents": 50_001}, "per_payment"),
        ({"method_verified": False}, "method_not_verified"),
        ({"snapshot_age_seconds": 72 * 3600.0}, None),
        ({"snapshot_age_seconds": 72 * 3600.0 + 1}, "snapshot_age"),
        ({"snapshot_age_seconds": None}, "snapshot_age"),
        ({"edge_share_known": False}, "edge_outstanding"),
    ],
)
def test_limits_of_one_payment(change: dict[str, object], which: str | None) -> None:
    """At the limit it fits, one beyond it does not; an age of another boot counts as too old."""
    assert check(NOTHING, **change) == which


@pytest.mark.parametrize(
    ("count", "cents", "edge", "which"),
    [
        (19, 99_000, 4_999_000, None),
        (20, 20, 20, "account_day_count"),
        (1, 99_001, 99_001, "account_day_sum"),
        (1, 1, 4_999_001, "edge_outstanding"),
    ],
)
def test_limits_of_what_is_outstanding(
    count: int, cents: int, edge: int, which: str | None
) -> None:
    """The payment itself counts."""
    exposure = Exposure(
        account_day_count=count, account_day_cents=cents, edge_outstanding_cents=edge
    )
    assert check(exposure) == which

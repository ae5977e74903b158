"""Stand-in limits, each at its edge."""

import math

import pytest

from failover.standin import OWN_FILE, Exposure, Holding, Limits, OrderPlace, Standing, exceeded

LIMITS = Limits()
NOTHING = Exposure(account_day_count=0, account_day_cents=0, edge_outstanding_cents=0)


def check(exposure: Exposure = NOTHING, **change: object) -> str | None:
    """Check a payment of 10.00, changed as asked."""
    asked: dict[str, object] = {
        "amount_cents": 1000,
        "method_verified": True,
        "method_type": "card",
        "snapshot_age_seconds": 10.0,
        "outage_seconds": 0.0,
        "edge_share_known": True,
    }
    limits = change.pop("limits", LIMITS)
    return exceeded(limits, exposure, **(asked | change))  # type: ignore[arg-type]


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
        ({"outage_seconds": 72 * 3600.0}, None),
        ({"outage_seconds": 72 * 3600.0 + 1}, "outage_length"),
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


@pytest.mark.parametrize(
    ("limits", "which"),
    [
        (Limits(method_types=("card",)), None),
        (Limits(method_types=("bank_account",)), "method_type"),
        (Limits(method_types=()), "method_type"),
        (Limits(edge_outstanding_cents=999), "edge_outstanding"),
        (Limits(outage_seconds=-1.0), "outage_length"),
    ],
)
def test_other_limits_than_those_to_begin_with(limits: Limits, which: str | None) -> None:
    """Each is compared with the limits in force."""
    assert check(NOTHING, limits=limits) == which


def test_what_is_outstanding_above_a_share_stops_new_payments_only() -> None:
    """A share that has shrunk below it refuses the next payment, whatever its sum."""
    exposure = Exposure(account_day_count=0, account_day_cents=0, edge_outstanding_cents=5000)
    limits = Limits(edge_outstanding_cents=2000)
    assert check(exposure, limits=limits, amount_cents=1) == "edge_outstanding"


@pytest.mark.parametrize("holding", [Holding(OWN_FILE, 0), Holding(OrderPlace(3, 17), 250_000)])
def test_what_an_edge_says_is_read_as_it_was_meant(holding: Holding) -> None:
    """Written and read again it is the same."""
    assert Holding.parse(str(holding)) == holding


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "1.2.3.4", "a.2.3", "1.-2.3", "1.2.3e9", "1.2." + "9" * 40]
)
def test_what_is_no_holding_says_nothing(text: str) -> None:
    """Whatever a node sends."""
    assert Holding.parse(text) is None


def test_where_a_node_stands_in_its_limits() -> None:
    """What is left of its share, and what is in the way of whatever payment."""
    assert (Standing().closed_by(0.0), Standing().left_cents) == (None, 5_000_000)
    limits = Limits(edge_outstanding_cents=500)
    for standing, age, left, which in (
        (Standing(limits=limits, outstanding_cents=499), 0.0, 1, None),
        (Standing(limits=limits, outstanding_cents=500), 0.0, 0, "edge_outstanding"),
        (Standing(limits=limits, outstanding_cents=900), 0.0, 0, "edge_outstanding"),
        (Standing(limits=limits, outstanding_cents=None), 0.0, 0, "edge_outstanding"),
        (Standing(outage_seconds=math.inf), 0.0, 5_000_000, "outage_length"),
        (Standing(), None, 5_000_000, "snapshot_age"),
        (Standing(limits=Limits(method_types=())), 0.0, 5_000_000, "method_type"),
        (Standing(limits=Limits(per_payment_cents=0)), 0.0, 5_000_000, "per_payment"),
        (Standing(limits=Limits(account_day_count=0)), 0.0, 5_000_000, "account_day_count"),
    ):
        assert (standing.closed_by(age), standing.left_cents) == (which, left)

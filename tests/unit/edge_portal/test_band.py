"""What the band says in each mode."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from cache_sync.frames import Position
from edge_portal.pages.band import Band, choose_band
from edge_portal.views import Freshness, Mode, ModeView
from failover.standin import Limits, Standing

ZONE = "America/New_York"


def mode(name: Mode, *, payments_open: bool = True) -> ModeView:
    """Build a node's mode."""
    return ModeView(
        mode=name,
        reason="",
        since=None,
        payments_open=payments_open,
        archive_open=name == "normal",
        standing=Standing(),
    )


def freshness(age_seconds: float, *, at_least: bool = False) -> Freshness:
    """Build the age of figures as of 9:42 a.m."""
    as_of = datetime(2026, 11, 17, 14, 42, tzinfo=UTC)
    return Freshness(
        position=Position(1, "0", 1), as_of=as_of, age_seconds=age_seconds, at_least=at_least
    )


def band(name: Mode, age_seconds: float = 0.5, *, payments_open: bool = True, **more: Any) -> Band:
    """Choose the band of an account's page."""
    fresh = freshness(age_seconds, at_least=more.pop("at_least", False))
    return choose_band(
        mode(name, payments_open=payments_open),
        fresh,
        ZONE,
        kind=more.pop("kind", "account"),
        **more,
    )


def test_live_says_nothing() -> None:
    """While everything works there is no message and no as-of time."""
    assert band("normal") == Band(state="live")


def test_riding_through_says_what_works_and_as_of_when() -> None:
    """The core is away: reading and paying go on, with a date."""
    shown = band("degraded", 5_880)
    assert shown.state == "riding"
    assert shown.heading == "Our main system is down. You can still read your bills and pay."
    assert shown.as_of == "9:42 a.m. today, Tuesday, November 17"
    assert shown.in_title == " as of 9:42 a.m."
    assert "Payments you make now are safe" in shown.promise


def test_reading_only_says_that_paying_waits() -> None:
    """Nothing can record a payment: no promise about payments, and a number to call."""
    shown = band("degraded", 5_880, payments_open=False)
    assert shown.state == "reading"
    assert shown.heading.endswith("You cannot pay online right now.")
    assert shown.call
    assert "safe" not in shown.promise


def test_a_limit_in_the_way_of_every_payment_is_told_as_reading_only() -> None:
    """Nobody is invited to pay what would be refused; while the core is asked, it decides."""
    down, fresh = mode("degraded"), freshness(5_880)
    full = Standing(limits=Limits(edge_outstanding_cents=500), outstanding_cents=500)
    for standing in (
        full,
        Standing(outstanding_cents=None),
        Standing(outage_seconds=73 * 3600.0),
        Standing(limits=Limits(method_types=())),
        Standing(limits=Limits(snapshot_age_seconds=5_000.0)),
    ):
        closed = msgspec.structs.replace(down, standing=standing)
        shown = choose_band(closed, fresh, ZONE, kind="account")
        assert (shown.state, shown.call) == ("reading", True)
        asked = msgspec.structs.replace(closed, archive_open=True)
        assert choose_band(asked, fresh, ZONE, kind="account").state == "riding"
        live = msgspec.structs.replace(closed, mode="normal")
        assert choose_band(live, freshness(1), ZONE, kind="account").state == "live"


def test_an_outage_of_our_own_is_not_blamed_on_the_core() -> None:
    """Planned work and a fault of this node are told as what they are."""
    for reason, told in (
        ("forced", "We are working on our main system. You can still"),
        ("breaker_held", "We are working on our main system. You can still"),
        ("lease_expired", "Part of our system is down. You can still"),
        ("core_silent", "Our main system is down. You can still"),
    ):
        given = msgspec.structs.replace(mode("degraded"), reason=reason)
        shown = choose_band(given, freshness(60), ZONE, kind="account")
        assert shown.heading.startswith(told)


def test_catching_up_shows_while_own_payments_wait() -> None:
    """The message stays until this customer's payments are posted, then it goes."""
    shown = band("recovering", waiting=1)
    assert shown.state == "catching"
    assert shown.heading == "Our main system is back. We are posting the payments we accepted."
    assert "1 of your payments is waiting" in shown.body
    assert band("recovering", waiting=0) == Band(state="live")


def test_old_figures_are_never_shown_as_current() -> None:
    """The core answers again, but the figures are old still: they keep their date."""
    shown = band("recovering", 600, waiting=0)
    assert shown.state == "catching"
    assert shown.as_of_label == "9:42 a.m."


def test_a_node_behind_its_customer_says_so() -> None:
    """Figures older than those that a customer has seen elsewhere are told as such, in any mode."""
    assert band("normal", behind=True).state == "catching"
    assert "already seen newer figures" in band("normal", behind=True).lead
    assert "already seen newer figures" in band("degraded", behind=True).body


def test_a_lower_bound_never_says_today() -> None:
    """After a restart of the machine nobody knows how old the figures are: at least."""
    shown = band("degraded", 7_200, at_least=True)
    assert "today" not in shown.as_of
    assert shown.as_of == "9:42 a.m. on Tuesday, November 17, 2026, at least 2 hours ago"
    assert shown.as_of_label == "9:42 a.m. on November 17, 2026"


@pytest.mark.parametrize("kind", ["account", "pay", "door"])
@pytest.mark.parametrize("payments_open", [True, False])
@pytest.mark.parametrize("name", ["normal", "degraded", "recovering"])
def test_customers_never_read_our_own_words(name: Mode, kind: str, payments_open: bool) -> None:  # noqa: FBT001
    """No message uses the words of the trade."""
    for behind in (True, False):
        shown = band(name, 99, payments_open=payments_open, kind=kind, behind=behind, waiting=2)
        told = f"{shown.heading} {shown.lead} {shown.as_of} {shown.body} {shown.promise}".lower()
        for word in ("pending", "processing", "degraded", "core", "oops"):
            assert word not in told


@pytest.mark.parametrize("payments_open", [True, False])
@pytest.mark.parametrize("name", ["degraded", "recovering"])
def test_a_payment_being_checked_is_not_to_be_made_again(
    name: Mode, *, payments_open: bool
) -> None:
    """Whatever the mode, the message says so, and does not say that nothing was taken."""
    shown = band(name, payments_open=payments_open, checked="your payment of $40.02")
    told = shown.body + shown.promise
    assert "We are checking your payment of $40.02: please do not pay it again." in told
    assert "You do not need to do anything" not in told
    assert "not taken any money" not in told
    assert "To pay now" not in told


def test_several_payments_being_checked_are_counted() -> None:
    """Their sum is named, and the plural used."""
    shown = band("degraded", checked="2 of your payments, $80.04 in all")
    assert "please do not pay them again" in shown.body

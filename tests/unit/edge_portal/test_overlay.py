"""What the journal knows beyond the snapshot is laid over it: each payment once, counted once."""

import pytest

from cache_sync.frames import Position
from edge_portal.overlay import better_informed, is_behind, overlay
from failover.intents import State
from tests.unit.edge_portal.edge_world import receipt

HERE = Position(1, "0", 10)


def test_an_accepted_payment_lowers_what_is_left_until_its_document_is_here() -> None:
    """Pending before, in the balance after, listed once throughout."""
    accepted = receipt("k")
    before = overlay([], [accepted], HERE)
    assert (before.payments, before.pending_cents) == ([accepted], 2_500)
    document = receipt("k", state="posted", seq=10)
    after = overlay([document], [accepted], HERE)
    assert (after.payments, after.pending_cents) == ([document], 0)


def test_a_posted_payment_that_the_snapshot_lacks_is_pending() -> None:
    """Posted at seq 11 while the snapshot stands at 10: its balance does not contain it."""
    assert overlay([], [receipt("k", state="posted", seq=11)], HERE).pending_cents == 2_500


def test_a_posted_payment_that_the_snapshot_has_reached_is_not_counted_again() -> None:
    """The balance at seq 10 contains what was posted at seq 10, document or not."""
    assert overlay([], [receipt("k", state="posted", seq=10)], HERE).pending_cents == 0


def test_a_position_of_another_epoch_proves_nothing() -> None:
    """After a restore the same seq may be something else: the payment stays pending until its document comes."""
    other = Position(2, "0", 50)
    assert overlay([], [receipt("k", state="posted", seq=10)], other).pending_cents == 2_500


@pytest.mark.parametrize("state", ["checking", "rejected", "dead_letter", "cancelled"])
def test_what_nobody_confirmed_or_the_core_refused_lowers_nothing(state: State) -> None:
    """It is listed all the same."""
    laid = overlay([], [receipt("k", state=state)], HERE)
    assert (len(laid.payments), laid.pending_cents) == (1, 0)


@pytest.mark.parametrize("state", ["void", "declined_limit"])
def test_an_attempt_that_took_nothing_is_not_listed(state: State) -> None:
    """It binds neither id nor fingerprint."""
    assert overlay([], [receipt("k", state=state)], HERE).payments == []


def test_the_same_id_with_another_fingerprint_is_another_row() -> None:
    """Two cut-off edges each took one: the winner's document and the loser's row are both shown."""
    winner = receipt("k", 2_500, "posted", seq=9)
    loser = receipt("k", 9_900, "rejected", seq=10)
    laid = overlay([winner], [loser], HERE)
    assert {(row.amount_cents, row.state) for row in laid.payments} == {
        (2_500, "posted"),
        (9_900, "rejected"),
    }


def test_own_row_and_copy_of_one_payment_are_one() -> None:
    """The one that knows more is told."""
    checking, accepted = receipt("k", state="checking"), receipt("k")
    assert overlay([], [checking, accepted], HERE).payments == [accepted]
    assert overlay([], [accepted, checking], HERE).pending_cents == 2_500
    assert better_informed(accepted, receipt("k", state="posted", seq=3)).state == "posted"


def test_payments_are_listed_newest_first() -> None:
    """Documents and overlay are one list."""
    old, new = receipt("a", state="posted", seq=2), receipt("b", minutes=5)
    assert overlay([old], [new], HERE).payments == [new, old]


@pytest.mark.parametrize(
    ("seen", "behind"),
    [
        ((), False),
        ((Position(1, "0", 10),), False),
        ((Position(1, "0", 11),), True),
        ((Position(2, "0", 1),), True),
        ((Position(0, "0", 99),), False),
        ((Position(1, "1", 99),), False),
        ((Position(1, "1", 99), Position(1, "0", 11)), True),
    ],
)
def test_a_node_is_behind_what_the_customer_saw(
    seen: tuple[Position, ...], *, behind: bool
) -> None:
    """A later seq of this epoch and shard, or a later epoch."""
    assert is_behind(HERE, seen) is behind

"""Sharing out the stand-in total: nobody is told more than what no other edge may still have."""

import pytest

from core_cis.domain.share_plan import Pot, Share, even_share, heard, planned
from failover.standin import OWN_FILE, Holding, OrderPlace

TOLD = Share(epoch=1, serial=4, version=2, share_cents=300, held_cents=500)


def pot(others: int = 0, *, even: int = 500, known: bool = True, epoch: int = 1) -> Pot:
    """Make a total of 1000 of which others may have something."""
    return Pot(
        epoch=epoch,
        version=2,
        total_cents=1000,
        even_cents=even,
        others_held_cents=others,
        others_known=known,
    )


@pytest.mark.parametrize(
    ("total", "edges", "most", "share"),
    [
        (1000, 2, 900, 500),
        (1000, 3, 900, 333),
        (1000, 1, 900, 900),
        (1000, 0, 2000, 1000),
        (0, 5, 9, 0),
    ],
)
def test_an_even_share_is_whole_cents_and_bounded(
    total: int, edges: int, most: int, share: int
) -> None:
    """What does not divide belongs to nobody."""
    assert even_share(total, edges, most) == share


@pytest.mark.parametrize(
    ("said", "held"),
    [
        (None, 500),
        (Holding(OrderPlace(1, 4), 300), 300),
        (Holding(OrderPlace(1, 4), 0), 300),
        (Holding(OrderPlace(1, 4), 450), 500),
        (Holding(OrderPlace(1, 4), 700), 700),
        (Holding(OrderPlace(1, 3), 100), 500),
        (Holding(OWN_FILE, 900), 900),
    ],
)
def test_only_who_follows_and_has_no_more_outstanding_counts_with_less(
    said: Holding | None, held: int
) -> None:
    """An old word may have been long on its way: it never makes what counts for an edge less."""
    assert heard(TOLD, said).held_cents == held


def test_the_first_word_replaces_what_was_assumed() -> None:
    """Of an edge that was told nothing yet."""
    assumed = Share(held_cents=5_000_000)
    assert heard(assumed, Holding(OWN_FILE, 200)).held_cents == 200
    assert heard(assumed, None).held_cents == 5_000_000


def test_an_edge_that_was_told_more_than_the_core_remembers_is_told_anew() -> None:
    """With an order that comes after that one, and what it has counts."""
    known = heard(TOLD, Holding(OrderPlace(1, 9), 800))
    told = planned(known, pot(100))
    assert (told.serial, told.share_cents, told.held_cents) == (10, 500, 800)


@pytest.mark.parametrize(
    ("others", "share"), [(0, 500), (500, 500), (700, 300), (1000, 0), (1700, 0)]
)
def test_what_others_may_have_is_not_given_out_again(others: int, share: int) -> None:
    """Nor does a share become less than nothing."""
    assert planned(Share(), pot(others)).share_cents == share


def test_a_share_that_shrinks_counts_until_it_is_followed() -> None:
    """And one that grows counts before it is told."""
    less = planned(Share(epoch=1, serial=1, version=1, share_cents=800, held_cents=800), pot())
    assert (less.serial, less.share_cents, less.held_cents) == (2, 500, 800)
    assert heard(less, Holding(less.place, 500)).held_cents == 500
    more = planned(Share(epoch=1, serial=1, version=2, share_cents=100, held_cents=100), pot(500))
    assert (more.share_cents, more.held_cents) == (500, 500)


def test_what_was_told_already_is_not_told_anew() -> None:
    """The same limits, the same share, the same epoch: the same order."""
    told = planned(Share(), pot())
    assert planned(told, pot()) is told
    assert planned(told, pot(epoch=2)).place == OrderPlace(2, 2)


def test_after_a_restore_nobody_gets_more_before_all_were_heard() -> None:
    """The core may have told them more than it remembers; less is told at once."""
    known = Share(epoch=1, serial=4, version=2, share_cents=300, held_cents=300)
    assert planned(known, pot(known=False, epoch=2)).share_cents == 300
    assert planned(known, pot(900, known=False, epoch=2)).share_cents == 100

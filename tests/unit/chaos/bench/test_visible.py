"""How long commits take to become visible, told from two notes."""

import pytest

from chaos.bench.visible import delays
from chaos.errors import FleetError

MS = 1_000_000


def test_a_commit_is_visible_with_the_first_look_at_it_or_a_later_one() -> None:
    """A look that shows two commits at once ends the wait of both."""
    done = [(1, 10 * MS), (2, 12 * MS), (3, 20 * MS)]
    seen = [(0, 5 * MS), (2, 15 * MS), (3, 24 * MS)]
    assert delays(done, seen) == [5.0, 3.0, 4.0]


def test_a_look_from_before_the_note_counts_as_no_time() -> None:
    """The commit is durable a moment before the committer gets to reading its clock."""
    assert delays([(1, 10 * MS)], [(1, 9 * MS)]) == [0.0]


def test_a_commit_that_nobody_saw_is_an_error() -> None:
    """Rather than a good figure without it."""
    with pytest.raises(FleetError, match="commit 2"):
        delays([(1, 10), (2, 20)], [(1, 30)])

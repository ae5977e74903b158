"""Sums of what is dropped: the same on both sides whatever the order, and gaps between what is there and what was."""

from hypothesis import given
from hypothesis import strategies as st

from failover.pruned_sums import (
    add_digests,
    digest_of,
    gaps,
    is_within,
    missing_digest,
    read_digest,
    write_digest,
)
from tests.unit.failover.test_intent_states import intent

DIGESTS = st.lists(st.integers(0, 2**128 - 1), max_size=8)


@given(DIGESTS, DIGESTS)
def test_a_sum_has_no_order_and_a_part_can_be_taken_away(one: list[int], other: list[int]) -> None:
    """As text too, of one length."""
    whole = add_digests([*one, *other])
    assert whole == add_digests([*reversed(other), *one])
    assert missing_digest(whole, add_digests(one)) == add_digests(other)
    assert read_digest(write_digest(whole)) == whole
    assert len(write_digest(whole)) == 32


def test_a_digest_tells_id_content_and_amount() -> None:
    """Not the place: the same wish is the same at every edge."""
    said = intent(1)
    assert digest_of(said) == digest_of(intent(2, "west"))
    assert digest_of(said) != digest_of(intent(1, id_="another"))


@given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)), st.integers(0, 31))
def test_gaps_are_what_is_neither_there_nor_dropped(
    present: set[int], dropped: set[int], upto: int
) -> None:
    """Beside the same said slowly."""
    ranges = [(each, each) for each in sorted(dropped)]
    for after in (0, 7):
        expected = [n for n in range(after + 1, upto + 1) if n not in present | dropped]
        assert list(gaps(present, ranges, after=after, upto=upto, limit=99)) == expected
        assert list(gaps(present, ranges, after=after, upto=upto, limit=2)) == expected[:2]
    assert [n for n in range(32) if is_within(n, ranges)] == sorted(dropped)

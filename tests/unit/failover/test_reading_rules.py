"""A reading is refused where it cannot be, and an older one changes nothing."""

from datetime import date

import pytest

from failover.reading_rules import LastRead, ReadingProblem, is_older, newest, problem_of_reading

TODAY = date(2026, 11, 17)
LAST = LastRead(date(2026, 11, 10), 12_000_000)


@pytest.mark.parametrize(
    ("read_on", "register_wh", "last", "problem"),
    [
        (TODAY, 12_100_000, LAST, None),
        (TODAY, 12_000_000, LAST, None),
        (TODAY, 11_999_000, LAST, "reading_decreased"),
        (TODAY, 12_000_000 + 7 * 300_000, LAST, None),
        (TODAY, 12_000_000 + 7 * 300_000 + 1, LAST, "reading_too_high"),
        (LAST.read_on, 12_300_000, LAST, None),
        (LAST.read_on, 12_300_001, LAST, "reading_too_high"),
        (date(2026, 11, 9), 1, LAST, None),
        (date(2026, 11, 18), 12_100_000, LAST, "read_in_future"),
        (TODAY, -1, None, "register_out_of_range"),
        (TODAY, 10**12 + 1, None, "register_out_of_range"),
        (TODAY, 7, None, None),
        # Five digits that were all nines begin anew at zero; six digits are a larger register.
        (TODAY, 200_000, LastRead(LAST.read_on, 99_900_000), None),
        (TODAY, 200_000, LastRead(LAST.read_on, 97_000_000), "reading_decreased"),
        (TODAY, 200_000, LastRead(LAST.read_on, 999_900_000), None),
        (TODAY, 200_000, LastRead(LAST.read_on, 199_900_000), "reading_decreased"),
    ],
)
def test_says_why_a_reading_cannot_be(
    read_on: date, register_wh: int, last: LastRead | None, problem: ReadingProblem | None
) -> None:
    """By the register's size, the day, and what can be used between two readings."""
    assert problem_of_reading(read_on, register_wh, last=last, today=TODAY) == problem


def test_older_is_older_by_the_day() -> None:
    """The same day is not older, and nothing is older than nothing."""
    assert is_older(date(2026, 11, 9), LAST)
    assert not is_older(LAST.read_on, LAST)
    assert not is_older(date(2000, 1, 1), None)


def test_newest_is_by_day_then_by_order() -> None:
    """Whatever order they are named in."""
    later = LastRead(date(2026, 11, 11), 5)
    assert newest([later, LAST]) == newest([LAST, later]) == later
    assert newest([LAST, LastRead(LAST.read_on, 1)]) == LastRead(LAST.read_on, 1)
    assert newest([]) is None

from datetime import date

import pytest

from core_cis.domain.register_reads import RegisterRead, register_usage
from core_cis.errors import ImplausibleRead

MAY, JUNE = date(2025, 5, 1), date(2025, 6, 1)


def usage(previous: RegisterRead, current: RegisterRead) -> int:
    """Return kWh between two reads of a register of five dials, at some 10 kWh a day."""
    return register_usage(previous, current, dials=5, average_daily_units=10) // 1000


def test_usage_is_the_difference() -> None:
    """From 1,200 to 1,450 are 250 kWh; an empty home uses none."""
    assert usage(RegisterRead(MAY, 1200), RegisterRead(JUNE, 1200)) == 0
    assert usage(RegisterRead(MAY, 1200), RegisterRead(JUNE, 1450)) == 250


def test_an_actual_read_corrects_an_estimate() -> None:
    """Estimated 100, read 102: 2 remain to be billed."""
    assert usage(RegisterRead(MAY, 100, "estimated"), RegisterRead(JUNE, 102)) == 2


def test_a_plausible_rollover() -> None:
    """99,990 → 15 on five dials are 25 kWh."""
    assert usage(RegisterRead(MAY, 99_990), RegisterRead(JUNE, 15)) == 25


def test_a_read_below_an_estimate_is_no_rollover() -> None:
    """The estimate was too high: a correction, never a bill over 99,990 kWh."""
    with pytest.raises(ImplausibleRead, match="below_estimate"):
        usage(RegisterRead(MAY, 99_990, "estimated"), RegisterRead(JUNE, 15))


@pytest.mark.parametrize(("before", "after"), [(1450, 1200), (95_000, 4000)])
def test_an_implausible_fall_is_refused(before: int, after: int) -> None:
    """98,750 kWh would be most of the dials; 9,000 in a month is far above 10 a day."""
    with pytest.raises(ImplausibleRead, match="below_previous"):
        usage(RegisterRead(MAY, before), RegisterRead(JUNE, after))


def test_a_large_user_rolls_over_within_a_tenth_of_the_dials() -> None:
    """10,000 of five dials' 100,000 is a rollover at 400 kWh a day; 10,001 is none."""
    before = RegisterRead(MAY, 95_000)
    for after, plausible in ((5000, True), (5001, False)):
        read = RegisterRead(JUNE, after)
        if plausible:
            assert register_usage(before, read, dials=5, average_daily_units=400) == 10_000_000
        else:
            with pytest.raises(ImplausibleRead, match="below_previous"):
                register_usage(before, read, dials=5, average_daily_units=400)

"""Where bars stand."""

from datetime import date, timedelta

import pytest

from edge_portal.charts import (
    HOURS_A_DAY,
    LARGE,
    SMALL,
    DayUse,
    day_chart,
    grid_step,
    hour_chart,
    hour_span,
    hour_spans,
)

FIRST = date(2026, 10, 10)


def days(*usage_wh: int | None) -> list[DayUse]:
    """Build days with the usage given."""
    return [DayUse(day=FIRST + timedelta(i), usage_wh=wh) for i, wh in enumerate(usage_wh)]


def test_bars_start_at_zero_and_keep_their_proportion() -> None:
    """Half the energy is half the height, and every bar stands on the base line."""
    chart = day_chart(days(20_000, 10_000, 0), LARGE)
    heights = [float(bar.bar_height) for bar in chart.bars]
    assert heights[1] * 2 == pytest.approx(heights[0])
    assert heights[2] == 0
    assert all(
        float(bar.y) + float(bar.bar_height) == pytest.approx(LARGE.base) for bar in chart.bars
    )
    assert float(chart.bars[0].y) == LARGE.top


def test_the_highest_day_stands_out_and_is_told() -> None:
    """The peak has its own mark, and its words name day and value."""
    chart = day_chart(days(10_000, 31_400, 12_000), LARGE)
    assert [bar.css for bar in chart.bars] == ["bar", "bar peak", "bar"]
    assert chart.peak is not None
    assert chart.peak.readout == "Sun, Oct 11: 31.4 kWh"


def test_a_small_chart_has_no_peak() -> None:
    """Where there is no room to name the highest day, it does not stand out."""
    chart = day_chart(days(10_000, 31_400), SMALL)
    assert chart.peak is None
    assert [bar.css for bar in chart.bars] == ["bar", "bar"]


def test_estimates_are_dashed_even_when_highest() -> None:
    """An estimated day looks estimated, and its label says so."""
    day = DayUse(day=FIRST, usage_wh=10_000, before_wh=9_000, estimated=True)
    bar = day_chart([day], LARGE).bars[0]
    assert bar.css == "gap"
    assert bar.label == "Sat, October 10: 10.0 kWh, estimated. Period before: 9.0 kWh"


def test_days_without_readings_have_no_bar() -> None:
    """Nothing known is not zero."""
    chart = day_chart(days(10_000, None), LARGE)
    assert [bar.bar for bar in chart.bars] == [True, False]


def test_a_period_without_usage_can_be_drawn() -> None:
    """All zero has no peak and no division by zero."""
    chart = day_chart(days(0, 0), LARGE)
    assert chart.peak is None
    assert [bar.bar_height for bar in chart.bars] == ["0", "0"]


@pytest.mark.parametrize("highest", [1, 900, 1_000, 31_400, 99_999, 1_000_000, 123_456_789])
def test_few_grid_lines(highest: int) -> None:
    """There are never more lines than can be told apart."""
    assert highest // grid_step(highest) <= 3


def test_the_four_highest_hours_in_a_row_stand_out() -> None:
    """The peak is the best window, with its share of the whole."""
    average = [1.0] * HOURS_A_DAY
    average[17:21] = [5.0] * 4
    chart = hour_chart(average)
    assert (chart.peak_from, chart.peak_to) == (17, 21)
    assert chart.peak_percent == 50
    assert [i for i, bar in enumerate(chart.bars) if bar.css == "bar peak"] == [17, 18, 19, 20]


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [(17, 21, "5 to 9 p.m."), (10, 14, "10 a.m. to 2 p.m."), (0, 4, "midnight to 4 a.m."),
     (20, 24, "8 p.m. to midnight"), (12, 16, "noon to 4 p.m."), (8, 12, "8 a.m. to noon")],
)  # fmt: skip
def test_spans_of_hours(first: int, last: int, told: str) -> None:
    """The half of the day is named once where both ends share it."""
    assert hour_span(first, last) == told


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        ((), "estimated"),
        ((3, 4), "estimated, 3 to 5 a.m."),
        ((0, 11, 12), "estimated, midnight to 1 a.m. and 11 a.m. to 1 p.m."),
        ((1, 3, 5), "estimated, 3 hours"),
    ],
)
def test_a_day_says_which_hours_were_estimated(hours: tuple[int, ...], told: str) -> None:
    """As spans where two are enough, else how many."""
    day = DayUse(day=FIRST, usage_wh=10_000, estimated=True, estimated_hours=hours)
    assert day.estimated_told == told
    assert day_chart([day], LARGE).bars[0].label == f"Sat, October 10: 10.0 kWh, {told}"
    assert DayUse(day=FIRST, usage_wh=10_000).estimated_told == ""


def test_hours_in_a_row_are_one_span() -> None:
    """Up to the end of the last of them."""
    assert hour_spans([]) == []
    assert hour_spans([0, 1, 2, 5, 23]) == [(0, 3), (5, 6), (23, 24)]


def test_estimated_hours_are_dashed() -> None:
    """Also those that stand out."""
    assert {bar.css for bar in hour_chart([1.0] * 24, estimated=True).bars} == {"gap"}
    assert {bar.css for bar in hour_chart([1.0] * 24).bars} == {"bar", "bar peak"}

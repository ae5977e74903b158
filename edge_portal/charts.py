"""
Geometry of the charts: where each bar and tick stands. Drawn by the macros of ``templates/charts.html``.

Horizontal places are per cent of the drawing's width, so that text never scales; vertical ones are pixels. Every
chart starts at zero.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final

import msgspec

from edge_portal import words

BAR_SHARE: Final = 0.6
TICK_SHARE: Final = 0.88
GRID_LINES_MAX: Final = 3
SPANS_MAX: Final = 2


class DayUse(msgspec.Struct, frozen=True, kw_only=True):
    """
    One bar: a day's energy in Wh, None where nothing is known yet, beside the same day of the period before.

    ``estimated`` marks days of which any part was estimated, ``estimated_hours`` in which hours, where that is known.
    """

    day: date
    usage_wh: int | None
    before_wh: int | None = None
    estimated: bool = False
    estimated_hours: tuple[int, ...] = ()

    @property
    def estimated_told(self) -> str:
        """Say that and when it was estimated; empty for a day that was measured."""
        if not self.estimated:
            return ""
        spans = [hour_span(first, last) for first, last in hour_spans(self.estimated_hours)]
        if len(spans) > SPANS_MAX:
            return f"estimated, {words.count_of(len(self.estimated_hours), 'hour')}"
        return ", ".join(["estimated", " and ".join(spans)] if spans else ["estimated"])


class Plot(msgspec.Struct, frozen=True, kw_only=True):
    """The space that bars stand in: ``base`` is the y of zero, ``top`` the y that the highest value may reach."""

    height: int
    base: int
    top: int


class GridLine(msgspec.Struct, frozen=True):
    """A line across at ``y`` with its value in kWh."""

    y: str
    label: str


class DayBar(msgspec.Struct, frozen=True, kw_only=True):
    """A day's slot, bar and tick, as SVG attribute values; ``bar`` and ``tick`` are False where there is none."""

    number: int
    slot_x: str
    bar: bool
    bar_x: str
    y: str
    bar_height: str
    css: str
    tick: bool
    tick_x: str
    tick_y: str
    label: str
    readout: str
    readout_before: str
    share: str


class Mark(msgspec.Struct, frozen=True):
    """A label below the base line."""

    x: str
    text: str
    anchor: str


class DayChart(msgspec.Struct, frozen=True, kw_only=True):
    """A bar for each day of a period."""

    plot: Plot
    slot_width: str
    bar_width: str
    tick_width: str
    grid: list[GridLine]
    bars: list[DayBar]
    marks: list[Mark]
    peak: DayBar | None
    compared: bool
    any_estimated: bool
    this_label_y: str
    that_label_x: str


class HourBar(msgspec.Struct, frozen=True):
    """The average of one hour of the day."""

    x: str
    y: str
    height: str
    css: str


class HourChart(msgspec.Struct, frozen=True, kw_only=True):
    """Average use by hour of the day, with the four highest hours in a row standing out."""

    plot: Plot
    bars: list[HourBar]
    peak_x: str
    peak_from: int
    peak_to: int
    peak_percent: int


LARGE: Final = Plot(height=300, base=270, top=50)
SMALL: Final = Plot(height=218, base=190, top=26)
HOURS: Final = Plot(height=138, base=110, top=26)
HOURS_A_DAY: Final = 24
PEAK_HOURS: Final = 4


def _pixels(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _percent(value: float) -> str:
    return f"{_pixels(value)}%"


def grid_step(highest_wh: int) -> int:
    """Return the distance of grid lines in Wh: 1, 2 or 5 times a power of ten, at most three lines."""
    step = 100
    while True:
        for factor in (1, 2, 5):
            if highest_wh // (step * factor) <= GRID_LINES_MAX:
                return step * factor
        step *= 10


def day_chart(days: Sequence[DayUse], plot: Plot) -> DayChart:
    """Lay out a chart of days, at least one; the peak is the highest measured or estimated day."""
    known = [day.usage_wh for day in days if day.usage_wh is not None]
    before = [day.before_wh for day in days if day.before_wh is not None]
    highest = max([*known, *before, 1])
    scale = (plot.base - plot.top) / highest
    slot = 100 / len(days)
    step = grid_step(highest)
    digits = 0 if step % words.WH_A_KWH == 0 else 1
    lines = [
        GridLine(_pixels(plot.base - value * scale), words.kwh(value, digits))
        for value in range(step, highest + 1, step)
    ]
    most = max(known, default=0)
    # A small drawing has no room to say which day stands out.
    told = plot is not SMALL
    peak_index = next(
        (i for i, day in enumerate(days) if told and most and day.usage_wh == most),
        None,
    )
    bars = [
        _day_bar(
            index, day, plot, scale=scale, slot=slot, highest=highest, peak=index == peak_index
        )
        for index, day in enumerate(days)
    ]
    label_y = plot.base - highest * scale - 6
    return DayChart(
        plot=plot,
        slot_width=_percent(slot),
        bar_width=_percent(slot * BAR_SHARE),
        tick_width=_percent(slot * TICK_SHARE),
        grid=lines,
        bars=bars,
        marks=_day_marks(days, slot),
        peak=None if peak_index is None else bars[peak_index],
        compared=bool(before),
        any_estimated=any(day.estimated for day in days),
        this_label_y=_pixels(max(12.0, label_y)),
        that_label_x=_percent(62.0),
    )


def _day_bar(
    index: int, day: DayUse, plot: Plot, *, scale: float, slot: float, highest: int, peak: bool
) -> DayBar:
    usage = day.usage_wh or 0
    css = "gap" if day.estimated else "bar peak" if peak else "bar"
    told = "nothing known" if day.usage_wh is None else f"{words.kwh(usage, 1)} kWh"
    if day.estimated:
        told += f", {day.estimated_told}"
    before = "" if day.before_wh is None else f"Period before: {words.kwh(day.before_wh, 1)} kWh"
    x = index * slot
    return DayBar(
        number=index + 1,
        slot_x=_percent(x),
        bar=day.usage_wh is not None,
        bar_x=_percent(x + slot * (1 - BAR_SHARE) / 2),
        y=_pixels(plot.base - usage * scale),
        bar_height=_pixels(usage * scale),
        css=css,
        tick=day.before_wh is not None,
        tick_x=_percent(x + slot * (1 - TICK_SHARE) / 2),
        tick_y=_pixels(plot.base - (day.before_wh or 0) * scale - 1.5),
        label=f"{words.chart_day(day.day)}: {told}" + (f". {before}" if before else ""),
        readout=f"{words.short_day(day.day)}: {told}",
        readout_before=before,
        share=_percent(98 * usage / highest),
    )


def _day_marks(days: Sequence[DayUse], slot: float) -> list[Mark]:
    """Name the first day, then every seventh; a month's name only where it changes."""
    marks = [Mark("0", words.short_date(days[0].day), "start")]
    month = days[0].day.month
    for index in range(7, len(days) - 2, 7):
        day = days[index].day
        text = str(day.day) if day.month == month else words.short_date(day)
        month = day.month
        marks.append(Mark(_percent((index + 0.5) * slot), text, "middle"))
    return marks


def hour_chart(average_wh: Sequence[float], *, estimated: bool = False) -> HourChart:
    """Lay out 24 hourly averages, dashed when estimates are among them; not all of them may be zero."""
    assert len(average_wh) == HOURS_A_DAY
    plot, total = HOURS, sum(average_wh)
    scale = (plot.base - plot.top) / max(average_wh)
    starts = range(HOURS_A_DAY - PEAK_HOURS + 1)
    first = max(starts, key=lambda start: sum(average_wh[start : start + PEAK_HOURS]))
    peak_share = sum(average_wh[first : first + PEAK_HOURS]) / total
    slot = 100 / HOURS_A_DAY
    bars = [
        HourBar(
            _percent(hour * slot + slot * 0.14),
            _pixels(plot.base - value * scale),
            _pixels(value * scale),
            "gap" if estimated else "bar peak" if first <= hour < first + PEAK_HOURS else "bar",
        )
        for hour, value in enumerate(average_wh)
    ]
    # The label is centred on the peak, but kept inside the drawing.
    middle = min(max((first + PEAK_HOURS / 2) * slot, 14.0), 86.0)
    return HourChart(
        plot=plot,
        bars=bars,
        peak_x=_percent(middle),
        peak_from=first,
        peak_to=first + PEAK_HOURS,
        peak_percent=round(100 * peak_share),
    )


def hour_span(first: int, last: int, joint: str = "to") -> str:
    """Name a span of hours: ``5 to 9 p.m.``, ``11 a.m. to 3 p.m.``."""
    begin, end = hour_name(first), hour_name(last)
    half = begin[-5:]
    if half == end[-5:] and half in {" a.m.", " p.m."}:
        begin = begin.removesuffix(half)
    return f"{begin} {joint} {end}"


def hour_spans(hours: Sequence[int]) -> list[tuple[int, int]]:
    """Join ascending hours into spans, each from its first hour to the end of its last."""
    spans: list[tuple[int, int]] = []
    for hour in hours:
        if spans and spans[-1][1] == hour:
            spans[-1] = (spans[-1][0], hour + 1)
        else:
            spans.append((hour, hour + 1))
    return spans


def hour_name(hour: int) -> str:
    """Name an hour of the day 0–24: ``midnight``, ``5 p.m.``."""
    if hour % HOURS_A_DAY == 0:
        return "midnight"
    if hour == words.NOON:
        return "noon"
    return f"{hour % words.NOON} {'a.m.' if hour < words.NOON else 'p.m.'}"

"""
Charts of a drill as SVG: geometry in attributes, x in percent, so that text never scales with the page.

Solid is settled, dashed is still on its way: a line is dashed while its edge rides through.
"""

from collections.abc import Sequence
from html import escape

import msgspec

PLOT_WIDTH = 1000
# Not a mode of an edge, but of one that nobody reaches.
GONE = "gone"
MODE_LEVEL = {"normal": 6, "recovering": 16, "degraded": 26}
_WORDS = {"normal": "Live", "degraded": "Riding through", "recovering": "Catching up"}
_ROOM_FOR_LABEL_PERCENT = 9.0
_ROOM_ON_NARROW_PERCENT = 26.0


class Mark(msgspec.Struct, frozen=True):
    """A moment drawn into every chart; ``x`` in percent of the width."""

    label: str
    clock: str
    x: float


class Line(msgspec.Struct, frozen=True):
    """One named line: values for each bin, None where nothing is known."""

    name: str
    values: list[float | None]


def _points(values: Sequence[float | None], top: float, height: float) -> list[str]:
    """Turn values into polyline points, one list of points for each stretch without a gap."""
    stretches: list[list[str]] = [[]]
    last = max(1, len(values) - 1)
    for place, value in enumerate(values):
        if value is None:
            if stretches[-1]:
                stretches.append([])
            continue
        x = place / last * PLOT_WIDTH
        y = height - min(value, top) / top * (height - 4)
        stretches[-1].append(f"{x:.1f},{y:.1f}")
    return [" ".join(points) for points in stretches if points]


def nice_top(value: float) -> float:
    """Round up to a figure that reads well on an axis."""
    step = 1.0
    while True:
        for factor in (1, 2, 5):
            if value <= step * factor:
                return step * factor
        step *= 10


def filled(values: Sequence[float | None]) -> list[float | None]:
    """Carry a value over bins in which nobody looked; bins before the first look stay empty."""
    known: float | None = None
    carried: list[float | None] = []
    for value in values:
        known = known if value is None else value
        carried.append(known)
    return carried


def _ticks(marks: Sequence[Mark], y: float) -> str:
    """Write the clock times below a chart; fewer on a narrow page, so that none runs into the one before."""
    written: list[str] = []
    last = last_on_narrow = -100.0
    for mark in marks:
        if mark.x - last < _ROOM_FOR_LABEL_PERCENT:
            continue
        last = mark.x
        kind = ' class="wide"'
        if mark.x - last_on_narrow >= _ROOM_ON_NARROW_PERCENT:
            last_on_narrow, kind = mark.x, ""
        anchor = "start" if mark.x < _ROOM_FOR_LABEL_PERCENT else "middle"
        anchor = "end" if mark.x > 100 - _ROOM_FOR_LABEL_PERCENT else anchor
        written.append(
            f'<text{kind} x="{mark.x:.2f}%" y="{y:.0f}" text-anchor="{anchor}">{escape(mark.clock)}</text>'
        )
    return "".join(written)


def _outage_band(outage: tuple[float, float] | None, height: float) -> str:
    if outage is None:
        return ""
    begin, end = outage
    return (
        f'<rect class="pool" x="{begin:.2f}%" y="0" width="{max(0.1, end - begin):.2f}%" '
        f'height="{height:.0f}"/>'
    )


def line_chart(
    lines: Sequence[Line],
    *,
    label: str,
    unit: str,
    marks: Sequence[Mark],
    outage: tuple[float, float] | None,
) -> str:
    """Draw lines over one time axis that starts at zero; the first is solid, the second dashed."""
    height = 110.0
    highest = max((value for line in lines for value in line.values if value), default=1.0)
    top = nice_top(max(highest, 1.0))
    drawn = "".join(
        f'<polyline class="{"now" if number == 0 else "way2"}" points="{points}"/>'
        for number, line in enumerate(lines)
        for points in _points(line.values, top, height)
    )
    return (
        f'<svg class="chart" width="100%" height="142" role="img" aria-label="{escape(label)}">'
        f"{_outage_band(outage, height)}"
        f'<line class="grid" x1="0" x2="100%" y1="4" y2="4"/>'
        f'<text x="-8" y="10" text-anchor="end">{top:g}</text>'
        f'<text x="-8" y="{height:.0f}" text-anchor="end">0{escape(unit)}</text>'
        f'<svg width="100%" height="{height:.0f}" viewBox="0 0 {PLOT_WIDTH} {height:.0f}" '
        f'preserveAspectRatio="none">{drawn}</svg>'
        f'<line class="base" x1="0" x2="100%" y1="{height:.0f}" y2="{height:.0f}"/>'
        f"{_ticks(marks, height + 22)}</svg>"
    )


def bar_chart(
    counts: Sequence[int],
    failed: Sequence[int],
    *,
    label: str,
    marks: Sequence[Mark],
    outage: tuple[float, float] | None,
) -> str:
    """Draw requests for each bin, with the failed part on top in another colour."""
    height = 110.0
    top = nice_top(max([*counts, 1]))
    width = PLOT_WIDTH / max(1, len(counts))
    bars: list[str] = []
    for place, (count, wrong) in enumerate(zip(counts, failed, strict=True)):
        tall = count / top * (height - 4)
        lost = wrong / top * (height - 4)
        x = place * width
        shape = f'x="{x:.1f}" width="{max(0.5, width - 0.6):.1f}"'
        if tall:
            bars.append(f'<rect class="bar" {shape} y="{height - tall:.1f}" height="{tall:.1f}"/>')
        if lost:
            bars.append(
                f'<rect class="failed" {shape} y="{height - tall:.1f}" height="{lost:.1f}"/>'
            )
    return (
        f'<svg class="chart" width="100%" height="142" role="img" aria-label="{escape(label)}">'
        f"{_outage_band(outage, height)}"
        f'<line class="grid" x1="0" x2="100%" y1="4" y2="4"/>'
        f'<text x="-8" y="10" text-anchor="end">{top:g}</text>'
        f'<text x="-8" y="{height:.0f}" text-anchor="end">0</text>'
        f'<svg width="100%" height="{height:.0f}" viewBox="0 0 {PLOT_WIDTH} {height:.0f}" '
        f'preserveAspectRatio="none">{"".join(bars)}</svg>'
        f'<line class="base" x1="0" x2="100%" y1="{height:.0f}" y2="{height:.0f}"/>'
        f"{_ticks(marks, height + 22)}</svg>"
    )


def _stretches(modes: Sequence[str]) -> list[tuple[str, int, int]]:
    """Join equal neighbours to (mode, first bin, bin after the last); bins without a look belong to the one before."""
    joined: list[tuple[str, int, int]] = []
    for place, mode in enumerate(modes):
        if joined and (not mode or joined[-1][0] == mode):
            joined[-1] = (joined[-1][0], joined[-1][1], place + 1)
        elif mode:
            joined.append((mode, place, place + 1))
    return joined


def mode_strip(edge: str, modes: Sequence[str]) -> str:
    """Draw one edge's mode over time: straight while live, dashed below while it rides through, a gap while gone."""
    scale = PLOT_WIDTH / max(1, len(modes))
    drawn: list[str] = []
    told: list[str] = []
    before: float | None = None
    for mode, first, after in _stretches(modes):
        begin, end = first * scale, after * scale
        if mode == GONE:
            told.append("No answer")
            before = None
            continue
        level = MODE_LEVEL.get(mode, MODE_LEVEL["degraded"])
        if before is not None:
            drawn.append(f'<path class="now" d="M{begin:.1f} {before}L{begin:.1f} {level}"/>')
        kind = "way2" if mode == "degraded" else "now"
        drawn.append(f'<path class="{kind}" d="M{begin:.1f} {level}H{end:.1f}"/>')
        told.append(_WORDS.get(mode, mode))
        before = level
    label = f"{edge}: {', then '.join(told) or 'not seen'}"
    return (
        f'<svg class="strip" viewBox="0 0 {PLOT_WIDTH} 32" preserveAspectRatio="none" width="100%" '
        f'height="32" role="img" aria-label="{escape(label)}">{"".join(drawn)}</svg>'
    )


def time_axis(marks: Sequence[Mark]) -> str:
    """Write the clock times alone, below a stack of strips."""
    return (
        f'<svg class="chart" width="100%" height="24" aria-hidden="true">{_ticks(marks, 18)}</svg>'
    )

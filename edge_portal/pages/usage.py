"""The usage page: a period's days as a chart and as a table, and the hours that stand out."""

from collections.abc import Sequence
from datetime import date

import msgspec
from litestar import Response, get

from edge_portal import words
from edge_portal.charts import DayUse, hour_chart, hour_span
from edge_portal.cookies import AnyRequest
from edge_portal.pages.chart_pictures import DayPicture, draw_days, draw_hours
from edge_portal.pages.overview import chart_told, more_or_less
from edge_portal.pages.use_periods import (
    HourlyUse,
    PeriodUse,
    UsePeriod,
    day_totals,
    hourly_use,
    period_use,
    periods,
)
from edge_portal.pages.visit import Visit, answer, open_visit

HIGHEST_DAYS = 3


class DayRow(msgspec.Struct, frozen=True, kw_only=True):
    """A day of the table."""

    day: str
    usage: str
    before: str
    difference: str
    estimated: str
    share: str
    css: str
    highest: bool


class PeriodLink(msgspec.Struct, frozen=True):
    """Another period to look at."""

    address: str
    told: str


@get("/usage", sync_to_thread=False, include_in_schema=False)
def usage(request: AnyRequest) -> Response[bytes]:
    """Show a period's usage: the newest, or the one that begins on ``from``."""
    visit = open_visit(request)
    totals = day_totals(visit.view.usage)
    known = periods(visit.view.statements, totals)
    if not known:
        return answer(
            visit, "usage_none.html", title=f"Usage{visit.band.in_title}", current="Usage"
        )
    start = request.query_params.get("from")
    index = next((i for i, period in enumerate(known) if period.first.isoformat() == start), 0)
    period = known[index]
    use = period_use(period, known[index + 1] if index + 1 < len(known) else None, totals)
    picture = draw_days(tuple(use.days), chart_told(visit, use), linked=True)
    hourly = hourly_use(visit.view.usage, period)
    hours_told = _hours_told(hourly.average_wh) if hourly else ""
    when = _named(visit, period)
    points = visit.view.account.service_points
    return answer(
        visit,
        "usage.html",
        title=f"Usage, {when}{visit.band.in_title}",
        current="Usage",
        when=when,
        where=f"{points[0].address} and {len(points) - 1} more"
        if len(points) > 1
        else points[0].address
        if points
        else "",
        earlier=_link(visit, known, index + 1),
        later=_link(visit, known, index - 1),
        use=use,
        picture=picture,
        total=words.kwh(use.usage_wh),
        summary=_summary(use),
        average=_average(use),
        rows=_rows(use, picture),
        total_row=_total_row(use),
        hours=draw_hours(
            hourly.average_wh,
            f"Average use by hour of the day. {hours_told}",
            estimated=hourly.estimated,
        )
        if hourly
        else None,
        hours_told=hours_told,
        hours_estimated=_estimates_told(hourly) if hourly else "",
        highest=_highest(visit, use),
    )


def _named(visit: Visit, period: UsePeriod) -> str:
    if period.open:
        return f"since {visit.month_day(period.first)}"
    return visit.period(period.first, period.end)


def _link(visit: Visit, known: list[UsePeriod], index: int) -> PeriodLink | None:
    if not 0 <= index < len(known):
        return None
    return PeriodLink(f"/usage?from={known[index].first.isoformat()}", _named(visit, known[index]))


def _summary(use: PeriodUse) -> tuple[str, str]:
    days = f"in {words.count_of(use.known_days, 'day')}."
    if use.before is None or use.before_same_wh is None:
        return days, ""
    length = (use.before.end - use.before.first).days
    told = more_or_less(use.usage_wh, use.before_same_wh)
    joined = f"{told} {'as' if told == 'as much' else 'than'}"
    if use.period.open:
        return days, f"{joined} the first {use.known_days} days of the period before."
    return days, f"{joined} the {length} days before."


def _average(use: PeriodUse) -> str:
    if not use.known_days:
        return ""
    now = use.usage_wh // use.known_days
    told = f"An average of {words.kwh(now, 1)} kWh a day"
    if use.before is None or use.before_same_wh is None:
        return f"{told}."
    length = use.known_days if use.period.open else (use.before.end - use.before.first).days
    then = use.before_same_wh // length
    return f"{told}, {'up' if now > then else 'down'} from {words.kwh(then, 1)}."


def _rows(use: PeriodUse, picture: DayPicture) -> list[DayRow]:
    """List the period's days up to the last reading; what may still come is only in the chart."""
    peak = _peak(use)
    return [
        _row(bar.share, bar.css, day, day is peak)
        for bar, day in zip(picture.chart.bars, use.days, strict=True)
        if use.last_known is not None and day.day <= use.last_known
    ]


def _peak(use: PeriodUse) -> DayUse | None:
    return max(
        (day for day in use.days if day.usage_wh), key=lambda day: day.usage_wh or 0, default=None
    )


def _row(share: str, css: str, day: DayUse, highest: bool) -> DayRow:  # noqa: FBT001
    both = day.usage_wh is not None and day.before_wh is not None
    return DayRow(
        day=words.short_day(day.day),
        usage="–" if day.usage_wh is None else words.kwh(day.usage_wh, 1),
        before="–" if day.before_wh is None else words.kwh(day.before_wh, 1),
        difference=words.signed_kwh((day.usage_wh or 0) - (day.before_wh or 0)) if both else "–",
        estimated=day.estimated_told.capitalize(),
        share=share,
        css=css,
        highest=highest,
    )


def _total_row(use: PeriodUse) -> DayRow:
    before = use.before_same_wh
    return DayRow(
        day="Total",
        usage=words.kwh(use.usage_wh, 1),
        before="–" if before is None else words.kwh(before, 1),
        difference="–" if before is None else words.signed_kwh(use.usage_wh - before),
        estimated="Estimated" if use.estimated_wh else "",
        share="",
        css="",
        highest=False,
    )


def _estimates_told(hourly: HourlyUse) -> str:
    """Say what became of estimated hours, which tell nothing about when electricity was used."""
    if hourly.estimated:
        return "Some of these hours were estimated."
    if hourly.left_out:
        days = words.count_of(hourly.left_out, "day")
        return f"{days} with estimated hours {'is' if hourly.left_out == 1 else 'are'} not counted here."
    return ""


def _hours_told(average_wh: Sequence[float]) -> str:
    hours = hour_chart(average_wh)
    span = hour_span(hours.peak_from, hours.peak_to, "and")
    return words.stop(f"{hours.peak_percent}% of your electricity goes between {span}")


def _highest(visit: Visit, use: PeriodUse) -> str:
    ranked = sorted(
        (day for day in use.days if day.usage_wh), key=lambda day: -(day.usage_wh or 0)
    )[:HIGHEST_DAYS]
    if len(ranked) < HIGHEST_DAYS:
        return ""
    told = [_day_with_use(visit, day.day, day.usage_wh or 0) for day in ranked]
    return f"Your three highest days were {told[0]}, {told[1]} and {told[2]}."


def _day_with_use(visit: Visit, day: date, usage_wh: int) -> str:
    return f"{visit.month_day(day)} ({words.kwh(usage_wh, 1)} kWh)"

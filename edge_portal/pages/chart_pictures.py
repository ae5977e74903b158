"""Charts as finished pictures, kept for the next time the same days are looked at."""

from functools import lru_cache
from typing import Final

import msgspec
from markupsafe import Markup

from edge_portal.charts import LARGE, SMALL, DayChart, DayUse, HourChart, day_chart, hour_chart
from edge_portal.pages.rendering import environment

KEPT_MAX: Final = 256


class DayPicture(msgspec.Struct, frozen=True, kw_only=True):
    """A chart of days with its SVG and the list of its signs."""

    chart: DayChart
    svg: Markup
    keys: Markup


class HourPicture(msgspec.Struct, frozen=True, kw_only=True):
    """A chart of the hours of the day."""

    chart: HourChart
    svg: Markup


@lru_cache(maxsize=KEPT_MAX)
def draw_days(days: tuple[DayUse, ...], told: str, *, linked: bool) -> DayPicture:
    """Draw a period: large with bars that lead to the table's rows when ``linked``, else small."""
    macros = environment().get_template("charts.html").module
    chart = day_chart(days, LARGE if linked else SMALL)
    return DayPicture(
        chart=chart,
        svg=Markup(macros.days(chart, told, linked)),  # type: ignore[attr-defined]  # noqa: S704 - escaped by its template
        keys=Markup(macros.keys(chart)),  # type: ignore[attr-defined]  # noqa: S704 - escaped by its template
    )


@lru_cache(maxsize=KEPT_MAX)
def draw_hours(average_wh: tuple[float, ...], told: str, *, estimated: bool) -> HourPicture:
    """Draw the hours of the day, dashed when estimates are among them."""
    macros = environment().get_template("charts.html").module
    chart = hour_chart(average_wh, estimated=estimated)
    svg = Markup(macros.hours(chart, told))  # type: ignore[attr-defined]  # noqa: S704 - escaped by its template
    return HourPicture(chart=chart, svg=svg)

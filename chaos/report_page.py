"""
A drill's report as one HTML page that needs nothing else to be read.

Rendered from the report's figures alone, so page and JSON cannot disagree.
"""

from datetime import datetime
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from chaos import charts
from chaos.history import History
from chaos.measures import EdgeSeries
from chaos.report import Report, encode_report

REPORT_HTML = "report.html"
REPORT_JSON = "report.json"
HISTORY_JSON = "history.json"
_NAMES = {"before": "Live", "outage": "Riding through", "after": "Catching up"}
_MARKS = {"before": "posted", "outage": "held", "after": "part"}


def stylesheet() -> str:
    """Return the shared look and what the operations' pages add to it."""
    look = files("failover").joinpath("look/style.css").read_text(encoding="utf-8")
    return look + files("chaos").joinpath("static/operations.css").read_text(encoding="utf-8")


def page_environment() -> Environment:
    """Return the templates of the operations' pages; every value is escaped, a missing one is an error."""
    return Environment(
        loader=PackageLoader("chaos"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def in_words(seconds: float | None) -> str:
    """Write a time span as a person says it."""
    if seconds is None:
        return "never"
    if seconds < 10:  # noqa: PLR2004 - below ten seconds the tenth matters
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def write_report(folder: Path, report: Report, history: History) -> Path:
    """Write page, figures and history into a folder; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT_JSON).write_bytes(encode_report(report))
    (folder / HISTORY_JSON).write_bytes(msgspec.json.encode(history))
    page = folder / REPORT_HTML
    page.write_text(render(report), encoding="utf-8")
    return page


def render(report: Report) -> str:
    """Render the page."""
    template = page_environment().get_template("report.html")
    return template.render(
        report=report,
        style=Markup(stylesheet()),  # noqa: S704 - our own files
        ride=_ride(report),
        facts=_facts(report),
        headline=_headline(report),
        saw=_saw(report),
        charts=_charts(report),
        in_words=in_words,
        clock=_clock(report),
    )


def _clock(report: Report) -> "Clock":
    return Clock(ZoneInfo(report.timezone))


class Clock:
    """Writes instants as the utility's customers read them."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone

    def time(self, at: datetime | None) -> str:
        """Write the time of day to the second."""
        if at is None:
            return "–"
        local = at.astimezone(self._zone)
        half = "a.m." if local.hour < 12 else "p.m."  # noqa: PLR2004 - noon
        return f"{local.hour % 12 or 12}:{local:%M:%S} {half}"

    def short(self, at: datetime) -> str:
        """Write the time of day for a chart."""
        local = at.astimezone(self._zone)
        return f"{local.hour % 12 or 12}:{local:%M:%S}"

    def day(self, at: datetime) -> str:
        """Write the day."""
        local = at.astimezone(self._zone)
        return f"{local:%A}, {local:%B} {local.day}, {local.year}"


def _moment(report: Report, name: str) -> datetime | None:
    return next((one.at for one in report.measures.moments if one.name == name), None)


def _headline(report: Report) -> str:
    outage = report.measures.outage_seconds
    if outage is None:
        return "The drill did not get to break anything."
    begin = f"{report.did} for {in_words(outage)}."
    broken = [finding for finding in report.findings if not finding.held]
    if not broken:
        return f"{begin} No customer lost a payment."
    return f"{begin} {broken[0].name}: not so."


def _facts(report: Report) -> list[tuple[str, str]]:
    edges = report.measures.edges
    without = report.fault.without_core
    degraded = [edge.degraded_after_fault for edge in edges if edge.edge in without]
    normal = [edge.normal_after_heal for edge in edges]
    slowest = (
        None
        if None in degraded
        else max((one for one in degraded if one is not None), default=None)
    )
    last = None if None in normal else max(one for one in normal if one is not None)
    held = sum(finding.held for finding in report.findings)
    return [
        ("Checks that held", f"{held} of {len(report.findings)}"),
        *([("Time to ride through", in_words(slowest))] if without else []),
        ("Time to drain", in_words(report.measures.drain_seconds)),
        ("Time to normal", in_words(last)),
        ("Edges", ", ".join(edge.edge for edge in edges)),
    ]


def _ride(report: Report) -> dict[str, str]:
    """Name what stands along the line at the top; its shape is a picture, the charts below are to scale."""
    clock = _clock(report)
    degraded = [m.at for m in report.measures.moments if m.name.endswith("rides through")]
    normal = [m.at for m in report.measures.moments if m.name.endswith("is normal")]
    outage = report.measures.phases[1]
    return {
        "broken": clock.time(_moment(report, report.fault.began)),
        "dip": clock.time(min(degraded, default=None)),
        "healed": clock.time(_moment(report, report.fault.healed)),
        "normal": clock.time(max(normal, default=None)),
        "length": in_words(report.measures.outage_seconds),
        "pages": f"{outage.pages:,} pages, {outage.failed} failed",
        "payments": f"{outage.accepted + outage.posted} payments taken",
    }


def _saw(report: Report) -> list[dict[str, object]]:
    columns: list[dict[str, object]] = []
    for phase in report.measures.phases:
        failed = f"{phase.failed} failed" if phase.failed else "none failed"
        lines = [
            f"{phase.pages:,} pages, {failed}.",
            f"95 of 100 came in under {phase.p95_ms:.0f} ms, all in {phase.slowest_ms:.0f} ms.",
        ]
        if phase.turned_away:
            lines.append(f"{phase.turned_away} more found an edge gone and turned to another.")
        if phase.phase == "outage":
            lines.append(
                f"The oldest page said so: {in_words(phase.oldest_age_seconds)} old. "
                f"{phase.untouched_accounts} accounts were read for the first time."
            )
        told = [
            f"{count} {word}"
            for count, word in (
                (phase.posted, "posted at once"),
                (phase.accepted, "accepted"),
                (phase.checking, "being checked"),
                (phase.refused, "not taken"),
            )
            if count
        ]
        if told:
            lines.append(f"Payments: {', '.join(told)}.")
        columns.append(
            {
                "name": _NAMES[phase.phase],
                "mark": _MARKS[phase.phase],
                "quote": report.samples.get(phase.phase, ""),
                "lines": lines,
            }
        )
    return columns


def _carried(edges: list[EdgeSeries], values: str) -> list[charts.Line]:
    return [charts.Line(edge.edge, charts.filled(getattr(edge, values))) for edge in edges]


def _charts(report: Report) -> dict[str, object]:
    measures, clock = report.measures, _clock(report)
    length = max(1.0, measures.duration_seconds)

    def x(at: datetime) -> float:
        return min(100.0, max(0.0, (at - report.started_at).total_seconds() / length * 100))

    marks = [charts.Mark(m.name, clock.short(m.at), x(m.at)) for m in measures.moments]
    broken, healed = (_moment(report, name) for name in (report.fault.began, report.fault.healed))
    outage = None
    if broken is not None:
        outage = (x(broken), x(healed) if healed is not None else 100.0)
    series = measures.series
    oldest = max((edge.oldest_age_seconds for edge in measures.edges), default=0)
    queue = max((edge.queue_max for edge in measures.edges), default=0)
    requests = sum(series.requests)
    p95 = [charts.Line("95 of 100 pages", series.p95_ms)]

    def drawn(svg: str) -> Markup:
        return Markup(svg)  # noqa: S704 - charts escape what they are given

    return {
        "modes": [
            (edge.edge, drawn(charts.mode_strip(edge.edge, edge.mode))) for edge in series.edges
        ],
        "axis": drawn(charts.time_axis(marks)),
        "requests": drawn(
            charts.bar_chart(
                series.requests,
                series.failed,
                label=f"{requests:,} pages asked for, {sum(series.failed)} failed.",
                marks=marks,
                outage=outage,
            )
        ),
        "latency": drawn(
            charts.line_chart(
                p95,
                label="How long 95 of 100 pages took at most, in milliseconds.",
                unit=" ms",
                marks=marks,
                outage=outage,
            )
        ),
        "age": drawn(
            charts.line_chart(
                _carried(series.edges, "age_seconds"),
                label=f"Age of the data at each edge, up to {in_words(oldest)}.",
                unit=" s",
                marks=marks,
                outage=outage,
            )
        ),
        "queue": drawn(
            charts.line_chart(
                _carried(series.edges, "queue"),
                label=f"Payments waiting at each edge, up to {queue}.",
                unit="",
                marks=marks,
                outage=outage,
            )
        ),
    }

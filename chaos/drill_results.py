"""What came of drills that were run one after the other, and the page that lists them."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from markupsafe import Markup

from chaos.report import Report
from chaos.report_page import in_words, page_environment, stylesheet

OVERVIEW_HTML = "overview.html"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a drill: its report and the page, or why it was not run; ``lacking`` is what this machine lacks."""

    drill: str
    report: Report | None = None
    page: Path | None = None
    not_run: str = ""
    lacking: bool = False


def sum_up(results: Sequence[Result]) -> str:
    """Count what passed, failed and was not run."""
    run = [result.report for result in results if result.report is not None]
    passed = sum(report.passed for report in run)
    return f"{passed} passed, {len(run) - passed} failed, {len(results) - len(run)} not run"


def write_overview(folder: Path, results: Sequence[Result]) -> Path:
    """Write the page that lists these drills into a folder, with links to their reports; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / OVERVIEW_HTML
    page.write_text(render_overview(folder, results), encoding="utf-8")
    return page


def render_overview(folder: Path, results: Sequence[Result]) -> str:
    """Render the page that is to lie in a folder."""
    reports = [result.report for result in results if result.report is not None]
    return (
        page_environment()
        .get_template("overview.html")
        .render(
            failed=not reports or any(not report.passed for report in reports),
            headline=f"{sum_up(results)}.",
            rows=[_row(folder, result) for result in results],
            style=Markup(stylesheet()),  # noqa: S704 - our own files
        )
    )


def _row(folder: Path, result: Result) -> dict[str, object]:
    report = result.report
    if report is None:
        return {"title": result.drill, "link": "", "not_run": result.not_run, "broken": []}
    outage, measures = report.measures.phases[1], report.measures
    normal = [edge.normal_after_heal for edge in measures.edges]
    last = None if None in normal else max((one for one in normal if one is not None), default=None)
    link = "" if result.page is None else Path(os.path.relpath(result.page, folder)).as_posix()
    return {
        "title": report.title,
        "link": link,
        "not_run": "",
        "passed": report.passed,
        "pages": f"{outage.pages:,}, {outage.failed} failed",
        "payments": f"{outage.posted} posted, {outage.accepted} accepted",
        "times": f"lasted {in_words(measures.outage_seconds)}, normal {in_words(last)} later",
        "broken": [finding.name for finding in report.findings if not finding.held],
    }

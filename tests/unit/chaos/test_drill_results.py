"""The page that lists several drills: what passed, what failed and why, and what was not run."""

from pathlib import Path

import msgspec
import pytest

from chaos.drill_results import OVERVIEW_HTML, Result, sum_up, write_overview
from chaos.drills.catalogue import CATALOGUE
from chaos.history import History
from chaos.report import make_report


@pytest.fixture
def results(history: History, tmp_path: Path) -> list[Result]:
    """Return one drill that passed, one that failed, and one that was not run."""
    good = make_report(
        history,
        CATALOGUE["core-blackout"],
        arguments=[],
        seed=1,
        hold_seconds=30,
        samples={},
        targets=[],
    )
    findings = [msgspec.structs.replace(good.findings[0], held=False), *good.findings[1:]]
    bad = msgspec.structs.replace(good, title="<Bad>", passed=False, findings=findings)
    page = tmp_path / "core-blackout-1" / "report.html"
    return [
        Result(drill="core-blackout", report=good, page=page),
        Result(drill="bad", report=bad, page=page),
        Result(drill="redis-killed", not_run="needs a Redis server", lacking=True),
    ]


def test_each_drill_has_its_line(results: list[Result], tmp_path: Path) -> None:
    """With a link beside the page, the rules that broke, and why one was not run; nothing becomes markup."""
    written = write_overview(tmp_path, results)
    assert written == tmp_path / OVERVIEW_HTML
    page = written.read_text(encoding="utf-8")
    assert "1 passed, 1 failed, 1 not run." in page
    assert page.count('href="core-blackout-1/report.html"') == 2
    assert "<li>No payment lost</li>" in page
    assert "needs a Redis server" in page
    assert "&lt;Bad&gt;" in page
    assert "<script" not in page


def test_nothing_run_is_no_success(results: list[Result], tmp_path: Path) -> None:
    """A run in which every drill lacked something has not passed."""
    assert sum_up(results[2:]) == "0 passed, 0 failed, 1 not run"
    page = write_overview(tmp_path, results[2:]).read_text(encoding="utf-8")
    assert "<b>Failed</b>" in page
    assert "<b>Passed</b>" in write_overview(tmp_path, results[:1]).read_text(encoding="utf-8")

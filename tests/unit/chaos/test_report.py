"""The report of a drill: figures from the history, one page that needs nothing else, hostile text harmless."""

import re
from pathlib import Path

import msgspec
import pytest

from chaos.history import History
from chaos.measures import measure
from chaos.report import Report, encode_report, make_report
from chaos.report_page import HISTORY_JSON, REPORT_JSON, in_words, render, write_report


@pytest.fixture
def report(history: History) -> Report:
    """Return the report of the good history."""
    return make_report(
        history,
        drill="core-blackout",
        arguments=["--seed", "7", "--data", "a folder"],
        seed=7,
        hold_seconds=30,
        samples={"outage": "Our main system is down. You can still read your bills and pay."},
    )


def test_figures_come_from_the_history(history: History) -> None:
    """Times, counts and the queue's height are those of the story."""
    measures = measure(history)
    assert measures.outage_seconds == 30
    assert measures.core_start_seconds == 2
    assert measures.drain_seconds == 4
    assert [edge.degraded_after_kill for edge in measures.edges] == pytest.approx(
        [1.01, 1.01], abs=0.2
    )
    assert [edge.normal_after_core_ready for edge in measures.edges] == [8, 8]
    assert [edge.queue_max for edge in measures.edges] == [1, 1]
    before, outage, after = measures.phases
    assert (before.posted, outage.accepted, after.attempts) == (1, 2, 0)
    assert before.pages + outage.pages + after.pages == len(history.reads)
    assert sum(measures.series.requests) == len(history.reads)
    assert measures.moments[0].name == "Traffic began"


def test_a_good_drill_passes(report: Report) -> None:
    """The page says so, with every invariant as held."""
    page = render(report)
    assert report.passed
    assert "No customer lost a payment." in page
    assert page.count(">Held<") == len(report.findings)
    assert ">Broken<" not in page


def test_a_broken_invariant_stands_on_the_page_with_its_evidence(history: History) -> None:
    """Whoever reads a failed report sees which rule broke and where."""
    ledger = history.ledgers_after["account-2"]
    twice = [*ledger.entries, ledger.entries[-1]]
    history.ledgers_after["account-2"] = msgspec.structs.replace(ledger, entries=twice)
    report = make_report(
        history, drill="core-blackout", arguments=[], seed=1, hold_seconds=30, samples={}
    )
    page = render(report)
    assert not report.passed
    assert ">Broken<" in page
    assert "intent-2: posted, posted 2 times" in page
    assert "No customer lost a payment." not in page


def test_the_page_needs_nothing_else(report: Report) -> None:
    """No script, and nothing is fetched: it can be mailed and read anywhere."""
    page = render(report)
    assert "<script" not in page
    assert "url(" not in page
    fetched = re.findall(r'(?:src|href)="([^"#][^"]*)"', page)
    assert [link for link in fetched if link != "data:,"] == []
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_text_from_outside_is_escaped(report: Report) -> None:
    """A page's sentence cannot become markup in the report."""
    hostile = msgspec.structs.replace(report, samples={"outage": "<script>alert(1)</script>"})
    assert "<script" not in render(hostile)


def test_the_command_repeats_the_drill(report: Report) -> None:
    """The command is quoted for a shell."""
    assert report.command == "./ridethrough drill run core-blackout --seed 7 --data 'a folder'"


def test_everything_is_written(history: History, report: Report, tmp_path: Path) -> None:
    """Page, figures and history lie side by side, and the figures read back."""
    page = write_report(tmp_path / "new" / "folder", report, history)
    assert page.read_text(encoding="utf-8") == render(report)
    assert msgspec.json.decode((page.parent / REPORT_JSON).read_bytes(), type=Report) == report
    assert msgspec.json.decode((page.parent / HISTORY_JSON).read_bytes(), type=History) == history
    assert encode_report(report).endswith(b"}\n")


def test_a_drill_that_broke_nothing_has_a_report_too(history: History) -> None:
    """A drill that ended before its fault is reported as failed, not as an error."""
    moments = history.milestones
    moments.killed_at = moments.killed_from = moments.restarting_at = moments.core_ready_at = None
    moments.normal_at = {}
    report = make_report(
        history, drill="core-blackout", arguments=[], seed=1, hold_seconds=30, samples={}
    )
    assert not report.passed
    assert "did not get to break anything" in render(report)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "never"), (0.04, "0.0 s"), (2.13, "2.1 s"), (30.4, "30 s"), (252.0, "4 min 12 s")],
)
def test_spans_are_written_as_people_say_them(seconds: float | None, words: str) -> None:
    """Tenths where they matter, minutes where they help."""
    assert in_words(seconds) == words

"""The report of a drill: figures from the history, one page that needs nothing else, hostile text harmless."""

import re
from pathlib import Path

import msgspec
import pytest

from chaos.drills.catalogue import CATALOGUE
from chaos.drills.drill import Target
from chaos.history import FaultFacts, History
from chaos.measures import measure
from chaos.report import Report, encode_report, make_report
from chaos.report_page import HISTORY_JSON, REPORT_JSON, in_words, render, write_report


@pytest.fixture
def report(history: History) -> Report:
    """Return the report of the good history."""
    drill = CATALOGUE["core-blackout"]
    return make_report(
        history,
        drill,
        arguments=["--seed", "7", "--data", "a folder"],
        seed=7,
        hold_seconds=30,
        samples={"outage": "Our main system is down. You can still read your bills and pay."},
        targets=[Target("core (process 7)", "kill -9")],
    )


def plain_report(history: History, aborted: str = "") -> Report:
    """Report a history without more."""
    return make_report(
        history,
        CATALOGUE["core-blackout"],
        arguments=[],
        seed=1,
        hold_seconds=30,
        samples={},
        targets=[],
        aborted=aborted,
    )


def test_figures_come_from_the_history(history: History) -> None:
    """Times, counts and the queue's height are those of the story."""
    measures = measure(history)
    assert measures.outage_seconds == 30
    assert measures.heal_seconds == 2
    assert measures.drain_seconds == 4
    assert [edge.degraded_after_fault for edge in measures.edges] == pytest.approx(
        [1.01, 1.01], abs=0.2
    )
    assert [edge.normal_after_heal for edge in measures.edges] == [8, 8]
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
    assert "We killed the core for 30 s." in page
    assert "core (process 7)" in page
    assert ">Broken<" not in page


def test_a_broken_invariant_stands_on_the_page_with_its_evidence(history: History) -> None:
    """Whoever reads a failed report sees which rule broke and where."""
    ledger = history.ledgers_after["account-2"]
    twice = [*ledger.entries, ledger.entries[-1]]
    history.ledgers_after["account-2"] = msgspec.structs.replace(ledger, entries=twice)
    report = plain_report(history)
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
    moments.broken_at = moments.broken_from = moments.healing_at = moments.healed_at = None
    moments.normal_at = {}
    report = plain_report(history)
    assert not report.passed
    assert "did not get to break anything" in render(report)


def test_a_drill_that_ended_early_has_failed(history: History) -> None:
    """However well everything held: it did more than it said, and the page says what."""
    report = plain_report(history, "edge-2 has not answered for 21 s")
    assert not report.passed
    assert report.findings[0].id == "not-aborted"
    assert "edge-2 has not answered for 21 s" in render(report)


def test_pages_at_an_edge_that_was_taken_away_are_told_apart(history: History) -> None:
    """They are no failed pages: the drill took the edge away, and customers turned to the other one."""
    history.fault = FaultFacts(away=["edge-1"], began="Edge killed", healed="Edge answers")
    history.reads = [
        msgspec.structs.replace(read, status=0) if history.out_of_reach(read) else read
        for read in history.reads
    ]
    outage = measure(history).phases[1]
    gone = sum(read.status == 0 for read in history.reads)
    assert outage.failed == 0
    assert outage.turned_away > 0
    page = render(plain_report(history))
    assert "found an edge gone and turned to another." in page
    assert "Edge killed" in page
    assert sum(measure(history).series.failed) == 0 < gone


def test_an_edge_that_nobody_reaches_leaves_a_gap(history: History) -> None:
    """Its mode is not drawn on as if it were known, and the picture's words say so."""
    history.samples = [
        msgspec.structs.replace(sample, mode="")
        if sample.edge == "edge-1" and history.phase(sample.at) == "outage"
        else sample
        for sample in history.samples
    ]
    page = render(plain_report(history))
    assert "edge-1: Live, then No answer, then " in page
    assert "edge-2: Live, then Riding through" in page


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "never"), (0.04, "0.0 s"), (2.13, "2.1 s"), (30.4, "30 s"), (252.0, "4 min 12 s")],
)
def test_spans_are_written_as_people_say_them(seconds: float | None, words: str) -> None:
    """Tenths where they matter, minutes where they help."""
    assert in_words(seconds) == words

"""A drill ends early when it breaks more than it said."""

from datetime import datetime, timedelta

import msgspec
import pytest

from chaos.drills.aborting import READS_MIN, SILENT_SECONDS, edges_silent, pages_fail
from chaos.history import FaultFacts, History

replace = msgspec.structs.replace


@pytest.fixture
def moment(history: History) -> datetime:
    """Return the middle of the outage of the good history, which is cut there."""
    broken = history.milestones.broken_at
    assert broken is not None
    middle = broken + timedelta(seconds=15)
    history.reads = [read for read in history.reads if read.received_at <= middle]
    history.samples = [sample for sample in history.samples if sample.at <= middle]
    history.milestones.healing_at = history.milestones.healed_at = None
    return middle


def fail_reads(history: History, edge: str, since: datetime) -> int:
    """Let every page of an edge since a moment fail; returns how many did."""
    failed = [read.edge == edge and read.sent_at >= since for read in history.reads]
    history.reads = [
        replace(read, status=503) if fails else read
        for read, fails in zip(history.reads, failed, strict=True)
    ]
    return sum(failed)


def test_a_good_drill_goes_on(history: History, moment: datetime) -> None:
    """Nothing is wrong."""
    assert pages_fail(history, moment) == ""
    assert edges_silent(history, moment) == ""


def test_it_ends_when_most_pages_fail(history: History, moment: datetime) -> None:
    """At one edge only it is half of them, at both it is more; a few are no reason."""
    since = moment - timedelta(seconds=8)
    assert fail_reads(history, "edge-1", since) > 0
    assert pages_fail(history, moment) == ""
    assert fail_reads(history, "edge-2", since) > 0
    assert "pages of the last 10 s failed" in pages_fail(history, moment)
    history.reads = history.reads[-(READS_MIN - 1) :]
    assert pages_fail(history, moment) == ""


def test_pages_of_an_edge_that_was_taken_away_do_not_count(
    history: History, moment: datetime
) -> None:
    """Its failing is the drill's own doing."""
    history.fault = FaultFacts(away=["edge-1", "edge-2"])
    fail_reads(history, "edge-1", moment - timedelta(seconds=8))
    fail_reads(history, "edge-2", moment - timedelta(seconds=8))
    assert pages_fail(history, moment) == ""


def test_it_ends_when_an_edge_is_silent(history: History, moment: datetime) -> None:
    """Unless the drill itself took it away."""
    later = moment + timedelta(seconds=SILENT_SECONDS + 1)
    assert "edge-1 has not answered" in edges_silent(history, later)
    history.fault = FaultFacts(away=["edge-1", "edge-2"])
    assert edges_silent(history, later) == ""

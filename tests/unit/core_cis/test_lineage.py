"""A core that was restored from a backup notices by what its edges have seen."""

from datetime import UTC, datetime

import pytest

from cache_sync.document_table import ShardHead
from cache_sync.frames import Position
from core_cis.lineage import Lineage
from failover.web import Problem

NOW = datetime(2026, 11, 24, tzinfo=UTC)
HEAD = ShardHead(epoch=2, head=100, floor=0)


def check(lineage: Lineage, shown: Position | None, head: ShardHead = HEAD) -> None:
    """Show a position."""
    lineage.check(shown, head, node_id="edge-1", now=NOW)


@pytest.mark.parametrize(
    "shown", [None, Position(2, "0", 0), Position(2, "0", 100), Position(1, "0", 5000)]
)
def test_what_it_gave_out_is_in_order(shown: Position | None) -> None:
    """Nothing shown, a position at or below the head, and whatever an older epoch reached."""
    lineage = Lineage()
    check(lineage, shown)
    assert lineage.forgotten(HEAD) is None


@pytest.mark.parametrize("shown", [Position(2, "0", 101), Position(3, "0", 1)])
def test_what_it_never_gave_out_stops_it(shown: Position) -> None:
    """Then nobody is served, also who shows nothing or has seen less, however far the head moves."""
    lineage = Lineage()
    with pytest.raises(Problem, match="restored"):
        check(lineage, shown)
    beyond = ShardHead(epoch=2, head=5000, floor=0)
    for later in (None, Position(2, "0", 7), shown):
        with pytest.raises(Problem, match="restored"):
            check(lineage, later, beyond)
    forgotten = lineage.forgotten(beyond)
    assert forgotten is not None
    assert (forgotten.node_id, forgotten.seq, forgotten.core_head) == ("edge-1", shown.seq, 100)


def test_a_higher_epoch_ends_it() -> None:
    """The operator said that a new history begins."""
    lineage = Lineage()
    with pytest.raises(Problem, match="restored"):
        check(lineage, Position(2, "0", 101))
    raised = ShardHead(epoch=3, head=80, floor=0)
    check(lineage, Position(2, "0", 101), raised)
    assert lineage.forgotten(raised) is None

"""A core that was restored from a backup notices by what its edges have seen."""

from datetime import UTC, datetime

import pytest

from cache_sync.document_table import ShardHead
from cache_sync.frames import Proof
from core_cis.lineage import Known, Lineage
from failover.web import Problem

NOW = datetime(2026, 11, 24, tzinfo=UTC)
CHAIN, OTHER, SEAL = b"c" * 16, b"o" * 16, b"s" * 16
HEAD = ShardHead(epoch=2, head=100, floor=0, live_hash=0, live_rows=0, chain=CHAIN, seal=b"")


def proof(epoch: int, seq: int, chain: bytes = CHAIN) -> Proof:
    """Make a barrier that a node shows."""
    return Proof(epoch, "0", seq, chain, SEAL)


def check(
    lineage: Lineage,
    shown: Proof | None,
    head: ShardHead = HEAD,
    chain: bytes | None = CHAIN,
    oldest: int = 0,
) -> None:
    """Show a barrier to a core that knows a chain hash there."""
    lineage.check(shown, Known(head, chain, oldest), node_id="edge-1", now=NOW)


@pytest.mark.parametrize("shown", [None, proof(2, 0), proof(2, 100), proof(1, 5000, OTHER)])
def test_what_it_gave_out_is_in_order(shown: Proof | None) -> None:
    """Nothing shown, a barrier with the chain that it has, and whatever an older epoch reached."""
    lineage = Lineage()
    check(lineage, shown)
    assert lineage.forgotten(HEAD) is None


@pytest.mark.parametrize("shown", [proof(2, 101), proof(3, 1)])
def test_what_it_never_gave_out_stops_it(shown: Proof) -> None:
    """Then nobody is served, also who shows nothing or has seen less, however far the head moves."""
    lineage = Lineage()
    with pytest.raises(Problem, match="restored"):
        check(lineage, shown)
    beyond = HEAD._replace(head=5000)
    for later in (None, proof(2, 7), shown):
        with pytest.raises(Problem, match="restored"):
            check(lineage, later, beyond)
    forgotten = lineage.forgotten(beyond)
    assert forgotten is not None
    assert (forgotten.node_id, forgotten.seq, forgotten.core_head) == ("edge-1", shown.seq, 100)


@pytest.mark.parametrize("here", [OTHER, None])
def test_a_core_that_has_outgrown_the_node_again_is_stopped(here: bytes | None) -> None:
    """At that seq another commit ended, or none: the node's history is not this one."""
    lineage = Lineage()
    with pytest.raises(Problem, match="restored"):
        check(lineage, proof(2, 60), chain=here)


def test_what_is_no_longer_known_proves_nothing() -> None:
    """Chain hashes of long ago are forgotten; a node from then is behind, not of another history."""
    lineage = Lineage()
    check(lineage, proof(2, 60), chain=None, oldest=80)
    assert lineage.forgotten(HEAD) is None


def test_a_higher_epoch_ends_it() -> None:
    """The operator said that a new history begins."""
    lineage = Lineage()
    with pytest.raises(Problem, match="restored"):
        check(lineage, proof(2, 101))
    raised = HEAD._replace(epoch=3, head=80)
    check(lineage, proof(2, 101), raised)
    assert lineage.forgotten(raised) is None


def test_what_was_compared_holds_until_the_database_changes() -> None:
    """The same barrier, or none, is not looked up again; after a commit it is, and once something is forgotten."""
    lineage, shown = Lineage(), proof(2, 100)
    lineage.note_agreed(str(shown), shown, 7)
    lineage.note_agreed("", None, 7)
    assert lineage.agrees(str(shown), 7)
    assert lineage.agrees("", 7)
    assert not lineage.agrees(str(shown), 8)
    assert not lineage.agrees(str(proof(2, 99)), 7)
    with pytest.raises(Problem, match="restored"):
        check(lineage, proof(2, 101))
    assert not lineage.agrees(str(shown), 7)


@pytest.mark.parametrize(("shown", "version"), [("x" * 5000, 7), ("", None)])
def test_what_is_no_proof_is_not_kept(shown: str, version: int | None) -> None:
    """It may be as long as a request may; and where no state can be named, nothing is known to be the same."""
    lineage = Lineage()
    lineage.note_agreed(shown, None, version)
    assert not lineage.agrees(shown, version)

"""A reader that finds the snapshot damaged tells the applier, and does not flood it."""

from pathlib import Path
from random import Random

import pytest

from cache_sync.errors import DamagedSnapshot
from cache_sync.replica_reader import ReplicaReader
from cache_sync.snapshot_folder import SnapshotFolder
from edge_portal.damage_report import TOLD_SECONDS, DamageReport
from edge_portal.held_snapshots import HeldSnapshots
from tests.unit.cache_sync.feed_world import FakeClock


def test_a_comparison_is_ordered_at_most_once_a_minute(tmp_path: Path) -> None:
    """Each order has a number of its own."""
    clock, order = FakeClock(), tmp_path / "order"
    report = DamageReport(order, clock)
    for _ in range(3):
        report.tell(DamagedSnapshot("a page"))
    assert order.read_text() == "1"
    clock.advance(TOLD_SECONDS)
    report.tell(DamagedSnapshot("a page"))
    assert order.read_text() == "2"


def test_a_folder_that_refuses_the_order_costs_the_reader_nothing(tmp_path: Path) -> None:
    """Who was reading has an answer to give."""
    DamageReport(tmp_path / "not there" / "order", FakeClock()).tell(DamagedSnapshot("a page"))


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Whoever asked is told too."""
    clock, told = FakeClock(), list[DamagedSnapshot]()
    folder = SnapshotFolder(tmp_path)
    path = folder.new_build(Random(1))
    path.write_bytes(b"SQLite format 3\0" + b"damaged" * 1000)
    folder.adopt(path, 1)
    held = HeldSnapshots({"0": ReplicaReader(tmp_path, clock=clock)}, 1, told.append)
    with pytest.raises(DamagedSnapshot), held.read():
        pass
    assert len(told) == 1

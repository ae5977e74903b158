"""When a core's next snapshot file is due."""

from datetime import UTC, datetime

import pytest

from cache_sync.document_table import ShardHead
from cache_sync.snapshot_file import SnapshotManifest
from core_cis.snapshot_schedule import is_due
from core_cis.snapshot_settings import SnapshotSettings

SETTINGS = SnapshotSettings(hours=6, moved_share=0.2, documents_min=1000)
NEWEST = SnapshotManifest(
    format=1,
    schema=3,
    shard="0",
    epoch=1,
    seq=5000,
    chain=b"",
    seal=b"",
    live_hash=0,
    live_rows=1000,
    rows=1000,
    floor=0,
    as_of=datetime(2026, 1, 1, tzinfo=UTC),
    versions={},
    name="",
    file_bytes=1,
    sha256="",
    chunk_bytes=1,
    chunks=[],
)
HOUR = 3600.0


@pytest.mark.parametrize(
    ("head", "live_rows", "newest", "age_hours", "due"),
    [
        (5000, 999, None, 0, False),
        (5000, 1000, None, 0, True),
        (5000, 1000, NEWEST, 100, False),
        (5001, 1000, NEWEST, 5.9, False),
        (5001, 1000, NEWEST, 6, True),
        (5200, 1000, NEWEST, 0, False),
        (5201, 1000, NEWEST, 0, True),
    ],
)
def test_a_file_is_due_when_it_would_be_of_use(
    head: int,
    live_rows: int,
    newest: SnapshotManifest | None,
    age_hours: float,
    due: bool,  # noqa: FBT001 - what is expected
) -> None:
    """Enough documents, and none yet, or much has changed, or anything has for hours."""
    shard = ShardHead(1, head, 0, live_rows=live_rows)
    assert is_due(shard, newest, age_hours * HOUR, SETTINGS) is due


def test_zero_hours_are_never() -> None:
    """An operator may build files by hand only."""
    shard = ShardHead(1, 5000, 0, live_rows=10**6)
    assert not is_due(shard, None, 0.0, SnapshotSettings(hours=0))

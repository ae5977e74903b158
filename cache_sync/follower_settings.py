"""What a follower reads, and its bounds."""

from collections.abc import Mapping

import msgspec

from cache_sync.documents import KNOWN_VERSIONS


class FollowerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a follower reads, and its bounds.

    A body of a later version than ``known_versions`` names for its kind stops applying.
    A page has ``page_rows_min`` to ``page_rows`` rows, so that a transaction takes ``transaction_seconds``.
    ``tail_pages_max`` pages may wait in memory for their barrier; a catch-up longer than that is built in a copy.
    One of ``file_gap_seqs`` or more looks for a snapshot file first. ``refusals_max`` frames in a row may be refused
    before the snapshot itself is doubted and built anew. Waits before that grow from ``rebuild_first_seconds`` to
    ``rebuild_cap_seconds``, until nothing has gone wrong for ``rebuild_steady_seconds``. What was committed is flushed
    to the disk every ``durable_seconds``. A deleted document leaves the write-ahead log within ``erase_seconds``, a
    snapshot that was replaced is removed after ``previous_seconds``. One in which an account was deleted is written
    anew, not more often than every ``rewrite_seconds``.
    """

    known_versions: Mapping[str, int] = KNOWN_VERSIONS
    page_rows: int = 5000
    page_rows_min: int = 500
    transaction_seconds: float = 0.25
    tail_pages_max: int = 4
    file_gap_seqs: int = 200_000
    wait_seconds: float = 0.5
    answer_seconds_max: float = 3.0
    heartbeat_seconds_min: float = 0.05
    retry_first_seconds: float = 0.1
    retry_cap_seconds: float = 2.0
    rebuild_first_seconds: float = 0.5
    rebuild_cap_seconds: float = 300.0
    rebuild_steady_seconds: float = 600.0
    durable_seconds: float = 2.0
    erase_seconds: float = 10.0
    previous_seconds: float = 60.0
    rewrite_seconds: float = 600.0
    refusals_max: int = 3
    status_seconds: float = 0.5

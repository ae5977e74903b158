"""The bounds of a follower."""

import msgspec


class FollowerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    Bounds of a follower.

    ``tail_pages_max`` pages may wait in memory for their barrier; a catch-up longer than that is built in a copy.
    One of ``file_gap_seqs`` or more looks for a snapshot file first. ``refusals_max`` frames in a row may be refused
    before the snapshot itself is doubted and built anew.
    """

    page_rows: int = 5000
    tail_pages_max: int = 4
    file_gap_seqs: int = 200_000
    wait_seconds: float = 0.5
    answer_seconds_max: float = 3.0
    heartbeat_seconds_min: float = 0.05
    retry_first_seconds: float = 0.1
    retry_cap_seconds: float = 2.0
    rebuild_first_seconds: float = 0.5
    rebuild_cap_seconds: float = 60.0
    refusals_max: int = 3
    status_seconds: float = 0.5

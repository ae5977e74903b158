"""When a core that serves has snapshot files built."""

import msgspec


class SnapshotSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    When the next file of a shard is due.

    ``hours`` after the last one when anything has changed, or as soon as changes of more than ``moved_share`` of its
    documents have come since; 0 hours: never. A shard with fewer than ``documents_min`` has no file: its feed is read
    as fast. A build that failed is tried again after ``retry_seconds``, each time after twice as long.
    """

    hours: float = 6.0
    moved_share: float = 0.2
    documents_min: int = 50_000
    check_seconds: float = 60.0
    retry_seconds: float = 300.0
    retry_seconds_max: float = 6 * 3600.0
    chunk_bytes: int = 0

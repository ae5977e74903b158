"""
What of this node's snapshots a power loss would leave: told to the core with every probe.

The core forgets deletes that all edges hold for good. It must hear that from each of them directly, whoever they have
their documents from.
"""

from collections.abc import Mapping
from itertools import cycle, islice
from pathlib import Path

from cache_sync.follower_status import read_status
from cache_sync.frames import POSITIONS_MAX, Position


class KeptPlaces:
    """
    Reads what the followers of all shards last wrote; where there are many, some of them with each call.

    Args:
        folders: The snapshot folders by shard.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._turns = cycle(folders.values())
        self._at_once = min(len(folders), POSITIONS_MAX)

    def __call__(self) -> list[Position]:
        """Tell the positions that are known; those of later shards with the next call."""
        statuses = [read_status(folder) for folder in islice(self._turns, self._at_once)]
        return [status.kept for status in statuses if status is not None and status.kept]


def all_places(folders: Mapping[str, Path]) -> list[Position]:
    """Read what the followers of all shards last wrote; of one that holds nothing yet a position of no epoch."""
    statuses = {shard: read_status(folder) for shard, folder in folders.items()}
    return [
        (status.kept if status is not None else None) or Position(0, shard, 0)
        for shard, status in statuses.items()
    ]

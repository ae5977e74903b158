"""The desk where a node hands out snapshot files: which one, to how many at once, and a way to have one made."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cache_sync.clock import Clock
from cache_sync.errors import NoPlace, SnapshotUnavailable, UnknownShard
from cache_sync.places import Places
from cache_sync.snapshot_file import SnapshotManifest, SnapshotOffer
from cache_sync.snapshot_file_shelf import SnapshotShelf

DOWNLOADS_MAX = 8
DOWNLOADS_OF_ONE_MAX = 4
BUSY_RETRY_SECONDS = 1.0

Accept = Callable[[SnapshotManifest], Awaitable[bool]]
Order = Callable[[str], float | None]


async def _any(_: SnapshotManifest) -> bool:
    return True


def _never(_: str) -> float | None:
    return None


class SnapshotDesk:
    """
    Hands out the files of some shelves.

    Args:
        shelves: By shard.
        clock: What ages are measured on.
        accept: Whether a file still belongs to the history that this node serves.
        order: Called where there is nothing to offer, with the shard: orders a file, and returns in how many seconds
            to ask again; None where none will be made.
        downloads: Places of those who are sent a part of a file.
    """

    def __init__(
        self,
        shelves: Mapping[str, SnapshotShelf],
        *,
        clock: Clock,
        accept: Accept = _any,
        order: Order = _never,
        downloads: Places | None = None,
    ) -> None:
        self._shelves = shelves
        self._clock = clock
        self._accept = accept
        self._order = order
        self._downloads = downloads or Places(of_all=DOWNLOADS_MAX, of_one=DOWNLOADS_OF_ONE_MAX)

    async def offer(self, shard: str) -> SnapshotOffer:
        """
        Offer a shard's furthest file.

        Raises:
            UnknownShard: This node does not hold it.
            SnapshotUnavailable: `none`, or `being_made` with when to ask again.
        """
        for found in self._shelf(shard).files():
            if await self._accept(found.manifest):
                return found.offer(self._clock)
        seconds = self._order(shard)
        if seconds is None:
            raise SnapshotUnavailable("none", "this node hands no snapshot file out")
        raise SnapshotUnavailable(
            "being_made", "a snapshot file is being made", retry_after_seconds=seconds
        )

    @contextmanager
    def download(self, shard: str, name: str, node_id: str) -> Iterator[Path]:
        """
        Have a node be one of those who are sent a part of a file, within the block.

        Raises:
            UnknownShard: This node does not hold it.
            SnapshotUnavailable: `gone`, or `busy` with when to ask again.
        """
        path = self._shelf(shard).find(name)
        if path is None:
            raise SnapshotUnavailable("gone", "there is no such snapshot file here")
        with ExitStack() as stack:
            try:
                stack.enter_context(self._downloads.take(node_id))
            except NoPlace as error:
                raise SnapshotUnavailable(
                    "busy",
                    "too many parts of snapshot files are under way",
                    retry_after_seconds=BUSY_RETRY_SECONDS,
                ) from error
            yield path

    def _shelf(self, shard: str) -> SnapshotShelf:
        try:
            return self._shelves[shard]
        except KeyError:
            raise UnknownShard(shard) from None

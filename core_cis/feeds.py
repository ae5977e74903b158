"""The feeds of all shards of a running core: each is opened when somebody first asks for it."""

from cache_sync.clock import Clock
from cache_sync.document_source import DocumentSource
from cache_sync.errors import UnknownShard
from cache_sync.feed import CoreTimeSource, FeedSource, PageReader
from cache_sync.frames import EncodedFrames
from cache_sync.offload import Offload, in_thread


class ShardFeeds:
    """
    Answers followers, whichever shard they follow. Call `close` at the end.

    Pages of all shards are read through one connection, so that many shards do not take many of a server's.

    Args:
        documents: What is read.
        shards: The shards that there are.
        time_source: Where T comes from; all shards share it.
        clock: Time.
        seal_key: What positions are sealed with.
        offload: Where pages are read.
    """

    def __init__(
        self,
        documents: DocumentSource,
        shards: list[str],
        *,
        time_source: CoreTimeSource,
        clock: Clock,
        seal_key: bytes,
        offload: Offload = in_thread,
    ) -> None:
        self.shards = shards
        self.encoded = EncodedFrames()
        self._documents = documents
        self._time_source = time_source
        self._clock = clock
        self._seal_key = seal_key
        self._pages = PageReader(documents, offload=offload)
        self._open: dict[str, FeedSource] = {}

    def of(self, shard: str) -> FeedSource:
        """
        Return a shard's feed.

        Raises:
            UnknownShard: There is no such shard.
            DatabaseError: The database does not answer.
        """
        if shard not in self.shards:
            raise UnknownShard(shard)
        if shard not in self._open:
            self._open[shard] = FeedSource(
                self._documents,
                shard,
                time_source=self._time_source,
                clock=self._clock,
                seal_key=self._seal_key,
                pages=self._pages,
            )
        return self._open[shard]

    def notify(self) -> None:
        """Say that this process has committed: those who wait for news are answered at once."""
        for feed in self._open.values():
            feed.notify()

    async def close(self) -> None:
        """Stop answering."""
        feeds, self._open = list(self._open.values()), {}
        for feed in feeds:
            await feed.close()
        await self._pages.close()

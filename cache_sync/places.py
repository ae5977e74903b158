"""A bounded number of places, of which no node may take more than its part."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from cache_sync.errors import NoPlace


class Places:
    """
    Places that nodes take while they are answered.

    One that never gives its places back has the others keep theirs.

    Args:
        of_all: How many there are.
        of_one: How many of them a node may have at once.
    """

    def __init__(self, *, of_all: int, of_one: int) -> None:
        self._of_all, self._of_one = of_all, of_one
        self._taken: Counter[str] = Counter()
        self._freed = asyncio.Event()

    def _is_free(self, node_id: str) -> bool:
        return self._taken.total() < self._of_all and self._taken[node_id] < self._of_one

    @contextmanager
    def take(self, node_id: str) -> Iterator[None]:
        """
        Have a place within the block.

        Raises:
            NoPlace: There is none for this node now.
        """
        if not self._is_free(node_id):
            raise NoPlace
        self._taken[node_id] += 1
        try:
            yield
        finally:
            self._taken[node_id] -= 1
            if not self._taken[node_id]:
                del self._taken[node_id]
            self._freed.set()
            self._freed = asyncio.Event()

    async def free(self, node_id: str) -> None:
        """Wait until a node can take one; without an await between, it is still there."""
        while not self._is_free(node_id):
            await self._freed.wait()

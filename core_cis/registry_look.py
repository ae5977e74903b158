"""
The registered edges as a running core looks them up, with every request that one of them makes.

A file is asked each time whether it has changed. A server would be asked too often, and might not answer: what it said
is kept for a moment.
"""

import asyncio
from pathlib import Path
from typing import Protocol

from cache_sync.clock import Clock
from cache_sync.sqlite import connect
from core_cis.database import Database
from core_cis.readers import Readers
from core_cis.registry import Credential, find_credential, read_credentials

# A revoked edge, and a shard that is no longer granted, are refused after this at the latest.
FRESH_SECONDS = 0.5
_ANSWER_SECONDS_MAX = 1.5


class RegistryLook(Protocol):
    """Knows the active edges."""

    async def look(self) -> None:
        """
        Make sure that what is known is fresh.

        Raises:
            DatabaseError: The database does not answer.
        """
        ...

    def find(self, node_id: str) -> Credential | None:
        """Tell what an active edge is known by; None for every other node."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class FileRegistry:
    """Asks a file for every node, each time after something in it has changed."""

    def __init__(self, path: Path, readers: Readers) -> None:
        self._connection = connect(path, synchronous="FULL", read_only=True)
        self._readers = readers
        self._version: int | None = None
        # Of registered edges only: names that nobody registered may be without number.
        self._known: dict[str, Credential] = {}

    async def look(self) -> None:
        """Nothing is kept that could be stale."""

    def find(self, node_id: str) -> Credential | None:
        """Tell what an active edge is known by; None for every other node."""
        version = self._readers.version()
        if version != self._version:
            self._known.clear()
            self._version = version
        found = self._known.get(node_id) or find_credential(self._connection, node_id)
        if found is not None:
            self._known[node_id] = found
        return found

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()


class ServerRegistry:
    """
    Looks at the registry when what it saw is older than `FRESH_SECONDS`.

    Args:
        readers: Where it asks.
        clock: What age is measured on.
    """

    def __init__(self, readers: Readers, clock: Clock) -> None:
        self._readers = readers
        self._clock = clock
        self._known: dict[str, Credential] = {}
        self._seen_boot_seconds: float | None = None
        self._turn = asyncio.Lock()

    async def look(self) -> None:
        """Look again when that is due; those who ask at the same time share one look."""
        if self._is_fresh():
            return
        async with self._turn:
            if self._is_fresh():
                return
            begun = self._clock.boot_seconds()
            self._known = await self._readers.ask(
                read_credentials, within_seconds=_ANSWER_SECONDS_MAX
            )
            self._seen_boot_seconds = begun

    def _is_fresh(self) -> bool:
        seen = self._seen_boot_seconds
        return seen is not None and self._clock.boot_seconds() - seen <= FRESH_SECONDS

    def find(self, node_id: str) -> Credential | None:
        """Tell what an active edge is known by, as it was last seen; None for every other node."""
        return self._known.get(node_id)

    def close(self) -> None:
        """Hold nothing."""


def open_registry(database: Database, readers: Readers, clock: Clock) -> RegistryLook:
    """Open the look at a core's registry."""
    if database.file is None:
        return ServerRegistry(readers, clock)
    return FileRegistry(database.file, readers)

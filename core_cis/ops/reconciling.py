"""Reconciliation beside a serving core: edges are asked at the same time, the books are read in a thread."""

import asyncio
from pathlib import Path

import msgspec

from cache_sync.clock import Clock
from cache_sync.offload import in_thread
from core_cis.books import read_books
from core_cis.database_choice import find_database
from core_cis.errors import EdgeUnreachable
from core_cis.keys import CoreKeys
from core_cis.ops.desk import OperationsDesk
from core_cis.peer_journals import PeerJournals
from core_cis.reconcile import reconcile
from core_cis.reconciliation import Books, Journal, Report
from core_cis.registry import Edge
from core_cis.report_signing import sign_report


class ReconciliationDesk:
    """
    Makes reports for the console, one at a time, and keeps the newest to be looked into.

    Args:
        data_dir: The core's folder.
        keys: The core's: they sign the report.
        clock: Time.
        journals: How edges are asked.
        operations: What else operators can see.
    """

    def __init__(
        self,
        data_dir: Path,
        keys: CoreKeys,
        clock: Clock,
        journals: PeerJournals,
        operations: OperationsDesk,
    ) -> None:
        self._data_dir = data_dir
        self._keys = keys
        self._clock = clock
        self._journals = journals
        self._operations = operations
        self._one_at_a_time = asyncio.Lock()
        self.latest: Report | None = None

    async def make(self) -> Report:
        """Ask every registered edge, then read the books, compare and sign."""
        async with self._one_at_a_time:
            edges, timezone = await self._operations.fleet()
            asked = await asyncio.gather(*(self._journal(edge) for edge in edges))
            silent = [edge.node_id for edge, found in zip(edges, asked, strict=True) if not found]
            found = [journal for journal in asked if journal is not None]

            def compare() -> Report:
                report = reconcile(found, self._books(), unreachable=silent, timezone=timezone)
                dated = msgspec.structs.replace(report, made_at=self._clock.now())
                return sign_report(dated, self._keys)

            self.latest = await in_thread(compare)
            return self.latest

    async def _journal(self, edge: Edge) -> Journal | None:
        try:
            return await self._journals.journal(edge.node_id, edge.peer_url)
        except EdgeUnreachable:
            return None

    def _books(self) -> Books:
        database = find_database(self._data_dir)
        try:
            connection = database.open_reader()
            try:
                return read_books(connection)
            finally:
                connection.close()
        finally:
            database.close()

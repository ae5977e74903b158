"""
Giving back what was charged and cannot be posted: a payment for a closed account, or one that lost its id to another.

The attempt is in the books before the processor is called, under a key of its own. An answer that is not certain is
resolved by asking for the charge's refunds; past the processor's memory of keys nothing is sent again.
"""

import asyncio
from datetime import datetime

import structlog

from cache_sync.clock import Clock
from cache_sync.sql import DatabaseError
from core_cis.charge_records import RefundRow, begin_refund, end_refund, open_refunds
from core_cis.errors import NotBegun, WriterFull
from core_cis.settings import ProcessorSettings
from core_cis.store import CoreStore
from core_cis.writer import Turn, Writer
from failover.processor import (
    Nothing,
    PaymentProcessor,
    Refunded,
    RefundRefused,
    Unknown,
    refund_key,
)

BATCH_MAX = 50
RECORD_SECONDS_MAX = 10.0
_log = structlog.get_logger(__name__)


class Refunding:
    """Works through the refunds that are due; one instance in a serving core."""

    def __init__(
        self,
        processor: PaymentProcessor,
        writer: Writer,
        settings: ProcessorSettings,
        clock: Clock,
    ) -> None:
        self._processor = processor
        self._writer = writer
        self._settings = settings
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Give back what is due until ``stop`` is set."""
        while not stop.is_set():
            try:
                await self.step()
            except (NotBegun, WriterFull, DatabaseError) as error:
                _log.warning("refunds have to wait for the books", why=type(error).__name__)
            await self._clock.sleep(self._settings.refund_seconds)

    async def step(self) -> int:
        """Try every open refund once; returns how many were ended."""
        ended = 0
        for refund in await self._open():
            answer = await self._give_back(refund)
            if answer is not None:
                await self._end(refund.charge_id, answer)
                ended += 1
        return ended

    async def _give_back(self, refund: RefundRow) -> Refunded | None:
        """Give one charge back, or find that it was; None to try again later."""
        seconds = self._settings.deadline_seconds
        if refund.state == "attempting":
            found = await self._processor.find_refund(refund.charge_id, deadline_seconds=seconds)
            if isinstance(found, Refunded):
                return found
            if isinstance(found, Unknown) or not self._is_remembered(refund.begun_at):
                await self._review_if_forgotten(refund, found)
                return None
        else:
            await self._begin(refund.charge_id)
        answer = await self._processor.refund(
            refund.charge_id,
            refund.amount_cents,
            key=refund_key(refund.intent_id),
            deadline_seconds=seconds,
        )
        if isinstance(answer, RefundRefused):
            _log.error("a refund is refused", alarm="refund_review", code=answer.code)
            await self._end(refund.charge_id, None)
            return None
        if isinstance(answer, Unknown):
            _log.warning("a refund is not answered yet", why=answer.why)
            return None
        return answer

    async def _review_if_forgotten(self, refund: RefundRow, found: Nothing | Unknown) -> None:
        if isinstance(found, Nothing):
            _log.error("a refund that nobody can tell of any more", alarm="refund_review")
            await self._end(refund.charge_id, None)

    def _is_remembered(self, begun_at: datetime | None) -> bool:
        """Tell whether the processor surely still knows the key of an attempt."""
        if begun_at is None:
            return True
        age_seconds = (self._clock.now() - begun_at).total_seconds()
        return age_seconds < self._settings.horizon_seconds / 2

    async def _open(self) -> list[RefundRow]:
        def read(store: CoreStore) -> list[RefundRow]:
            with store.reading() as connection:
                return open_refunds(connection, limit=BATCH_MAX)

        return await self._writer.run(read, turn=Turn.DRAIN, within_seconds=RECORD_SECONDS_MAX)

    async def _begin(self, charge_id: str) -> None:
        def write(store: CoreStore) -> None:
            store.run(lambda tx: begin_refund(tx, charge_id))

        await self._writer.run(write, turn=Turn.DRAIN, within_seconds=RECORD_SECONDS_MAX)

    async def _end(self, charge_id: str, answer: Refunded | None) -> None:
        def write(store: CoreStore) -> None:
            store.run(lambda tx: end_refund(tx, charge_id, answer or "review"))

        await self._writer.run(write, turn=Turn.DRAIN, within_seconds=RECORD_SECONDS_MAX)

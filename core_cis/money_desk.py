"""What a serving core does at the payment processor: charges before it decides, refunds after, and hears events."""

import asyncio

from cache_sync.clock import Clock
from core_cis.charge_records import hear_of_charge
from core_cis.charging import RECORD_SECONDS_MAX, Charging
from core_cis.refunding import Refunding
from core_cis.settings import ProcessorSettings
from core_cis.store import CoreStore
from core_cis.writer import Turn, Writer
from failover.intents import Intent
from failover.processor import FoundCharge
from failover.stripe_processor import StripeProcessor


class MoneyDesk:
    """
    The core's dealings with its payment processor, or with none.

    `open` it in a running event loop, and `close` it before the writer is stopped.
    """

    def __init__(self, settings: ProcessorSettings | None, writer: Writer, clock: Clock) -> None:
        self._settings = settings
        self._writer = writer
        self._clock = clock
        self._processor: StripeProcessor | None = None
        self._charging: Charging | None = None
        self._refunds: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    def open(self) -> None:
        """Make the way to the processor, and begin to give back what is due."""
        settings = self._settings
        if settings is None:
            self._charging = Charging(None, self._writer, self._clock)
            return
        self._processor = StripeProcessor(settings.url, settings.secret)
        self._charging = Charging(self._processor, self._writer, self._clock, settings)
        refunding = Refunding(self._processor, self._writer, settings, self._clock)
        self._refunds = asyncio.create_task(refunding.run(self._stop))

    async def close(self) -> None:
        """Finish what is under way; each call has its deadline."""
        self._stop.set()
        if self._refunds is not None:
            # An attempt that is cut here is in the books, and is asked about at the next start.
            self._refunds.cancel()
            await asyncio.gather(self._refunds, return_exceptions=True)
        if self._charging is not None:
            await self._charging.close()
        if self._processor is not None:
            await self._processor.close()

    async def settle(
        self, intents: list[Intent], *, turn: Turn, within_seconds: float
    ) -> list[Intent]:
        """See to the money of intents; see `Charging.settle`."""
        assert self._charging is not None, "the desk was opened"
        return await self._charging.settle(intents, turn=turn, within_seconds=within_seconds)

    async def hear(self, reference: str, found: FoundCharge) -> bool:
        """
        Take over what the processor tells unasked; returns whether it was waited for.

        Raises:
            NotBegun: The writer is busy: nothing was done.
            WriterFull: Likewise.
            DatabaseError: The database refused: nothing was done.
        """

        def write(store: CoreStore) -> bool:
            return store.run(lambda tx: hear_of_charge(tx, reference, found))

        return await self._writer.run(write, turn=Turn.LIVE, within_seconds=RECORD_SECONDS_MAX)

"""
Keeping a journal bounded: what a backup of the core covers is dropped, little by little, while the core is there.

The core tells with its probes which backup is the oldest that operators keep. What it decided up to that backup's mark
comes back with any of them, and need not be brought back by this node.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

import msgspec
import structlog

from cache_sync.clock import Clock
from cache_sync.frames import Position
from failover.covers import Cover, Following, read_cover
from failover.errors import JournalError
from failover.journal import Journal
from failover.journal_pruning import PruneOrder
from failover.peer_messages import Source
from failover.probe import CoreProbe
from failover.signed_orders import SignedOrder

_SOURCES: Final[tuple[Source, ...]] = ("own", "copies")
_log = structlog.get_logger(__name__)


class PruningSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a journal is pruned; times in seconds.

    ``pass_seconds`` lie between two passes through what is settled, ``pause`` between two changes of one, which look at
    ``batch_max`` entries each. What was decided within ``whole`` stays whole; an outcome that a sibling was not told of
    is kept for it for ``owed``; what is told of a pruned id is known for ``receipts_days``. A core that was silent for
    ``silence`` is not there.
    """

    pass_seconds: float = 10.0
    pause: float = 0.2
    batch_max: int = 64
    whole: float = 86_400.0
    owed: float = 7 * 86_400.0
    receipts_days: int = 90
    silence: float = 5.0


class Pruning:
    """
    Prunes one journal; one instance in its agent.

    Args:
        journal: Whose.
        probe: Tells what the core says.
        shown: Tells how far this node's snapshots are, as a power loss would leave them.
        core_key: What the core signs covers with, public, base64.
        clock: Time.
        settings: How.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        probe: CoreProbe,
        shown: Callable[[], Iterable[Position]],
        core_key: str,
        clock: Clock,
        settings: PruningSettings | None = None,
    ) -> None:
        self._journal = journal
        self._probe = probe
        self._shown = shown
        self._core_key = core_key
        self._clock = clock
        self._settings = settings or PruningSettings()
        self._cover: Cover | None = None
        self._noted: SignedOrder | None = None

    def following(self) -> Following:
        """Tell the core which cover is known here, and by which something was dropped."""
        held = self._cover.mark if self._cover is not None else ""
        try:
            return Following(held, self._journal.reader.pruned_by())
        except JournalError:
            return Following(held)

    def note(self, signed: SignedOrder) -> None:
        """Take over the cover that the core tells; what it has not signed changes nothing."""
        if signed == self._noted:
            return
        self._noted = signed
        cover = read_cover(signed, self._core_key)
        if cover is None:
            _log.error("a cover that the core did not sign", alarm="forged_cover")
            return
        self._cover = cover

    async def run(self, stop: asyncio.Event) -> None:
        """Prune until ``stop`` is set."""
        while not stop.is_set():
            try:
                dropped = await self.prune(stop)
                if dropped:
                    _log.info("the journal was pruned", count=dropped)
            except JournalError as error:
                _log.warning("pruning has to wait for the journal", why=str(error))
            await self._clock.sleep(self._settings.pass_seconds)

    async def prune(self, stop: asyncio.Event) -> int:
        """
        Go once through what is settled, and drop what may be dropped; returns how many entries that were.

        Raises:
            JournalError: The journal takes no changes; what was dropped before stays so.
        """
        dropped = 0
        for source in _SOURCES:
            after: tuple[int, int] | None = (0, 0)
            while after is not None and (order := self._order(stop)) is not None:
                pruned = await self._journal.prune(
                    source, order, after=after, limit=self._settings.batch_max
                )
                dropped, after = dropped + pruned.dropped, pruned.after
                await self._clock.sleep(self._settings.pause)
        return dropped + await self._prune_void(stop)

    async def _prune_void(self, stop: asyncio.Event) -> int:
        dropped = 0
        after: tuple[int, int] | None = (0, 0)
        while after is not None and (order := self._order(stop)) is not None:
            pruned = await self._journal.prune_void(
                order, after=after[1], limit=self._settings.batch_max
            )
            dropped, after = dropped + pruned.dropped, pruned.after
            await self._clock.sleep(self._settings.pause)
        await self._journal.forget_receipts(
            pruned_before=self._clock.now() - timedelta(days=self._settings.receipts_days),
            limit=self._settings.batch_max,
        )
        return dropped

    def _order(self, stop: asyncio.Event) -> PruneOrder | None:
        """Say what may be dropped now; None where nothing may: while the core is away nobody is sure of its backups."""
        cover, told, silence = self._cover, self._probe.latest, self._probe.silence_seconds()
        if cover is None or told is None or stop.is_set():
            return None
        heard = silence is not None and silence <= self._settings.silence
        if (
            not heard
            or told.edges_awaited
            or (told.epoch, told.covered) != (cover.epoch, cover.mark)
        ):
            return None
        now = told.as_of
        return PruneOrder(
            cover=cover,
            shown={
                place.shard: place.seq if place.epoch == cover.epoch else -1
                for place in self._shown()
            },
            decided_before=now - timedelta(seconds=self._settings.whole),
            owed_before=now - timedelta(seconds=self._settings.owed),
            now=now,
        )

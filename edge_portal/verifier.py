"""
Compares this node's snapshot with the node above it, every so often and on demand, and keeps the newest reports.

It runs beside the follower in the applier, the only writer of the snapshot, so that what differs can be repaired. An
operator orders a pass with `edge verify --repair`: a small file, found within a second.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import msgspec
import structlog

from cache_sync.clock import Clock
from cache_sync.errors import FeedUnavailable, SyncError
from cache_sync.verification import (
    DigestSource,
    Held,
    Repairer,
    Verification,
    VerificationReport,
    VerificationSettings,
)

LOOK_SECONDS: Final = 1.0
FIRST_SHARE: Final = 0.1
JITTER: Final = 0.1
RETRY_SECONDS: Final = 300.0

log = structlog.get_logger(__name__)


class VerifiedShard(NamedTuple):
    """One shard to compare: how its state is read, its rows are put right, and who is told that it cannot be read."""

    held: Held
    repair: Repairer | None
    damaged: Callable[[], None] | None = None


class Verifications(msgspec.Struct, frozen=True, kw_only=True):
    """
    The newest report of each shard, and what all passes of this node have found so far.

    ``order`` is the number of the operator's order that these reports answer.
    """

    reports: dict[str, VerificationReport] = {}
    passes: int = 0
    divergent_rows: int = 0
    repaired_rows: int = 0
    order: int = 0


def read_verifications(path: Path) -> Verifications:
    """Read what was found so far; nothing where nothing can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Verifications)
    except (OSError, msgspec.DecodeError):
        return Verifications()


def order_verification(path: Path) -> int:
    """
    Order a pass with repair from the running applier; return the order's number.

    Raises:
        OSError: It could not be written.
    """
    number = _read_order(path) + 1
    _replace(path, str(number).encode())
    return number


async def verify_shard(
    shard: str,
    verified: VerifiedShard,
    sources: Sequence[DigestSource],
    *,
    clock: Clock,
    settings: VerificationSettings | None = None,
) -> VerificationReport:
    """Run one pass against the first node above that answers; there must be one to ask."""
    for number, source in enumerate(sources, 1):
        report = await Verification(
            shard,
            held=verified.held,
            source=source,
            clock=clock,
            repair=verified.repair,
            settings=settings,
        ).run()
        if report.compared_ranges or not report.stopped or number == len(sources):
            return report
    raise FeedUnavailable("there is no node above to compare with")


class Verifier:
    """
    Runs passes until told to stop.

    Args:
        shards: What to compare.
        sources: The nodes above, the preferred first; asked anew for each pass.
        clock: Time.
        rng: Spreads the passes of a fleet.
        reports_path: Where the reports are kept.
        order_path: Where an operator's order appears.
        every_seconds: Between passes.
        settings: What a pass may cost.
    """

    def __init__(
        self,
        shards: Mapping[str, VerifiedShard],
        sources: Callable[[], Sequence[DigestSource]],
        *,
        clock: Clock,
        rng: Random,
        reports_path: Path,
        order_path: Path,
        every_seconds: float,
        settings: VerificationSettings | None = None,
    ) -> None:
        self._shards = shards
        self._sources = sources
        self._clock = clock
        self._rng = rng
        self._reports_path = reports_path
        self._order_path = order_path
        self._every_seconds = every_seconds
        self._settings = settings
        self._kept = read_verifications(reports_path)
        self._next = clock.boot_seconds() + every_seconds * rng.uniform(0, FIRST_SHARE)

    async def run(self, stop: asyncio.Event) -> None:
        """Look for orders each second; compare when it is time."""
        while not stop.is_set():
            order = _read_order(self._order_path)
            if order != self._kept.order or self._clock.boot_seconds() >= self._next:
                await self._pass(order, stop)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await stop.wait()

    async def _pass(self, order: int, stop: asyncio.Event) -> None:
        comparing = asyncio.ensure_future(self._compare(order))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({comparing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not comparing.done():
            comparing.cancel()
        await asyncio.gather(comparing, stopping, return_exceptions=True)
        if comparing.cancelled():
            return
        finished = comparing.exception() is None and comparing.result()
        if comparing.exception() is not None:
            # A snapshot that is being replaced, a disk that refuses: the follower deals with them.
            log.warning("comparing failed", error=str(comparing.exception()))
        pause = self._every_seconds if finished else min(RETRY_SECONDS, self._every_seconds)
        self._next = self._clock.boot_seconds() + pause * self._rng.uniform(1 - JITTER, 1 + JITTER)

    async def _compare(self, order: int) -> bool:
        finished = True
        for shard, verified in self._shards.items():
            try:
                report = await verify_shard(
                    shard,
                    verified,
                    self._sources(),
                    clock=self._clock,
                    settings=self._settings,
                )
            except SyncError as error:
                log.info("no pass over a shard", shard=shard, why=str(error))
                finished = False
                continue
            if report.damaged and verified.damaged is not None:
                verified.damaged()
            finished = finished and not report.stopped
            self._keep(report)
        self._kept = msgspec.structs.replace(self._kept, order=order)
        self._write()
        return finished

    def _keep(self, report: VerificationReport) -> None:
        kept = self._kept
        self._kept = msgspec.structs.replace(
            kept,
            reports={**kept.reports, report.shard: report},
            passes=kept.passes + 1,
            divergent_rows=kept.divergent_rows + report.divergent_rows,
            repaired_rows=kept.repaired_rows + report.repaired_rows,
        )
        self._write()

    def _write(self) -> None:
        try:
            _replace(self._reports_path, msgspec.json.encode(self._kept))
        except OSError as error:
            log.warning("cannot write the report down", error=error.strerror)


def _read_order(path: Path) -> int:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return 0
    return int(text) if text.isdigit() else 0


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.chmod(0o600)
        beside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()

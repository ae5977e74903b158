"""
Anti-entropy: a node compares what it holds with the node above it, range by range, and names what differs.

A pass walks over all accounts in wide ranges at a bounded pace. Where a digest differs it asks again for single
accounts, and then for the rows: the digest tree of `cache_sync.digests`. What differs is repaired from above when the
node above is to be believed, counted and told; the snapshot serves all the while.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

import msgspec

from cache_sync.clock import Clock
from cache_sync.digests import (
    DigestAnswer,
    DigestQuestion,
    Range,
    StoredRow,
    digest_rows,
    hash_of,
    ranges_of,
)
from cache_sync.documents import Document
from cache_sync.errors import (
    DamagedSnapshot,
    EpochChanged,
    FeedUnavailable,
    NotComparable,
    SyncError,
)
from cache_sync.publication import Name
from cache_sync.repairs import Repair

log = logging.getLogger(__name__)

Difference = Literal["damaged", "missing", "extra", "different"]


class VerificationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a pass may cost.

    A question covers ``ranges`` ranges of ``range_accounts`` accounts; ``rows_a_second`` bounds the pace.
    ``named_max`` differences are named, all are counted. A range that cannot be compared is tried ``attempts`` times.
    """

    ranges: int = 16
    range_accounts: int = 16
    rows_a_second: float = 20_000.0
    named_max: int = 1000
    attempts: int = 5
    attempt_seconds: float = 0.5


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """
    One document that is not what the node above holds.

    `damaged`: its bytes changed where they lie; `missing`: only above; `extra`: only here; `different`: both whole and
    not the same. Seqs are 0 where there is no row.
    """

    account_id: str
    kind: str
    key: str
    difference: Difference
    seq: int
    seq_above: int


class VerificationReport(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one pass over a shard found.

    ``compared_rows`` live rows were hashed in ``compared_ranges`` ranges; ``skipped_ranges`` could not be compared.
    ``divergent_rows`` differed, of which ``divergences`` names the first and ``repaired_rows`` were put right.
    ``damaged_above`` counts damaged rows at the node above: nothing was repaired from them. ``stopped`` says why a pass
    did not come to its end; ``damaged`` that it was because a file of this node cannot be read.
    """

    shard: str
    upstream: str
    began_at: datetime
    ended_at: datetime
    epoch: int
    cursor: int
    compared_rows: int
    compared_ranges: int
    skipped_ranges: int
    divergent_rows: int
    repaired_rows: int
    damaged_above: int
    damaged: bool = False
    divergent_ranges: list[tuple[str, str | None]] = []
    divergences: list[Divergence] = []
    stopped: str = ""

    @property
    def clean(self) -> bool:
        """Whether everything was compared and nothing differed."""
        return not (
            self.stopped or self.divergent_rows or self.skipped_ranges or self.damaged_above
        )


class DigestSource(Protocol):
    """The node above, asked for digests."""

    @property
    def name(self) -> str:
        """Its node id."""
        ...

    @property
    def authoritative(self) -> bool:
        """Whether it is the core: what it holds is right by definition."""
        ...

    async def digests(self, shard: str, question: DigestQuestion) -> DigestAnswer:
        """
        Answer a question.

        Raises:
            EpochChanged: It is in another epoch.
            NotComparable: The two stand too far apart now.
            FeedUnavailable: No answer, or none that is one.
        """
        ...


class HeldView(Protocol):
    """One unchanging state of what a node holds."""

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and cursor of this state."""
        ...

    def accounts(self, lower: str, limit: int) -> list[str]:
        """Name the accounts from one on, in ascending order."""
        ...

    def stored_rows(self, part: Range) -> list[StoredRow]:
        """Read the live rows of a range."""
        ...


Held = Callable[[], AbstractContextManager[HeldView]]
Repairer = Callable[[int, Sequence[Repair]], int]


class _Local(NamedTuple):
    epoch: int
    cursor: int
    ranges: list[Range]
    rows: list[list[StoredRow]]


class Verification:
    """
    One pass over one shard.

    Args:
        shard: The shard.
        held: Opens an unchanging state of what this node holds.
        source: The node above.
        clock: Time.
        repair: Puts rows right, given the epoch they were compared in; returns how many it did. None: only look.
        settings: Bounds.
    """

    def __init__(
        self,
        shard: str,
        *,
        held: Held,
        source: DigestSource,
        clock: Clock,
        repair: Repairer | None = None,
        settings: VerificationSettings | None = None,
    ) -> None:
        self._shard = shard
        self._held = held
        self._source = source
        self._clock = clock
        self._repair = repair
        self._settings = settings or VerificationSettings()
        self._place = (0, 0)
        self._rows = 0
        self._ranges = 0
        self._skipped = 0
        self._divergent = 0
        self._repaired = 0
        self._damaged_above = 0
        self._named: list[Divergence] = []
        self._divergent_ranges: list[tuple[str, str | None]] = []

    async def run(self) -> VerificationReport:
        """Compare everything once. What prevents it is in the report."""
        began_at = self._clock.now()
        stopped, damaged = "", False
        try:
            await self._walk()
        except EpochChanged as error:
            stopped = str(error)
        except FeedUnavailable as error:
            stopped = f"{self._source.name} does not answer: {error}"
        except SyncError as error:
            stopped, damaged = str(error), isinstance(error, DamagedSnapshot)
        report = VerificationReport(
            shard=self._shard,
            upstream=self._source.name,
            began_at=began_at,
            ended_at=self._clock.now(),
            epoch=self._place[0],
            cursor=self._place[1],
            compared_rows=self._rows,
            compared_ranges=self._ranges,
            skipped_ranges=self._skipped,
            divergent_rows=self._divergent,
            repaired_rows=self._repaired,
            damaged_above=self._damaged_above,
            divergent_ranges=self._divergent_ranges,
            divergences=self._named,
            stopped=stopped,
            damaged=damaged,
        )
        _tell(report)
        return report

    async def _walk(self) -> None:
        lower: str | None = ""
        while lower is not None:
            begun, rows_before = self._clock.boot_seconds(), self._rows
            bounds, upper = self._next_bounds(lower)
            await self._compare(bounds, upper)
            lower = upper
            spent = self._clock.boot_seconds() - begun
            owed = (self._rows - rows_before) / self._settings.rows_a_second
            if owed > spent:
                await self._clock.sleep(owed - spent)

    def _next_bounds(self, lower: str) -> tuple[list[str], str | None]:
        width = self._settings.range_accounts
        wanted = self._settings.ranges * width
        with self._held() as view:
            accounts = view.accounts(lower, wanted + 1)
        upper = accounts[wanted] if len(accounts) > wanted else None
        inner = [account for account in accounts[:wanted:width] if account > lower]
        return [lower, *inner], upper

    async def _compare(self, bounds: list[str], upper: str | None) -> None:
        """Compare ranges that end at `upper`; go down where they differ."""
        compared = await self._ask(bounds, upper, "digests")
        if compared is None:
            self._skipped += len(bounds)
            return
        local, answer = compared
        moved = frozenset(answer.moved)
        for part, rows, above in zip(local.ranges, local.rows, answer.digests, strict=True):
            self._ranges += 1
            self._rows += len(rows)
            here = digest_rows(rows, moved)
            self._damaged_above += above.damaged
            if (here.rows, here.total, here.damaged) != (above.rows, above.total, 0):
                await self._go_down(part)

    async def _go_down(self, part: Range) -> None:
        with self._held() as view:
            accounts = [
                account
                for account in view.accounts(part.lower, self._settings.range_accounts + 1)
                if part.holds(account) and account > part.lower
            ]
        if not accounts:
            await self._compare_rows(part)
            return
        bounds = [part.lower, *accounts]
        compared = await self._ask(bounds, part.upper, "digests")
        if compared is None:
            self._skipped += 1
            return
        local, answer = compared
        moved = frozenset(answer.moved)
        for single, rows, above in zip(local.ranges, local.rows, answer.digests, strict=True):
            here = digest_rows(rows, moved)
            if (here.rows, here.total, here.damaged) != (above.rows, above.total, 0):
                await self._compare_rows(single)

    async def _compare_rows(self, part: Range) -> None:
        compared = await self._ask([part.lower], part.upper, "rows")
        if compared is None or not compared[1].whole:
            self._skipped += 1
            return
        local, answer = compared
        moved = frozenset(answer.moved)
        here = {row.name: row for row in local.rows[0] if row.name not in moved}
        above = {Name(row.account_id, row.kind, row.key): row for row in answer.rows}
        # What is damaged above was counted with the digests and says nothing about the row here.
        names = {*here, *above}.difference(answer.damaged)
        found = {
            name: divergence
            for name in sorted(names)
            if (divergence := _divergence(name, here.get(name), above.get(name))) is not None
        }
        if not found:
            return
        self._divergent += len(found)
        self._divergent_ranges.append((part.lower, part.upper))
        room = max(0, self._settings.named_max - len(self._named))
        self._named += list(found.values())[:room]
        if self._repair is not None:
            repairs = [
                Repair(name=name, seq=divergence.seq, replacement=above.get(name))
                for name, divergence in found.items()
                if self._believed(here.get(name), above.get(name))
            ]
            self._repaired += self._repair(local.epoch, repairs) if repairs else 0

    def _believed(self, here: StoredRow | None, above: Document | None) -> bool:
        """Whether a row from above may replace the one here: the core's always, a sibling's when it is proven."""
        if self._source.authoritative:
            return True
        if here is None or above is None:
            return False
        # The hash that this row was stored with was part of the sum that the core vouched for at a barrier.
        return (
            here.damaged and above.seq == here.document.seq and hash_of(above) == here.stored_hash
        )

    async def _ask(
        self, bounds: list[str], upper: str | None, wanted: Literal["digests", "rows"]
    ) -> tuple[_Local, DigestAnswer] | None:
        """Read a state here and ask above about the same barrier; None when they stay too far apart."""
        asked = bounds if upper is None else [*bounds, upper]
        for _ in range(self._settings.attempts):
            local = self._read(bounds, upper)
            question = DigestQuestion(
                epoch=local.epoch,
                at=local.cursor,
                bounds=asked,
                closed=upper is not None,
                wanted=wanted,
            )
            try:
                answer = await self._source.digests(self._shard, question)
            except NotComparable as error:
                log.info("cannot compare a range: %s", error)
                await self._clock.sleep(self._settings.attempt_seconds)
                continue
            if wanted == "digests" and len(answer.digests) != len(local.ranges):
                raise FeedUnavailable("the answer has another number of ranges")
            return local, answer
        return None

    def _read(self, bounds: list[str], upper: str | None) -> _Local:
        ranges = ranges_of(bounds if upper is None else [*bounds, upper], closed=upper is not None)
        with self._held() as view:
            epoch, cursor = view.place
            rows = [view.stored_rows(part) for part in ranges]
        self._place = (epoch, cursor)
        return _Local(epoch, cursor, ranges, rows)


def _divergence(name: Name, here: StoredRow | None, above: Document | None) -> Divergence | None:
    difference: Difference
    if here is None:
        difference = "missing"
    elif here.damaged:
        difference = "damaged"
    elif above is None:
        difference = "extra"
    elif hash_of(above) == here.hashed:
        return None
    else:
        difference = "different"
    return Divergence(
        account_id=name.account_id,
        kind=name.kind,
        key=name.key,
        difference=difference,
        seq=here.document.seq if here is not None else 0,
        seq_above=above.seq if above is not None else 0,
    )


def _tell(report: VerificationReport) -> None:
    if report.clean:
        log.info("shard %s equals %s: %d rows", report.shard, report.upstream, report.compared_rows)
        return
    # Ranges and counts only: which account a row belongs to is nobody's business in a log.
    log.error(
        "shard %s differs from %s: %d rows differ, %d repaired, %d damaged above, %d ranges not compared%s",
        report.shard,
        report.upstream,
        report.divergent_rows,
        report.repaired_rows,
        report.damaged_above,
        report.skipped_ranges,
        f"; stopped: {report.stopped}" if report.stopped else "",
    )

"""Archive reads are tried only when they may help, and never for long."""

import asyncio
import random

import pytest

from cache_sync.documents import StatementBody
from edge_portal.archive import DEADLINE_SECONDS, READS_MAX, ArchiveReader
from edge_portal.errors import ArchiveUnavailable, NotFound
from failover.errors import Ambiguous, NodeRefused
from tests.unit.edge_portal.edge_world import ARCHIVED, MINE, OTHERS, HandClock, statement


class Core:
    """Answers with what it is told to, or never."""

    def __init__(self, answer: StatementBody | Exception | None) -> None:
        self.answer = answer
        self.asked = 0
        self.hangs = False

    async def statement(
        self, account_id: str, statement_id: str, *, deadline_seconds: float
    ) -> StatementBody | None:
        """Answer."""
        self.asked += 1
        assert deadline_seconds <= DEADLINE_SECONDS
        if self.hangs:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def reader(core: Core, clock: HandClock, *, closed: bool = False) -> ArchiveReader:
    """Build an archive reader."""
    return ArchiveReader(core, closed=lambda: closed, clock=clock, rng=random.Random(1))


async def test_a_statement_is_read_through() -> None:
    """As the core has it."""
    found = statement(MINE, ARCHIVED)
    assert await reader(Core(found), HandClock()).statement(MINE, ARCHIVED) is found


async def test_while_the_agent_knows_that_the_core_is_away_nobody_asks() -> None:
    """The answer comes at once."""
    core = Core(statement(MINE, ARCHIVED))
    with pytest.raises(ArchiveUnavailable):
        await reader(core, HandClock(), closed=True).statement(MINE, ARCHIVED)
    assert core.asked == 0


async def test_a_core_that_hangs_is_given_up() -> None:
    """Within the deadline, whatever the client below does."""
    core = Core(None)
    core.hangs = True
    with pytest.raises(ArchiveUnavailable):
        await reader(core, HandClock()).statement(MINE, ARCHIVED)


async def test_failures_open_the_breaker_and_reads_try_it_again() -> None:
    """Open it asks nobody; after a while one read tries, and a good answer closes it."""
    clock, core = HandClock(), Core(Ambiguous("reset"))
    archive = reader(core, clock)
    for _ in range(10):
        with pytest.raises(ArchiveUnavailable):
            await archive.statement(MINE, ARCHIVED)
    asked = core.asked
    assert asked < 10
    core.answer = statement(MINE, ARCHIVED)
    with pytest.raises(ArchiveUnavailable):
        await archive.statement(MINE, ARCHIVED)
    assert core.asked == asked
    clock.seconds += 60
    for _ in range(5):
        assert (await archive.statement(MINE, ARCHIVED)).statement_id == ARCHIVED


async def test_what_the_core_does_not_know_or_says_of_others_is_not_found() -> None:
    """A statement of another account is never passed on."""
    for answer in (None, statement(OTHERS, ARCHIVED)):
        with pytest.raises(NotFound):
            await reader(Core(answer), HandClock()).statement(MINE, ARCHIVED)


async def test_a_refusal_is_no_outage_and_no_answer() -> None:
    """The core is alive; the breaker stays closed."""
    core = Core(NodeRefused(401))
    archive = reader(core, HandClock())
    for _ in range(10):
        with pytest.raises(ArchiveUnavailable):
            await archive.statement(MINE, ARCHIVED)
    assert core.asked == 10


async def test_only_so_many_read_at_once() -> None:
    """The others are told at once; a slow archive must not hold everything up."""
    core = Core(None)
    core.hangs = True
    archive = reader(core, HandClock())
    reads = [asyncio.create_task(archive.statement(MINE, ARCHIVED)) for _ in range(READS_MAX * 2)]
    await asyncio.gather(*reads, return_exceptions=True)
    assert core.asked == READS_MAX

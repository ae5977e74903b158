"""What edges say that they read: one alarm for each that cannot, none for one whose word is still on its way."""

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from core_cis.edge_reads import EdgeReads
from core_cis.errors import NotBegun
from tests.unit.cache_sync.feed_world import FakeClock


class Core:
    """A core's database as far as it goes: what was written is known to who asks after that."""

    def __init__(self) -> None:
        self.unread: dict[str, set[str]] = {"usage": {"east", "west"}}
        self.meanwhile: Callable[[], None] = lambda: None
        self.busy = False

    async def write(self, work: Callable[[Any], Any]) -> Any:
        """Take east's word down, whatever the work is."""
        if self.busy:
            raise NotBegun
        self.unread = {"usage": {"west"}}

    async def ask(self, question: Callable[[Any], Any]) -> Any:
        """Answer from before what happens while it is asked."""
        found = self.unread
        self.meanwhile()
        return found


@pytest.fixture
def core() -> Core:
    """Yield a core that neither of two edges has told what it reads."""
    return Core()


@pytest.fixture
def reads(core: Core) -> EdgeReads:
    """Yield what is under test."""
    return EdgeReads(core.write, core.ask, clock=FakeClock())


async def alarms(reads: EdgeReads) -> list[str]:
    """Look once, and return the edges that an alarm was raised for."""
    with capture_logs() as logs:
        await reads.step()
    return [entry["edge"] for entry in logs if entry.get("alarm") == "unread_version"]


async def test_a_word_that_comes_during_a_look_is_no_alarm(core: Core, reads: EdgeReads) -> None:
    """What was asked before does not hold it; the next look does."""
    core.meanwhile = lambda: reads.note("east", {"usage": 2})
    assert await alarms(reads) == []
    assert await alarms(reads) == []
    assert reads.unread == {"usage": {"west"}}


async def test_one_that_was_heard_and_cannot_read_is_one_alarm(
    core: Core, reads: EdgeReads
) -> None:
    """At the first look only; one that was not heard yet is counted, without an alarm."""
    reads.note("west", {"usage": 1})
    assert await alarms(reads) == ["west"]
    assert await alarms(reads) == []


async def test_a_word_that_could_not_be_written_is_written_at_the_next_look(
    core: Core, reads: EdgeReads
) -> None:
    """Nothing is forgotten when others have the writer."""
    reads.note("east", {"usage": 2})
    core.busy = True
    with pytest.raises(NotBegun):
        await reads.step()
    core.busy = False
    assert await alarms(reads) == []
    assert core.unread == {"usage": {"west"}}

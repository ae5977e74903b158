"""The writer's thread: turns, deadlines, bounds, and errors that come back to who asked."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core_cis.errors import NotBegun, WriterFull
from core_cis.store import CoreStore
from core_cis.writer import ThreadWriter, Turn


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.boot = 0.0

    def now(self) -> datetime:
        """Tell a time."""
        return datetime(2026, 3, 10, tzinfo=UTC)

    def boot_seconds(self) -> float:
        """Tell the set seconds."""
        return self.boot

    def boot_id(self) -> str:
        """Tell a boot."""
        return "boot"

    async def sleep(self, seconds: float) -> None:
        """Do not wait."""
        raise AssertionError(seconds)


class Rig:
    """A writer whose thread can be held up."""

    def __init__(self, writer: ThreadWriter, clock: SetClock) -> None:
        self.writer = writer
        self.clock = clock
        self.free = threading.Event()
        self.order: list[str] = []

    async def hold(self) -> "asyncio.Task[None]":
        """Keep the thread busy until `free` is set."""
        begun = threading.Event()

        def wait(_: CoreStore) -> None:
            begun.set()
            self.free.wait(30)

        task = asyncio.create_task(self.writer.run(wait, turn=Turn.TIME, within_seconds=30))
        await asyncio.to_thread(begun.wait, 30)
        return task

    def note(self, name: str, turn: Turn, within_seconds: float = 30) -> "asyncio.Task[None]":
        """Queue a job that leaves its name."""

        def work(_: CoreStore) -> None:
            self.order.append(name)

        return asyncio.create_task(self.writer.run(work, turn=turn, within_seconds=within_seconds))


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Return a running writer with room for three."""
    clock = SetClock()
    writer = ThreadWriter(lambda: CoreStore.open(tmp_path, clock), clock, waiting_max=3)
    await writer.start()
    made = Rig(writer, clock)
    yield made
    made.free.set()
    await writer.stop()


async def test_turns_come_before_arrival(rig: Rig) -> None:
    """Core time goes before waiting customers, and these before drains; within a turn, first come first served."""
    holding = await rig.hold()
    jobs = [
        rig.note("drain", Turn.DRAIN),
        rig.note("live 1", Turn.LIVE),
        rig.note("live 2", Turn.LIVE),
    ]
    await asyncio.sleep(0)
    jobs.append(rig.note("time", Turn.TIME))
    await asyncio.sleep(0)
    rig.free.set()
    await asyncio.gather(holding, *jobs)
    assert rig.order == ["time", "live 1", "live 2", "drain"]


async def test_full_queue_refuses_at_once(rig: Rig) -> None:
    """The fourth that would wait is refused; core time is not, because every label hangs on it."""
    holding = await rig.hold()
    jobs = [rig.note(str(number), Turn.LIVE) for number in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(WriterFull):
        await rig.note("one too many", Turn.LIVE)
    jobs.append(rig.note("time", Turn.TIME))
    await asyncio.sleep(0)
    rig.free.set()
    await asyncio.gather(holding, *jobs)
    assert "one too many" not in rig.order


async def test_late_turn_is_not_begun(rig: Rig) -> None:
    """A job whose deadline passed while it waited is not done, and says so."""
    holding = await rig.hold()
    late = rig.note("late", Turn.LIVE, within_seconds=1)
    patient = rig.note("patient", Turn.LIVE, within_seconds=10)
    await asyncio.sleep(0)
    rig.clock.boot += 2
    rig.free.set()
    await holding
    with pytest.raises(NotBegun):
        await late
    await patient
    assert rig.order == ["patient"]


async def test_a_caller_whose_turn_does_not_come_is_told_in_time(rig: Rig) -> None:
    """However long others go first: it hears of it at its deadline, and the job is surely never begun."""
    holding = await rig.hold()
    with pytest.raises(NotBegun):
        await rig.note("late", Turn.DRAIN, within_seconds=0.05)
    assert not holding.done()
    rig.free.set()
    await holding
    await rig.note("next", Turn.LIVE)
    assert rig.order == ["next"]


async def test_a_job_that_was_begun_is_finished_after_its_time(rig: Rig) -> None:
    """Its time was to begin in: what it did is told, however late."""
    begun = threading.Event()

    def work(_: CoreStore) -> str:
        begun.set()
        rig.free.wait(30)
        return "done"

    job = asyncio.create_task(rig.writer.run(work, turn=Turn.LIVE, within_seconds=0.05))
    await asyncio.sleep(0)
    # The loop stands still meanwhile, so that the time is not over before the thread gets to it.
    assert begun.wait(30)
    await asyncio.sleep(0.1)
    assert not job.done()
    rig.free.set()
    assert await job == "done"


async def test_drains_leave_room_for_customers(tmp_path: Path) -> None:
    """They fill half of the room; whoever waits for an answer still finds some."""
    clock = SetClock()
    writer = ThreadWriter(lambda: CoreStore.open(tmp_path, clock), clock, waiting_max=4)
    await writer.start()
    rig = Rig(writer, clock)
    holding = await rig.hold()
    jobs = [rig.note(f"drain {number}", Turn.DRAIN) for number in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(WriterFull):
        await rig.note("one drain too many", Turn.DRAIN)
    jobs += [rig.note(f"live {number}", Turn.LIVE) for number in range(2)]
    await asyncio.sleep(0)
    rig.free.set()
    await asyncio.gather(holding, *jobs)
    await writer.stop()
    assert rig.order == ["live 0", "live 1", "drain 0", "drain 1"]


async def test_job_of_a_caller_who_left_is_not_begun(rig: Rig) -> None:
    """Cancelled while it waits, a job does nothing."""
    holding = await rig.hold()
    left = rig.note("left", Turn.LIVE)
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    stayed = rig.note("stayed", Turn.LIVE)
    await asyncio.sleep(0)
    rig.free.set()
    await asyncio.gather(holding, stayed)
    assert rig.order == ["stayed"]


async def test_errors_come_back_and_the_writer_goes_on(rig: Rig) -> None:
    """What a job raises, its caller gets; the next job runs."""

    def fail(_: CoreStore) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await rig.writer.run(fail, turn=Turn.LIVE, within_seconds=30)
    await rig.note("next", Turn.LIVE)
    assert rig.order == ["next"]


async def test_stop_finishes_what_waits(tmp_path: Path) -> None:
    """Jobs that were queued before the end are done."""
    clock = SetClock()
    writer = ThreadWriter(lambda: CoreStore.open(tmp_path, clock), clock)
    await writer.start()
    rig = Rig(writer, clock)
    jobs = [rig.note(str(number), Turn.DRAIN) for number in range(5)]
    await asyncio.sleep(0)
    await writer.stop()
    await asyncio.gather(*jobs)
    assert rig.order == ["0", "1", "2", "3", "4"]


async def test_start_says_why_it_cannot(tmp_path: Path) -> None:
    """A store that does not open fails the start, not the first job."""
    (tmp_path / "core.db").mkdir()
    clock = SetClock()
    writer = ThreadWriter(lambda: CoreStore.open(tmp_path, clock), clock)
    with pytest.raises(Exception, match="unable to open"):
        await writer.start()
    await writer.stop()

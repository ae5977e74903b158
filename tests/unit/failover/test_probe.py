"""Asking the core: what it feeds, and how silence is told."""

import asyncio
import random
from pathlib import Path

from chaos.simulation.virtual_time import START
from failover.breaker import AsyncBreaker
from failover.errors import NodeRefused, NotSent
from failover.probe import CoreProbe, ProbeAnswer
from tests.unit.failover.virtual import VirtualClock, run_virtually
from tests.unit.failover.world import World, live


class Prober:
    """Answers as it is told to."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hangs = False
        self.asked = 0

    async def probe(self, *, deadline_seconds: float) -> ProbeAnswer:
        """See `CoreProber`."""
        assert deadline_seconds > 0
        self.asked += 1
        if self.hangs:
            await asyncio.sleep(3600)
        if self.error is not None:
            raise self.error
        return ProbeAnswer(epoch=3, head=7, as_of=START)


def test_silence_is_unknown_until_the_first_answer_and_then_counts() -> None:
    """Never answered is not the same as answered long ago; a refusal is no answer either."""

    async def main() -> None:
        clock, prober = VirtualClock(), Prober()
        breaker = AsyncBreaker(clock=clock, rng=random.Random(1))
        probe = CoreProbe(prober, breaker=breaker, clock=clock, rng=random.Random(1))
        heard: list[float] = []
        begun = clock.boot_seconds()
        probe.on_answer(lambda: heard.append(clock.boot_seconds() - begun))
        prober.error = NodeRefused(401, "not_a_known_node")
        assert (await probe.ask(), probe.expelled) == (False, True)
        assert probe.silence_seconds() is None
        prober.error = NotSent("connection refused")
        # Silence takes nothing back.
        assert (await probe.ask(), probe.expelled) == (False, True)
        prober.error = None
        assert (await probe.ask(), probe.expelled) == (True, False)
        assert probe.latest == ProbeAnswer(epoch=3, head=7, as_of=START)
        await asyncio.sleep(1.5)
        assert probe.silence_seconds() == 1.5
        assert heard == [0.0]

    run_virtually(0, main)


def test_a_hanging_core_is_given_up_at_the_deadline_and_opens_the_breaker() -> None:
    """A frozen core costs each probe its deadline; within seconds of it the breaker is open."""

    async def main() -> None:
        clock, prober, stop = VirtualClock(), Prober(), asyncio.Event()
        breaker = AsyncBreaker(clock=clock, rng=random.Random(1))
        probe = CoreProbe(prober, breaker=breaker, clock=clock, rng=random.Random(1))
        asking = asyncio.create_task(probe.run(stop))
        await asyncio.sleep(30)
        assert prober.asked > 55
        prober.hangs = True
        await asyncio.sleep(3.5)
        assert not breaker.admits()
        prober.hangs = False
        await asyncio.sleep(4)
        assert breaker.admits()
        stop.set()
        await asyncio.sleep(1)
        assert asking.done()

    run_virtually(0, main)


def test_an_open_breaker_is_asked_about_by_probes_alone(tmp_path: Path) -> None:
    """Payments while it is open never reach the core, also when it is back already."""

    async def story(world: World) -> None:
        east = world["east"]
        world.core.up = False
        await asyncio.sleep(6)
        assert east.breaker.state == "open"
        world.core.up = True
        await east.submission.pay(world.wish("k1"))
        assert world.core.batches == []

    live(tmp_path, story)


def test_other_calls_are_evidence_too() -> None:
    """Whoever got an answer reports it."""

    async def main() -> None:
        clock, prober = VirtualClock(), Prober()
        prober.error = NotSent("refused")
        breaker = AsyncBreaker(clock=clock, rng=random.Random(1))
        probe = CoreProbe(prober, breaker=breaker, clock=clock, rng=random.Random(1))
        probe.answered()
        await asyncio.sleep(1)
        assert not await probe.ask()
        assert probe.silence_seconds() == 1.0

    run_virtually(0, main)

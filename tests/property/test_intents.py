"""
Whatever is dropped, doubled, delayed, cut off or killed, and in whatever order: each id is posted at most once, nothing
accepted is lost, and once the faults are healed every queue empties.
"""

import asyncio
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failover.errors import KeyReused, NotTaken, OutcomeUnknown, OverLimit
from failover.intents import CORE_FINAL, Receipt
from failover.wishes import PaymentWish
from tests.unit.failover.virtual import run_virtually
from tests.unit.failover.wires import FakeCore
from tests.unit.failover.world import Node, World

PAYMENTS = 25
FAULTS = ("up", "lossy", "lossy", "cut", "refused")
HEALING_SECONDS = 400.0


class History:
    """What customers were told, in the order in which they were told."""

    def __init__(self) -> None:
        self.told: dict[tuple[str, str], list[str]] = {}
        self.lost_disks = False

    def add(self, receipt: Receipt) -> None:
        """Note an answer."""
        self.told.setdefault((receipt.intent_id, receipt.fingerprint), []).append(receipt.state)


async def customer(world: World, rng: random.Random, history: History, number: int) -> None:
    """Pay once, repeating with the same key at any edge until there is a receipt; sometimes change one's mind."""
    await asyncio.sleep(rng.uniform(0, 60))
    wish = world.wish(f"key-{number % 20}", rng.choice([1000, 2000]), account_id=f"A-{number % 4}")
    for _ in range(rng.randrange(1, 4)):
        node = world[rng.choice(list(world.nodes))]
        if await try_once(node, wish, history):
            return
        await asyncio.sleep(rng.uniform(0, 5))


async def try_once(node: Node, wish: PaymentWish, history: History) -> bool:
    """Tell whether this attempt ended the matter for the customer."""
    if node.holder is None:
        return False
    try:
        receipt = await node.submission.pay(wish)
    except (NotTaken, OutcomeUnknown, OverLimit):
        return False
    except KeyReused:
        return True
    except asyncio.CancelledError:
        # The agent was killed under the request; the customer saw an error page.
        return False
    history.add(receipt)
    return receipt.state in CORE_FINAL


async def chaos(world: World, rng: random.Random, history: History, *, lose_disks: bool) -> None:
    """Break wires, the core and agents at random."""
    while True:
        await asyncio.sleep(rng.expovariate(0.5))
        node = world[rng.choice(list(world.nodes))]
        match rng.randrange(5):
            case 0:
                world.core.up = rng.random() < 0.5
            case 1:
                node.core_wire.state = rng.choice(FAULTS)
            case 2:
                rng.choice(list(node.peer_wires.values())).state = rng.choice(FAULTS)
            case 3 if node.holder is not None:
                lose = lose_disks and not history.lost_disks and rng.random() < 0.3
                # One disk only: two copies survive one loss.
                history.lost_disks = history.lost_disks or lose
                await node.crash(lose_disk=lose)
            case _ if node.holder is None:
                node.start()


def heal(world: World) -> None:
    """Undo every fault."""
    world.core.up = True
    for node in world.nodes.values():
        node.core_wire.state = "up"
        for wire in node.peer_wires.values():
            wire.state = "up"
        if node.holder is None:
            node.start()


async def live_through(folder: Path, seed: int, *, lose_disks: bool, core: type[FakeCore]) -> None:
    """Live one history and check it."""
    with World(folder, seed, ("east", "north", "west")).running() as world:
        world.core = core(world.clock)
        for node in world.nodes.values():
            await node.crash()
            node.start()
        rng, history = world.rng, History()
        breaking = asyncio.create_task(chaos(world, rng, history, lose_disks=lose_disks))
        customers = [customer(world, rng, history, number) for number in range(PAYMENTS)]
        await asyncio.gather(*customers)
        breaking.cancel()
        await asyncio.gather(breaking, return_exceptions=True)
        heal(world)
        healed = world.clock.boot_seconds()
        while queued(world) and world.clock.boot_seconds() - healed < HEALING_SECONDS:
            await world.clock.sleep(5)
        # Late deliveries are still on their way, and must change nothing.
        await asyncio.sleep(30)
        check(world, history)


def queued(world: World) -> int:
    """Count what any node still waits for."""
    queues = [node.journal.reader.queue(None) for node in world.nodes.values()]
    return sum(queue.pending + queue.copies_held for queue in queues)


def check(world: World, history: History) -> None:
    """Check what must hold once everything is healed."""
    assert queued(world) == 0, "a queue did not empty"
    ledger = world.core.ledger
    assert len(ledger) == len(set(ledger)), "an id was posted twice"
    outcomes = world.core.outcomes
    for pair, states in history.told.items():
        promised = {"accepted", *CORE_FINAL}.intersection(states)
        if promised or not history.lost_disks:
            assert pair in outcomes, f"{states} was told and the core never heard of it"
        finals = [state for state in states if state in CORE_FINAL]
        assert all(state == outcomes[pair].state for state in finals), "a final state changed"
    for node in world.nodes.values():
        page = node.journal.reader.page("own", after=0)
        assert page.holes == []
        for item in page.items:
            pair = (item.intent.intent_id, item.intent.fingerprint)
            assert item.state != "settled" or item.outcome == outcomes[pair]


def live_history(seed: int, *, lose_disks: bool, core: type[FakeCore] = FakeCore) -> None:
    """Live one history in a folder of its own."""
    with TemporaryDirectory() as folder:
        run_virtually(
            seed, lambda: live_through(Path(folder), seed, lose_disks=lose_disks, core=core)
        )


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_each_id_is_posted_once_and_nothing_accepted_is_lost(seed: int) -> None:
    """Any interleaving of drops, duplicates, delays and killed agents; disks survive."""
    live_history(seed, lose_disks=False)


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_nothing_accepted_is_lost_with_one_lost_disk(seed: int) -> None:
    """The same with one edge's disk destroyed on the way: only what was never accepted may be gone."""
    live_history(seed, lose_disks=True)


class ForgetfulCore(FakeCore):
    """A core that forgets every other id it has posted: what the check must find."""

    async def take(self, batch):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, D102
        answer = await super().take(batch)
        for outcome in answer.outcomes[::2]:
            self.outcomes.pop((outcome.intent_id, outcome.fingerprint), None)
        return answer


def live_histories(core: type[FakeCore]) -> None:
    """Live ten histories."""
    for seed in range(10):
        live_history(seed, lose_disks=False, core=core)


def test_the_check_finds_a_core_that_posts_twice() -> None:
    """A planted violation is found within a few seeds, or the property proves nothing."""
    with pytest.raises(AssertionError, match="posted twice"):
        live_histories(ForgetfulCore)

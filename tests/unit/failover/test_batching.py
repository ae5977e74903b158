"""Sending together without lingering, and bounded."""

import asyncio
from collections.abc import Sequence

import pytest

from failover.batching import Batcher
from failover.errors import Ambiguous, NotSent
from tests.unit.failover.virtual import run_virtually


class Far:
    """A far end that takes a tenth of a second and doubles numbers."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.fails = False
        self.at_once = self.most_at_once = 0

    async def send(self, numbers: Sequence[int]) -> list[int]:
        """Handle a batch."""
        self.batches.append(list(numbers))
        fails = self.fails
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.1)
        self.at_once -= 1
        if fails:
            raise Ambiguous("reset")
        return [number * 2 for number in numbers]


def test_the_first_leaves_alone_and_the_rest_gathers_meanwhile() -> None:
    """Nobody waits for company; everybody gets their own result."""

    async def main() -> None:
        far = Far()
        batcher = Batcher(far.send, batch_max=10, in_flight_max=1)
        results = await asyncio.gather(*(batcher.submit(number) for number in range(25)))
        assert sorted(results) == [number * 2 for number in range(25)]
        assert [len(batch) for batch in far.batches] == [1, 10, 10, 4]

    run_virtually(0, main)


def test_requests_in_flight_and_waiting_items_are_bounded() -> None:
    """Beyond the bound nothing leaves, and that is said."""

    async def main() -> None:
        far = Far()
        batcher = Batcher(far.send, batch_max=1, in_flight_max=2, waiting_max=3)
        results = await asyncio.gather(
            *(batcher.submit(number) for number in range(10)), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, NotSent)]
        assert len(refused) == 5
        assert far.most_at_once == 2

    run_virtually(0, main)


def test_a_failure_belongs_to_its_batch_alone() -> None:
    """The next batch is sent all the same, also when those who waited are gone."""

    async def main() -> None:
        far = Far()
        far.fails = True
        batcher = Batcher(far.send, in_flight_max=1)
        gone = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0.05)
        gone.cancel()
        waiting = asyncio.create_task(batcher.submit(2))
        await asyncio.sleep(0.1)
        far.fails = False
        with pytest.raises(Ambiguous):
            await waiting
        assert await batcher.submit(3) == 6
        await batcher.close()

    run_virtually(0, main)

"""Counts that are written down together are those that would have been written one by one."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from edge_portal.request_counts import ManyAtOnce, RequestCounts

BUCKETS = (0.001, 0.01, 0.1)
SECONDS = st.one_of(st.sampled_from((0.0, *BUCKETS, 5.0)), st.floats(0, 1))


def samples(registry: CollectorRegistry) -> dict[str, float]:
    """Read all samples but the times of their making."""
    lines = generate_latest(registry).decode().splitlines()
    found = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in found if "_created" not in name}


@given(st.lists(SECONDS, max_size=50))
def test_many_observations_are_each_of_them(amounts: list[float]) -> None:
    """In the same buckets, bounds included, with the same count; the sum but for rounding."""
    one_by_one, together = CollectorRegistry(), CollectorRegistry()
    plain = Histogram("s", "s", registry=one_by_one, buckets=BUCKETS)
    for amount in amounts:
        plain.observe(amount)
    ManyAtOnce("s", "s", registry=together, buckets=BUCKETS).observe_all(amounts)
    expected, found = samples(one_by_one), samples(together)
    assert abs(expected.pop("s_sum") - found.pop("s_sum")) < 1e-9
    assert found == expected


class World:
    """Counts in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.counts = RequestCounts(
            Counter("r", "r", ["route", "status"], registry=self.registry),
            ManyAtOnce("s", "s", registry=self.registry, buckets=BUCKETS),
        )

    def told(self, name: str) -> float:
        """Tell a sample; 0 where there is none."""
        return samples(self.registry).get(name, 0.0)


async def test_a_turn_s_requests_are_written_down_when_it_ends() -> None:
    """By route and status, with how long they took; the next turn's on top."""
    world = World()
    for turn in (1, 2):
        for _ in range(3):
            world.counts.answered("/bills/{id}", 200)
            world.counts.took(0.005)
        world.counts.answered("/bills/{id}", 404)
        await asyncio.sleep(0)
        assert world.told('r_total{route="/bills/{id}",status="200"}') == 3 * turn
        assert world.told('r_total{route="/bills/{id}",status="404"}') == turn
        assert world.told("s_count") == 3 * turn


async def test_they_can_be_asked_for_within_the_turn() -> None:
    """Whoever reads them writes them down first, and nothing is counted twice."""
    world = World()
    world.counts.answered("/", 200)
    world.counts.took(0.5)
    for _ in range(2):
        world.counts.write_down()
        assert world.told('r_total{route="/",status="200"}') == 1
        assert world.told("s_count") == 1
        await asyncio.sleep(0)

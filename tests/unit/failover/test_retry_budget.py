"""The budget of retries: a tenth of what is asked, a floor, nothing more."""

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from failover.retry_budget import RetryBudget, RetryBudgetSettings, RetryCounts
from tests.unit.failover.virtual import ManualClock
from tests.unit.failover.world import World, live

SETTINGS = RetryBudgetSettings(share=0.1, floor_per_second=2.0, saved_max=20.0)


def test_ten_calls_pay_for_one_retry() -> None:
    """Once what was saved up is spent, and no time passes."""
    budget = RetryBudget(ManualClock(), SETTINGS)
    assert [budget.take() for _ in range(21)] == [True] * 20 + [False]
    for _ in range(100):
        budget.tried()
    assert sum(budget.take() for _ in range(100)) == 10
    assert budget.counts == RetryCounts(first=100, retries=30, refused=91)


def test_a_floor_is_left_to_a_node_that_asks_nothing() -> None:
    """Two a second, and no more saved up however long it was quiet."""
    clock = ManualClock()
    budget = RetryBudget(clock, SETTINGS)
    while budget.take():
        pass
    clock.seconds += 3
    assert sum(budget.take() for _ in range(100)) == 6
    clock.seconds += 1_000_000
    assert sum(budget.take() for _ in range(100)) == 20


@given(
    st.lists(
        st.one_of(st.just("call"), st.just("retry"), st.floats(min_value=0, max_value=5).map(abs)),
        max_size=300,
    )
)
def test_retries_never_exceed_the_budget(steps: list[str | float]) -> None:
    """Whatever comes in whatever order."""
    clock = ManualClock()
    started = clock.seconds
    budget = RetryBudget(clock, SETTINGS)
    for step in steps:
        if step == "call":
            budget.tried()
        elif step == "retry":
            budget.take()
        else:
            clock.seconds += float(step)
    counts = budget.counts
    earned = SETTINGS.share * counts.first + SETTINGS.floor_per_second * (clock.seconds - started)
    assert counts.retries <= SETTINGS.saved_max + earned + 1e-6


def test_a_failing_core_is_asked_no_more_often_than_the_budget_says(tmp_path: Path) -> None:
    """The breaker held closed, a queue, a core that fails: the drain stays within the budget, and ends all the same."""
    tight = RetryBudgetSettings(share=0.1, floor_per_second=0.5, saved_max=3)

    async def story(world: World) -> None:
        node = world["east"]
        node.breaker.force("closed")
        world["west"].breaker.force("open")
        world.core.overloaded_for = 0.1
        ids = []
        for number in range(50):
            wish = world.wish(f"k-{number}", 100, account_id=f"A-{number}")
            ids.append((await node.submission.pay(wish)).intent_id)
        began, before = world.clock.boot_seconds(), node.drain_budget.counts
        await asyncio.sleep(60)
        counts = node.drain_budget.counts
        passed = world.clock.boot_seconds() - began
        assert world.core.ledger == []
        assert 10 < counts.retries - before.retries <= 3 + 0.5 * passed + 1
        assert counts.refused > before.refused
        world.core.overloaded_for = None
        await asyncio.sleep(30)
        assert sorted(world.core.ledger) == sorted(ids)

    live(tmp_path, story, retries=tight)


def test_customers_who_repeat_do_not_multiply_the_load(tmp_path: Path) -> None:
    """A thousand repetitions of one payment that the core does not answer are answered from the journal, truthfully."""

    async def story(world: World) -> None:
        node = world["east"]
        node.breaker.force("closed")
        world["west"].breaker.force("open")
        world.core.overloaded_for = 0.1
        wish = world.wish("again", 100)
        first = await node.submission.pay(wish)
        assert first.state == "accepted"
        began = world.clock.boot_seconds()
        for _ in range(1000):
            assert (await node.submission.pay(wish)).state == "accepted"
        counts = node.live_budget.counts
        assert counts.refused > 900
        assert counts.retries <= 20 + 2 * (world.clock.boot_seconds() - began) + 1
        world.core.overloaded_for = None
        await asyncio.sleep(30)
        assert world.core.ledger == [first.intent_id]

    live(tmp_path, story)

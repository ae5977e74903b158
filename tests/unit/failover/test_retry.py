"""Repeating calls: only what may be repeated, within the deadline, with jitter, cancellable."""

import asyncio
import random

import pytest

from failover.errors import Ambiguous, NodeError, NotSent, Overloaded
from failover.retry import RetrySettings, retrying
from failover.retry_budget import RetryBudget, RetryBudgetSettings
from tests.unit.failover.virtual import VirtualClock, run_virtually


class Call:
    """Fails with the errors given, then succeeds; takes a tenth of a second each time."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.at: list[float] = []

    async def __call__(self) -> str:
        """Be called once."""
        loop = asyncio.get_running_loop()
        self.at.append(loop.time())
        await asyncio.sleep(0.1)
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def tried(
    call: Call,
    settings: RetrySettings | None = None,
    *,
    errors: tuple[type[NodeError], ...] = (NotSent, Overloaded),
    budget: RetryBudgetSettings | None = None,
) -> tuple[object, float]:
    """Run a call under virtual time; returns how it ended, and when."""

    async def main() -> tuple[object, float]:
        clock = VirtualClock()
        begun = clock.boot_seconds()
        result: object
        try:
            result = await retrying(
                call,
                clock=clock,
                rng=random.Random(3),
                budget=RetryBudget(clock, budget),
                settings=settings,
                errors=errors,
            )
        except NodeError as error:
            result = error
        return result, clock.boot_seconds() - begun

    return run_virtually(0, main)


def test_any_awaitable_is_awaited_and_judged() -> None:
    """A plain function that returns an awaitable is repeated like any other call."""
    call = Call(NotSent("1"))

    async def main() -> str:
        clock = VirtualClock()
        return await retrying(
            lambda: call(),  # noqa: PLW0108 - that it is one is the test
            clock=clock,
            rng=random.Random(3),
            budget=RetryBudget(clock),
        )

    assert run_virtually(0, main) == "done"
    assert len(call.at) == 2


def test_what_was_not_sent_is_tried_again() -> None:
    """Up to the number of attempts, and the last error comes out as it was raised."""
    call = Call(NotSent("1"), NotSent("2"))
    assert tried(call)[0] == "done"
    last = NotSent("3")
    call = Call(NotSent("1"), NotSent("2"), last, NotSent("4"))
    assert tried(call)[0] is last
    assert len(call.at) == 3


def test_what_may_have_been_done_is_not_repeated_unasked() -> None:
    """An ambiguous call is repeated only where the caller says that repeating changes nothing."""
    call = Call(Ambiguous("reset"))
    assert isinstance(tried(call)[0], Ambiguous)
    assert len(call.at) == 1
    assert tried(Call(Ambiguous("reset")), errors=(NotSent, Ambiguous))[0] == "done"


def test_no_wait_is_begun_that_would_pass_the_deadline() -> None:
    """Under virtual time too: the library's own deadline would look at the real clock."""
    call = Call(*[NotSent("x")] * 100)
    settings = RetrySettings(attempts=100, deadline_seconds=3.0, wait_seconds=0.5)
    result, ended = tried(call, settings)
    assert isinstance(result, NotSent)
    assert 3 < len(call.at) < 40
    assert ended < 3.1


def test_waits_are_drawn_and_a_nodes_wish_is_respected() -> None:
    """No two waits alike, also at their cap; "retry after" is a lower bound."""
    call = Call(*[NotSent("x")] * 20)
    tried(
        call, RetrySettings(attempts=20, deadline_seconds=1000, wait_seconds=4, wait_seconds_max=4)
    )
    waits = {
        round(later - earlier, 6) for earlier, later in zip(call.at, call.at[1:], strict=False)
    }
    assert len(waits) == 19
    call = Call(Overloaded(1.5))
    tried(call, RetrySettings(deadline_seconds=10))
    assert call.at[1] >= 1.6


def test_a_spent_budget_ends_it_with_the_error() -> None:
    """However many attempts and however much time it has left; the first call is nobody's retry."""
    last = NotSent("3")
    call = Call(NotSent("1"), NotSent("2"), last, NotSent("4"))
    settings = RetrySettings(attempts=10, deadline_seconds=1000)
    spare = RetryBudgetSettings(saved_max=2, floor_per_second=0, share=0)
    assert tried(call, settings, budget=spare)[0] is last
    assert len(call.at) == 3


def test_cancellation_passes_through() -> None:
    """A cancelled caller is not repeated."""

    async def main() -> int:
        call = Call(NotSent("x"), NotSent("x"))
        clock = VirtualClock()
        task = asyncio.ensure_future(
            retrying(call, clock=clock, rng=random.Random(1), budget=RetryBudget(clock))
        )
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(call.at)

    assert run_virtually(0, main) == 1

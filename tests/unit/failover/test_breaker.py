"""The breaker: what opens it, who may test it, and every trap of the library beneath it."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from failover.breaker import AsyncBreaker, BreakerSettings, Result
from failover.errors import Ambiguous, BreakerOpen, NodeRefused, NotSent, Overloaded
from tests.unit.failover.virtual import ManualClock, VirtualClock, run_virtually

SETTINGS = BreakerSettings(
    window_seconds=60, calls_min=10, slow_seconds=1.0, reset_seconds=5, reset_seconds_max=60
)


def made(clock: ManualClock, settings: BreakerSettings = SETTINGS, **more: Any) -> AsyncBreaker:
    """Make a breaker on a clock moved by hand."""
    return AsyncBreaker(clock=clock, rng=random.Random(1), settings=settings, **more)


def state(breaker: AsyncBreaker) -> str:
    """Tell the state (which calls change, whatever a type checker narrowed it to)."""
    return breaker.state


def failures(count: int) -> list[Result]:
    """Return as many failures."""
    return ["failure"] * count


def settled(
    breaker: AsyncBreaker, clock: ManualClock, *results: Result, seconds: float = 0.1
) -> None:
    """Make calls that end in these ways after ``seconds`` each."""
    for result in results:
        admission = breaker.admit(trial_allowed=True)
        clock.seconds += seconds
        breaker.settle(admission, result)


def opened(clock: ManualClock, **more: Any) -> AsyncBreaker:
    """Make a breaker and open it by failures."""
    breaker = made(clock, **more)
    settled(breaker, clock, *failures(10))
    assert state(breaker) == "open"
    return breaker


def story(main: Callable[[AsyncBreaker, VirtualClock], Coroutine[Any, Any, None]]) -> None:
    """Tell a story under virtual time."""

    async def told() -> None:
        clock = VirtualClock()
        await main(AsyncBreaker(clock=clock, rng=random.Random(1), settings=SETTINGS), clock)

    run_virtually(0, told)


async def call(breaker: AsyncBreaker, seconds: float, error: Exception | None = None) -> str:
    """Make one guarded call; tells how it ended."""
    try:
        async with breaker.calling(trial_allowed=True):
            await asyncio.sleep(seconds)
            if error is not None:
                raise error
    except (BreakerOpen, Ambiguous, NotSent, Overloaded, NodeRefused) as raised:
        return type(raised).__name__
    return "ok"


def test_opens_at_a_failure_rate_though_some_calls_succeed() -> None:
    """Four of five fail; the library alone would count consecutive failures and never open."""
    clock = ManualClock()
    breaker = made(clock)
    settled(breaker, clock, *failures(4), "success", *failures(4), "success")
    assert state(breaker) == "open"
    with pytest.raises(BreakerOpen):
        breaker.admit()


def test_stays_closed_below_the_minimum_of_calls_and_below_the_rate() -> None:
    """Nine failures are too few to judge; four of ten are too few failures."""
    clock = ManualClock()
    breaker = made(clock)
    settled(breaker, clock, *failures(9))
    assert state(breaker) == "closed"
    healthy = made(clock)
    for _ in range(12):
        settled(healthy, clock, "failure", "success", "success")
    assert state(healthy) == "closed"


def test_opens_at_a_slow_call_rate() -> None:
    """Calls that all succeed, but slowly, open it."""
    clock = ManualClock()
    breaker = made(clock)
    for _ in range(10):
        settled(breaker, clock, "success", seconds=1.0)
    assert state(breaker) == "open"


def test_patient_calls_are_never_slow_and_fail_as_others_do() -> None:
    """Queued work that yields says nothing of how fast others are served; a failure is one all the same."""
    clock = ManualClock()
    breaker = made(clock)

    def settle(result: Result) -> None:
        admission = breaker.admit(patient=True)
        clock.seconds += 1
        breaker.settle(admission, result)

    for _ in range(10):
        settle("success")
    assert state(breaker) == "closed"
    for result in failures(10):
        settle(result)
    assert state(breaker) == "open"


def test_old_calls_leave_the_window() -> None:
    """Failures of more than a window ago say nothing about now."""
    clock = ManualClock()
    breaker = made(clock)
    settled(breaker, clock, *failures(9))
    clock.seconds += 61
    good: list[Result] = ["success"] * 9
    settled(breaker, clock, *good, "failure")
    assert state(breaker) == "closed"
    assert breaker.snapshot().calls == 10


def test_only_probes_test_an_open_breaker() -> None:
    """After the reset time an ordinary call is still refused, open and half open; a trial is let out."""
    clock = ManualClock()
    breaker = opened(clock)
    clock.seconds += 5
    assert not breaker.admits()
    assert breaker.admits(trial_allowed=True)
    with pytest.raises(BreakerOpen):
        breaker.admit()
    trial = breaker.admit(trial_allowed=True)
    assert state(breaker) == "half_open"
    with pytest.raises(BreakerOpen):
        breaker.admit()
    breaker.settle(trial, "success")
    assert state(breaker) == "half_open"


def test_half_open_lets_three_of_fifty_in() -> None:
    """The library would let all fifty in."""

    async def main(breaker: AsyncBreaker, _: VirtualClock) -> None:
        await asyncio.gather(*(call(breaker, 0.1, NotSent("x")) for _ in range(10)))
        assert state(breaker) == "open"
        await asyncio.sleep(breaker.snapshot().reset_in_seconds + 0.01)
        results = Counter(await asyncio.gather(*(call(breaker, 0.1) for _ in range(50))))
        assert results == {"ok": 3, "BreakerOpen": 47}
        assert state(breaker) == "closed"

    story(main)


def test_one_failed_or_slow_trial_opens_it_again() -> None:
    """And the time until the next trial grows, with jitter between half and all of it, up to the cap."""
    clock = ManualClock()
    breaker = opened(clock)
    longest = 5.0
    for ending in ("failure", "slow") * 4:
        waited = breaker.snapshot().reset_in_seconds
        assert longest / 2 <= waited <= longest
        clock.seconds += waited + 0.001
        if ending == "slow":
            settled(breaker, clock, "success", seconds=1.0)
        else:
            settled(breaker, clock, "failure")
        assert state(breaker) == "open"
        longest = min(60.0, longest * 2)


def test_closing_forgets_how_often_it_had_opened() -> None:
    """The next opening starts with the short reset time again."""
    clock = ManualClock()
    breaker = opened(clock)
    clock.seconds += breaker.snapshot().reset_in_seconds + 0.001
    settled(breaker, clock, "failure")
    clock.seconds += breaker.snapshot().reset_in_seconds + 0.001
    settled(breaker, clock, "success", "success", "success")
    assert state(breaker) == "closed"
    settled(breaker, clock, *failures(10))
    assert breaker.snapshot().reset_in_seconds <= 5


def test_late_results_of_an_earlier_state_change_nothing() -> None:
    """A success admitted before it opened does not close it, a failure does not push the reset out."""
    clock = ManualClock()
    breaker = made(clock)
    early = [breaker.admit() for _ in range(5)]
    settled(breaker, clock, *failures(10))
    before = breaker.snapshot().reset_in_seconds
    for admission in early[:3]:
        breaker.settle(admission, "failure")
    breaker.settle(early[3], "success")
    assert state(breaker) == "open"
    assert breaker.snapshot().reset_in_seconds == before
    clock.seconds += before
    trial = breaker.admit(trial_allowed=True)
    breaker.settle(early[4], "failure")
    assert state(breaker) == "half_open"
    breaker.settle(trial, "failure")


def test_a_callers_cancellation_is_neutral() -> None:
    """Three customers who go away do not open it, and a cancelled trial gives its permit back."""

    async def main(breaker: AsyncBreaker, _: VirtualClock) -> None:
        for _round in range(12):
            task = asyncio.create_task(call(breaker, 5))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert state(breaker) == "closed"
        assert breaker.snapshot().calls == 0
        await asyncio.gather(*(call(breaker, 0.1, NotSent("x")) for _ in range(10)))
        await asyncio.sleep(breaker.snapshot().reset_in_seconds + 0.01)
        trials = [asyncio.create_task(call(breaker, 4)) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert not breaker.admits(trial_allowed=True)
        for trial in trials:
            trial.cancel()
        await asyncio.gather(*trials, return_exceptions=True)
        assert state(breaker) == "half_open"
        assert breaker.admits(trial_allowed=True)

    story(main)


def test_its_own_deadline_is_a_failure_and_leaves_the_effect_open() -> None:
    """Not the caller's cancellation: ten of them open it, each raised as ambiguous."""

    async def main(breaker: AsyncBreaker, _: VirtualClock) -> None:
        async def hang() -> None:
            async with breaker.calling(deadline_seconds=0.3):
                await asyncio.sleep(3600)

        results = await asyncio.gather(*(hang() for _ in range(10)), return_exceptions=True)
        assert {type(result) for result in results} == {Ambiguous}
        assert state(breaker) == "open"

    story(main)


@pytest.mark.parametrize(
    ("error", "opens"),
    [
        (NodeRefused(422, "invalid_body"), False),
        (Overloaded(1.0), True),
        (NotSent("refused"), True),
        (Ambiguous("reset"), True),
    ],
)
def test_a_refusal_shows_life_and_everything_else_is_failure(error: Exception, opens: bool) -> None:  # noqa: FBT001
    """A 4xx is an answer; 429 and 503 ask for less."""

    async def main(breaker: AsyncBreaker, _: VirtualClock) -> None:
        results = [await call(breaker, 0.1, error) for _ in range(10)]
        assert set(results) == {type(error).__name__}
        assert (state(breaker) == "open") is opens

    story(main)


def test_trials_that_never_come_back_do_not_keep_it_half_open() -> None:
    """After the longest time half open it opens again, and their late results change nothing."""
    clock = ManualClock()
    breaker = opened(clock)
    clock.seconds += 5
    stuck = [breaker.admit(trial_allowed=True) for _ in range(3)]
    clock.seconds += SETTINGS.half_open_seconds_max + 0.1
    with pytest.raises(BreakerOpen):
        breaker.admit(trial_allowed=True)
    assert state(breaker) == "open"
    for admission in stuck:
        breaker.settle(admission, "success")
    assert state(breaker) == "open"


def test_the_wall_clock_does_not_matter() -> None:
    """Set back by an hour while open, it closes after the same time."""
    clock = ManualClock()
    breaker = opened(clock)
    clock.wall = clock.wall.replace(year=2020)
    clock.seconds += 5
    settled(breaker, clock, "success", "success", "success")
    assert state(breaker) == "closed"


def test_a_raising_listener_fails_no_call() -> None:
    """The call that trips it ends as it ended, and the state still changes."""
    clock = ManualClock()
    seen: list[str] = []

    def listener(old: str, new: str) -> None:
        seen.append(f"{old}→{new}")
        raise RuntimeError("a broken listener")

    breaker = opened(clock, listeners=[listener])
    clock.seconds += 5
    settled(breaker, clock, "success", "success", "success")
    assert seen == ["closed→open", "open→half_open", "half_open→closed"]


def test_held_open_nothing_passes_and_released_probes_decide() -> None:
    """Planned maintenance: not even trials; afterwards it is half open."""
    clock = ManualClock()
    breaker = made(clock)
    breaker.force("open")
    clock.seconds += 1000
    assert state(breaker) == "open"
    assert not breaker.admits(trial_allowed=True)
    with pytest.raises(BreakerOpen):
        breaker.admit(trial_allowed=True)
    breaker.force(None)
    assert state(breaker) == "half_open"
    settled(breaker, clock, "success", "success", "success")
    assert state(breaker) == "closed"


def test_held_closed_failures_do_not_open_it() -> None:
    """An operator who knows better; released, it decides again."""
    clock = ManualClock()
    breaker = opened(clock)
    breaker.force("closed")
    settled(breaker, clock, *failures(20))
    assert state(breaker) == "closed"
    assert breaker.snapshot().forced == "closed"
    breaker.force(None)
    settled(breaker, clock, "failure")
    assert state(breaker) == "open"

"""A bad world is made as small as it can be."""

import msgspec

from chaos.simulation.minimize import minimized
from chaos.simulation.plan import Plan, draw_plan


def plan_with_faults() -> Plan:
    """Draw a plan in which much goes wrong."""
    plans = (draw_plan(seed, seconds=40) for seed in range(100))
    return next(plan for plan in plans if len(plan.events) >= 8)


def test_only_the_faults_that_are_needed_stay() -> None:
    """Only the faults that are needed stay."""
    plan = plan_with_faults()
    needed = [plan.events[2], plan.events[6]]
    small = minimized(plan, lambda tried: all(event in tried.events for event in needed))
    assert small.events == needed
    assert small.seconds < plan.seconds
    assert set(small.skews.values()) == {0.0}


def test_clocks_stay_wrong_where_that_is_what_it_takes() -> None:
    """Clocks stay wrong where that is what it takes."""
    plan = msgspec.structs.replace(plan_with_faults(), skews={"core": 60.0})
    small = minimized(plan, lambda tried: tried.skews["core"] > 0)
    assert small.skews == {"core": 60.0}
    assert small.events == []


def test_a_world_that_needs_everything_stays_as_it_is() -> None:
    """A world that needs everything stays as it is."""
    plan = plan_with_faults()
    assert minimized(plan, lambda tried: tried == plan) == plan

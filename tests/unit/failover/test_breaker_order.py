"""An operator's order to the breaker: followed at once, kept over restarts, over when its time is."""

import random
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from failover.breaker import AsyncBreaker
from failover.breaker_order import (
    BreakerOrder,
    BreakerOrders,
    Ordered,
    give_breaker_order,
    new_order,
)
from tests.unit.failover.virtual import ManualClock

NAME = "breaker-order.json"


def started(path: Path, clock: ManualClock) -> tuple[AsyncBreaker, BreakerOrders]:
    """Start an agent's breaker over a folder."""
    breaker = AsyncBreaker(clock=clock, rng=random.Random(1))
    orders = BreakerOrders(path, breaker, clock)
    orders.follow()
    return breaker, orders


def ordered(
    path: Path, clock: ManualClock, breaker: Ordered, seconds: float | None = None
) -> BreakerOrder:
    """Give an order."""
    order = new_order(breaker, by="ann", reason="disks", clock=clock, for_seconds=seconds)
    give_breaker_order(path, order)
    return order


def state(breaker: AsyncBreaker) -> str:
    """Tell the state (which orders change, whatever a type checker narrowed it to)."""
    return breaker.state


@pytest.mark.parametrize("held", ["open", "closed"])
def test_a_running_breaker_follows_and_a_restarted_one_does_too(
    tmp_path: Path, held: Ordered
) -> None:
    """Until the next order, however often the agent starts; nothing else is left in the folder."""
    clock, path = ManualClock(), tmp_path / NAME
    breaker, orders = started(path, clock)
    assert (state(breaker), orders.in_force) == ("closed", None)
    order = ordered(path, clock, held)
    orders.follow()
    assert (state(breaker), breaker.forced, orders.in_force) == (held, held, order)
    clock.seconds += 1_000_000
    again, its_orders = started(path, clock)
    assert (state(again), its_orders.in_force) == (held, order)
    ordered(path, clock, "automatic")
    its_orders.follow()
    assert (again.forced, its_orders.in_force) == (None, None)
    assert state(again) == ("half_open" if held == "open" else "closed")
    assert [found.name for found in tmp_path.iterdir()] == [NAME]


def test_an_order_ends_by_itself(tmp_path: Path) -> None:
    """On the clock that never jumps: a wall clock set back by a day makes it no longer."""
    clock, path = ManualClock(), tmp_path / NAME
    breaker, orders = started(path, clock)
    order = ordered(path, clock, "open", seconds=1800)
    clock.wall -= timedelta(days=1)
    clock.seconds += 1799
    orders.follow()
    assert state(breaker) == "open"
    assert order.seconds_left(clock) == 1
    clock.seconds += 1
    orders.follow()
    assert (state(breaker), orders.in_force) == ("half_open", None)
    assert started(path, clock)[1].in_force is None


def test_after_a_restart_of_the_machine_the_wall_clock_counts(tmp_path: Path) -> None:
    """Boot clocks of two boots cannot be compared; the order is never longer than it was given for."""
    clock, path = ManualClock(), tmp_path / NAME
    order = ordered(path, clock, "open", seconds=1800)
    clock.boot, clock.seconds = "another", 5.0
    for passed, left in ((-3600, 1800.0), (600, 1200.0), (1799, 1.0), (1800, 0.0)):
        clock.wall = order.given_at + timedelta(seconds=passed)
        assert order.seconds_left(clock) == left
        breaker, _ = started(path, clock)
        assert state(breaker) == ("open" if left else "closed")


def test_an_order_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    """What held goes on; a breaker that starts beside it decides by itself."""
    clock, path = ManualClock(), tmp_path / NAME
    breaker, orders = started(path, clock)
    ordered(path, clock, "open")
    orders.follow()
    path.write_text('{"breaker": "ope')
    orders.follow()
    assert state(breaker) == "open"
    assert state(started(path, clock)[0]) == "closed"


def test_who_when_and_why_is_logged_once(tmp_path: Path) -> None:
    """An order, an order that replaces it, and its end; not every half second."""
    clock, path = ManualClock(), tmp_path / NAME
    _, orders = started(path, clock)
    with capture_logs() as logs:
        ordered(path, clock, "open", seconds=60)
        for _ in range(3):
            orders.follow()
        clock.seconds += 60
        for _ in range(3):
            orders.follow()
    assert [line["event"] for line in logs] == [
        "an operator holds the breaker",
        "the breaker decides by itself again",
    ]
    assert {"by": "ann", "reason": "disks", "breaker": "open"}.items() <= logs[0].items()
    assert logs[0]["until"] == "2026-03-01T12:01:00+00:00"
    assert logs[1]["time_is_over"]

"""Drains get faster while the writer is free, and step back at once when it is not."""

from core_cis.drain_orders import FLEET, DrainOrder, DrainOrders
from core_cis.pacing import ASK_AGAIN_SECONDS, DrainGate, DrainPacing, PacingSettings, Passage

SETTINGS = PacingSettings(least=10, most=1000, first=100, step=50, wait_seconds_max=0.05)


def test_pace_grows_step_by_step_up_to_its_bound() -> None:
    """Short waits raise the pace by a step, never above the most."""
    pacing = DrainPacing(SETTINGS)
    pacing.waited(0.01)
    assert pacing.credits == 150
    for _ in range(100):
        pacing.waited(0.01)
    assert pacing.credits == 1000


def test_pace_is_halved_by_long_waits_and_refusals() -> None:
    """A wait over the bound, or a batch turned away, halves the pace, never below the least."""
    pacing = DrainPacing(SETTINGS)
    pacing.waited(0.06)
    assert pacing.credits == 50
    pacing.refused()
    assert pacing.credits == 25
    for _ in range(100):
        pacing.refused()
    assert pacing.credits == 10


def test_gate_lets_everything_through_without_orders() -> None:
    """Where operators ordered nothing the core's own pace alone holds."""
    assert DrainGate().take("east", 500, DrainOrders(), 0.0) == Passage(500, 0.0)


def test_gate_lets_nothing_through_while_held() -> None:
    """An edge that is held, or the fleet, waits and asks again soon; another edge goes on."""
    gate = DrainGate()
    orders = DrainOrders({"east": DrainOrder(held=True)})
    assert gate.take("east", 10, orders, 0.0) == Passage(0, ASK_AGAIN_SECONDS)
    assert gate.take("west", 10, orders, 0.0).taken == 10
    everybody = DrainOrders({FLEET: DrainOrder(held=True), "west": DrainOrder()})
    assert gate.take("west", 10, everybody, 0.0).taken == 0


def test_gate_holds_a_pace_however_often_it_is_asked() -> None:
    """In ten seconds, asked every tenth, no more than ten seconds' worth and the first second's pass."""
    gate = DrainGate()
    orders = DrainOrders({"east": DrainOrder(pace=7)})
    taken = sum(gate.take("east", 100, orders, tick / 10).taken for tick in range(101))
    assert 75 <= taken <= 77


def test_edges_share_the_pace_of_the_fleet() -> None:
    """The fleet's bound is for all edges together, an edge's own for itself alone."""
    gate = DrainGate()
    orders = DrainOrders({FLEET: DrainOrder(pace=10), "east": DrainOrder(pace=4)})
    assert gate.take("east", 100, orders, 0.0).taken == 4
    passage = gate.take("west", 100, orders, 0.0)
    assert passage.taken == 6
    assert 0 < passage.pause_seconds <= ASK_AGAIN_SECONDS
    assert gate.take("west", 100, orders, 0.0).taken == 0

"""Drains get faster while nobody waits for them, and step back at once when customers do."""

from random import Random

import pytest

from core_cis.drain_orders import FLEET, DrainOrder, DrainOrders
from core_cis.pacing import ASK_AGAIN_SECONDS, DrainGate, DrainPacing, PacingSettings, Passage

SETTINGS = PacingSettings(least=10, most=1000, first=100, growth=0.5)


def test_pace_grows_with_what_is_decided_up_to_its_bound() -> None:
    """By a share of every second's worth, never above the most."""
    pacing = DrainPacing(SETTINGS)
    pacing.decided(100, 0.1, 1.0)
    assert pacing.credits == 150
    for second in range(100):
        pacing.decided(1000, 0.1, 2.0 + second)
    assert pacing.credits == 1000


def test_pace_is_halved_by_long_waits_and_refusals() -> None:
    """A long wait, or a batch turned away, halves the pace, never below the least; what comes at once counts once."""
    pacing = DrainPacing(SETTINGS)
    pacing.waited(0.06, 1.0)
    assert pacing.credits == 50
    pacing.waited(0.06, 1.1)
    pacing.refused(1.2)
    assert pacing.credits == 50
    for second in range(2, 20):
        pacing.refused(float(second))
    assert pacing.credits == 10


def test_no_growth_right_after_trouble() -> None:
    """What was let in before the pace was cut down says nothing of the lower pace."""
    pacing = DrainPacing(SETTINGS)
    pacing.refused(1.0)
    pacing.decided(100, 0.1, 1.1)
    assert pacing.credits == 50


def test_customers_are_compared_with_themselves_before_the_drain() -> None:
    """Half as slow again as their usual slow ones halves the pace; what is usual for this core does not."""
    pacing = DrainPacing(SETTINGS)
    for number in range(100):
        pacing.live_took(0.1 if number % 10 == 0 else 0.04, float(number))
    pacing.take("east", 10, 100.0)
    pacing.live_took(0.14, 100.1)
    assert pacing.credits == 100
    pacing.live_took(0.16, 100.2)
    assert pacing.credits == 50


def test_fast_customers_are_nobodys_trouble() -> None:
    """A core of a millisecond may be many times slower before anybody notices."""
    pacing = DrainPacing(SETTINGS)
    for number in range(10):
        pacing.live_took(0.001, float(number))
    pacing.take("east", 10, 20.0)
    pacing.live_took(0.009, 20.1)
    assert pacing.credits == 100


def test_transactions_are_short_while_customers_pay() -> None:
    """As many as fit into the time that may be held; all there are when nobody paid for a while."""
    pacing = DrainPacing(SETTINGS)
    pacing.decided(100, 0.1, 1.0)
    assert pacing.part(1.0) == SETTINGS.most
    pacing.live_took(0.001, 2.0)
    assert pacing.part(2.5) == 10
    pacing.decided(10, 5.0, 2.6)
    assert pacing.part(2.7) == 5
    assert pacing.part(5.0) == SETTINGS.most


def test_a_lone_edge_is_let_in_at_the_pace() -> None:
    """However often it asks: a burst, and then a second's worth a second; asked to wait, it loses nothing."""
    pacing = DrainPacing(SETTINGS)
    taken = sum(pacing.take("east", 100, tick / 100).taken for tick in range(1001))
    assert taken == pytest.approx(1025, abs=2)
    patient = DrainPacing(SETTINGS)
    now, taken = 0.0, 0
    while now < 10:
        passage = patient.take("east", 20, now)
        taken += passage.taken
        now += passage.pause_seconds
    assert taken == pytest.approx(1000, rel=0.05)


def test_many_edges_together_are_let_in_with_no_more_than_one() -> None:
    """A thousand of them at any time, each however often: the bound is the fleet's; each is told when its turn is."""
    pacing, rng = DrainPacing(SETTINGS), Random(1)
    moments = sorted(rng.uniform(0, 10) for _ in range(20_000))
    passages = [pacing.take(f"edge-{rng.randrange(1000)}", 50, moment) for moment in moments]
    assert sum(passage.taken for passage in passages) == pytest.approx(1025, abs=30)
    assert passages[-1].pause_seconds == SETTINGS.pause_seconds_max
    # Those that went away are forgotten.
    assert pacing.share(moments[-1]) == 1
    assert pacing.share(moments[-1] + SETTINGS.active_seconds + 1) == 100


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

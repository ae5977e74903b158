"""Drains get faster while nobody waits for them, and step back at once when customers do."""

from random import Random

import pytest

from core_cis.drain_orders import FLEET, DrainOrder, DrainOrders
from core_cis.pacing import ASK_AGAIN_SECONDS, DrainGate, DrainPacing, PacingSettings, Passage

SETTINGS = PacingSettings(least=10, most=1000, first=100, growth=0.5, turn_min=5)


def held_back(pacing: DrainPacing, now: float) -> None:
    """Have an edge bring more than the pace lets in."""
    pacing.take("east", 5000, now)


def eased_to_the_least(pacing: DrainPacing, now: float) -> float:
    """Turn batches away until the pace cannot fall any more; tells the time by then."""
    for _ in range(10):
        pacing.refused(now)
        now += 1
    assert pacing.credits == SETTINGS.least
    return now


def test_pace_grows_with_what_is_decided_up_to_its_bound() -> None:
    """By a share of every second's worth, never above the most."""
    pacing = DrainPacing(SETTINGS)
    held_back(pacing, 1.0)
    pacing.decided(100, 0.1, 1.0)
    assert pacing.credits == 150
    for second in range(100):
        held_back(pacing, 2.0 + second)
        pacing.decided(1000, 0.1, 2.0 + second)
    assert pacing.credits == 1000


def test_a_pace_that_holds_nobody_back_does_not_grow() -> None:
    """A core that decides less than it is allowed to keeps a pace that bites when it has to be cut."""
    pacing = DrainPacing(SETTINGS)
    pacing.take("east", 10, 1.0)
    pacing.decided(10, 0.1, 1.0)
    assert pacing.credits == 100
    held_back(pacing, 2.0)
    pacing.decided(100, 0.1, 3.5)
    assert pacing.credits == 100


def test_pace_is_halved_by_long_waits_and_refusals() -> None:
    """A long wait, or a batch turned away, halves the pace, never below the least; what comes at once counts once."""
    pacing = DrainPacing(SETTINGS)
    pacing.waited(0.4, 1.0)
    assert pacing.credits == 100
    pacing.waited(0.6, 1.0)
    assert pacing.credits == 50
    pacing.waited(0.6, 1.1)
    pacing.refused(1.2)
    assert pacing.credits == 50
    eased_to_the_least(pacing, 2.0)


def test_no_growth_right_after_trouble() -> None:
    """What was let in before the pace was cut down says nothing of the lower pace."""
    pacing = DrainPacing(SETTINGS)
    held_back(pacing, 1.0)
    pacing.refused(1.0)
    pacing.decided(100, 0.1, 1.1)
    assert pacing.credits == 50


def test_customers_are_compared_with_themselves_before_the_drain() -> None:
    """Two that take half as long again as their usual slow ones halve the pace; what is usual for it does not."""
    pacing = DrainPacing(SETTINGS)
    for number in range(100):
        pacing.live_took(0.1 if number % 10 == 0 else 0.04, float(number))
    pacing.take("east", 10, 100.0)
    for moment in (100.1, 100.2):
        pacing.live_took(0.14, moment)
    assert pacing.credits == 100
    pacing.live_took(0.16, 100.3)
    assert pacing.credits == 100
    pacing.live_took(0.16, 100.4)
    assert pacing.credits == 50


@pytest.mark.parametrize("rate", [5, 20, 200, 1000])
def test_a_few_slow_customers_among_many_are_usual_at_any_rate(rate: int) -> None:
    """One in fifty is slow with or without a drain: however many pay a second, the pace grows."""
    pacing = DrainPacing(SETTINGS)
    pacing.live_took(0.04, 0.0)
    for number in range(20 * rate):
        now = 10.0 + number / rate
        held_back(pacing, now)
        pacing.live_took(1.0 if number % 50 == 0 else 0.04, now)
        pacing.decided(1, 0.01, now)
    assert pacing.credits > 110


@pytest.mark.parametrize("rate", [5, 20, 200, 1000])
def test_a_tenth_of_slow_customers_is_too_many_at_any_rate(rate: int) -> None:
    """Within five seconds the pace is cut to half or less."""
    pacing = DrainPacing(SETTINGS)
    pacing.live_took(0.04, 0.0)
    held_back(pacing, 10.0)
    for number in range(5 * rate):
        now = 10.0 + number / rate
        held_back(pacing, now)
        pacing.live_took(1.0 if number % 10 == 9 else 0.04, now)
    assert pacing.credits <= 50


def test_fast_customers_are_nobodys_trouble() -> None:
    """A core of a millisecond may be many times slower before anybody notices."""
    pacing = DrainPacing(SETTINGS)
    for number in range(10):
        pacing.live_took(0.001, float(number))
    pacing.take("east", 10, 20.0)
    for moment in (20.1, 20.2, 20.3):
        pacing.live_took(0.009, moment)
    assert pacing.credits == 100


def test_a_core_that_starts_into_a_drain_learns_what_is_usual_at_the_least_pace() -> None:
    """Nobody saw it without one: its slow customers keep the pace down only until it is known that they always are."""
    pacing = DrainPacing(SETTINGS)
    seen = []
    for tick in range(400):
        now = tick / 10
        held_back(pacing, now)
        pacing.live_took(0.2, now)
        pacing.decided(1, 0.03, now)
        seen.append(pacing.credits)
    assert min(seen) == SETTINGS.least
    assert seen[-1] > 100
    # What is usual here is known by now: drains that make it worse are still noticed.
    pacing.live_took(0.31, 40.0)
    pacing.live_took(0.31, 40.1)
    assert pacing.credits <= seen[-1] // 2 + 1


def test_a_core_that_became_slower_is_not_held_at_the_least_pace() -> None:
    """Customers who were fast when there was no drain may all be slower now: the drain comes back all the same."""
    pacing = DrainPacing(SETTINGS)
    for number in range(300):
        pacing.live_took(0.02, float(number))
    for tick in range(600):
        now = 400 + tick / 10
        held_back(pacing, now)
        pacing.live_took(0.2, now)
        pacing.decided(1, 0.03, now)
    assert pacing.credits > 100


def test_right_after_the_pace_fell_nothing_is_learned() -> None:
    """What was let in before is still being decided: customers who wait for it are no measure."""
    pacing = DrainPacing(SETTINGS)
    pacing.live_took(0.02, 0.0)
    for tick in range(4):
        pacing.refused(10 + tick / 4)
    assert pacing.credits == SETTINGS.least
    for tick in range(10):
        held_back(pacing, 11 + tick / 10)
        pacing.live_took(2.0, 11 + tick / 10)
    held_back(pacing, 12.5)
    pacing.decided(1000, 0.1, 12.5)
    before = pacing.credits
    pacing.live_took(0.1, 12.6)
    pacing.live_took(0.1, 12.7)
    assert pacing.credits < before


def test_transactions_are_short_while_customers_pay() -> None:
    """As many as fit into the time that may be held, which is longer when nobody paid for a while."""
    pacing = DrainPacing(SETTINGS)
    assert pacing.part(0.5) == 5
    pacing.decided(100, 0.1, 1.0)
    assert pacing.part(1.0) == 100
    pacing.live_took(0.001, 2.0)
    assert pacing.part(2.5) == 10
    pacing.decided(10, 5.0, 2.6)
    assert pacing.part(2.7) == 5


def test_where_customers_payments_take_long_transactions_may_too() -> None:
    """A third of it, so that a customer waits that much longer at most; a tenth of a second however slow they are."""
    pacing = DrainPacing(SETTINGS)
    pacing.decided(100, 0.1, 1.0)
    pacing.live_took(0.09, 10.0)
    assert pacing.part(10.1) == 30
    for number in range(10):
        pacing.live_took(1.0, 11.0 + number)
    assert pacing.part(20.1) == 100


@pytest.mark.parametrize("wanted", [2, 20, 100])
def test_a_lone_edge_is_let_in_at_the_pace(wanted: int) -> None:
    """However often it asks and however much it brings: a burst, and then a second's worth a second."""
    pacing = DrainPacing(SETTINGS)
    taken = sum(pacing.take("east", wanted, tick / 100).taken for tick in range(1001))
    assert taken == pytest.approx(1050, abs=30)


@pytest.mark.parametrize("pace", [10, 20, 100, 1000])
@pytest.mark.parametrize("wanted", [10, 100, 500])
def test_an_edge_that_waits_as_it_is_told_loses_little(pace: int, wanted: int) -> None:
    """Even where it always waits a little longer than it was told, and its batches come in twos."""
    pacing, rng = DrainPacing(PacingSettings(least=10, most=pace, first=pace)), Random(1)
    now, taken = 0.0, 0
    while now < 60:
        passages = [pacing.take("east", wanted, now) for _ in range(2)]
        taken += sum(passage.taken for passage in passages)
        now += 0.02 + max(passage.pause_seconds for passage in passages) * rng.uniform(1.0, 1.3)
    assert 0.8 * 60 * pace <= taken <= 62 * pace


@pytest.mark.parametrize("edges", [2, 10, 200])
def test_edges_that_wake_at_once_get_the_pace_together_and_each_its_share(edges: int) -> None:
    """In step or not: what one is let in, another is told to wait for."""
    pacing, rng = DrainPacing(SETTINGS), Random(1)
    got = dict.fromkeys(range(edges), 0)
    due = dict.fromkeys(range(edges), 0.0)
    while (now := min(due.values())) < 120:
        edge = min(due, key=lambda each: due[each])
        passage = pacing.take(f"edge-{edge}", 100, now)
        got[edge] += passage.taken
        due[edge] = now + 0.02 + passage.pause_seconds * rng.uniform(1.0, 1.3)
    assert sum(got.values()) >= 0.75 * 120 * 100
    assert min(got.values()) > 0


def test_an_edge_that_went_away_holds_nobody_up_for_long() -> None:
    """Turns that were promised to edges that never come delay the others by the longest pause at most."""
    pacing = DrainPacing(SETTINGS)
    for number in range(1000):
        pacing.take(f"dead-{number}", 100, 0.0)
    first = pacing.take("east", 100, 0.0)
    assert first.pause_seconds == SETTINGS.pause_seconds_max
    now, taken = first.pause_seconds, 0
    while now < 70:
        passage = pacing.take("east", 100, now)
        taken += passage.taken
        now += 0.02 + passage.pause_seconds
    assert taken >= 0.7 * 60 * 100


def test_many_edges_together_are_let_in_with_no_more_than_one() -> None:
    """A thousand of them at any time, each however often: the bound is the fleet's; each is told when its turn is."""
    pacing, rng = DrainPacing(SETTINGS), Random(1)
    moments = sorted(rng.uniform(0, 10) for _ in range(20_000))
    passages = [pacing.take(f"edge-{rng.randrange(1000)}", 50, moment) for moment in moments]
    assert sum(passage.taken for passage in passages) == pytest.approx(1050, abs=30)
    assert max(passage.pause_seconds for passage in passages) == SETTINGS.pause_seconds_max
    # Those that went away are forgotten.
    assert pacing.turn(moments[-1]) == SETTINGS.turn_min
    assert pacing.turn(moments[-1] + SETTINGS.active_seconds + 1) == 25


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

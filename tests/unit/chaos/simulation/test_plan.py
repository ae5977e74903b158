"""What goes wrong is drawn from the seed alone."""

import msgspec
import pytest

from chaos.simulation.plan import KINDS, Plan, draw_plan


def test_a_seed_has_one_plan_and_another_seed_another() -> None:
    """A seed has one plan and another seed another."""
    assert draw_plan(5, seconds=10) == draw_plan(5, seconds=10)
    assert draw_plan(5, seconds=10).events != draw_plan(6, seconds=10).events


def test_a_plan_can_be_kept_in_a_file() -> None:
    """A plan can be kept in a file."""
    plan = draw_plan(5, seconds=10)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


@pytest.mark.parametrize("seed", range(200))
def test_two_holders_of_a_payment_are_never_lost_together(seed: int) -> None:
    """Two holders of a payment are never lost together."""
    kinds = [event.kind for event in draw_plan(seed, seconds=20).events]
    assert kinds.count("edge disk lost") + kinds.count("core restored") <= 1
    if "core restored" in kinds:
        assert kinds.index("core backed up") < kinds.index("core restored")


def test_every_kind_of_fault_is_drawn_and_no_world_has_them_all() -> None:
    """Every kind of fault is drawn and no world has them all."""
    drawn = [{event.kind for event in draw_plan(seed, seconds=20).events} for seed in range(200)]
    assert set().union(*drawn) == set(KINDS)
    assert all(len(kinds) < len(KINDS) for kinds in drawn)

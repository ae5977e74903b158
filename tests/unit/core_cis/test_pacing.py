"""Drains get faster while the writer is free, and step back at once when it is not."""

from core_cis.pacing import DrainPacing, PacingSettings

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

"""Waits after failures."""

from random import Random

from cache_sync.backoff import Backoff


def test_waits_double_up_to_the_cap_and_begin_anew_after_a_success() -> None:
    """Each lies in the upper half of its step."""
    backoff = Backoff(0.1, 2.0, Random(1))
    waits = [backoff.next_seconds() for _ in range(2000)]
    for step, wait in zip([0.1, 0.2, 0.4, 0.8, 1.6, 2.0], waits, strict=False):
        assert step / 2 <= wait <= step
    assert all(1.0 <= wait <= 2.0 for wait in waits[5:])
    backoff.reset()
    assert backoff.next_seconds() <= 0.1


def test_nodes_do_not_come_back_in_step() -> None:
    """The jitter is the node's own."""
    first, second = (Backoff(1.0, 60.0, Random(seed)) for seed in (1, 2))
    assert [first.next_seconds() for _ in range(3)] != [second.next_seconds() for _ in range(3)]

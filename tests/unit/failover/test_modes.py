"""The table of modes, row by row, and that it never flickers."""

import itertools

import msgspec
import pytest

from failover.modes import ModeInputs, ModeSettings, ModeState, decide, initial

SETTINGS = ModeSettings()
WELL = ModeInputs(
    now=1000.0,
    breaker="closed",
    core_silence_seconds=0.3,
    feed_following=True,
    feed_age_seconds=0.5,
    oldest_unsettled_seconds=None,
)
NORMAL = ModeState(mode="normal", reason="ok", since=900.0, normal_entered_at=900.0)


@pytest.mark.parametrize(
    ("change", "mode", "reason"),
    [
        ({}, "normal", "ok"),
        ({"breaker": "open"}, "degraded", "breaker_open"),
        ({"breaker": "half_open"}, "degraded", "breaker_open"),
        ({"breaker": "open", "breaker_held": True}, "degraded", "breaker_held"),
        ({"breaker_held": True}, "normal", "ok"),
        ({"breaker_held": True, "core_silence_seconds": 2.1}, "degraded", "core_silent"),
        ({"core_silence_seconds": 2.0}, "normal", "ok"),
        ({"core_silence_seconds": 2.1}, "degraded", "core_silent"),
        ({"core_silence_seconds": None}, "degraded", "starting"),
        ({"expelled": True}, "degraded", "not_registered"),
        ({"expelled": True, "core_silence_seconds": 9.0}, "degraded", "not_registered"),
        ({"feed_following": False}, "normal", "ok"),
        ({"feed_age_seconds": 5.1}, "recovering", "catching_up"),
        ({"feed_age_seconds": None}, "recovering", "catching_up"),
        ({"oldest_unsettled_seconds": 5.0}, "normal", "ok"),
        ({"oldest_unsettled_seconds": 5.1}, "recovering", "draining"),
        ({"breaker": "open", "oldest_unsettled_seconds": 9.0}, "degraded", "breaker_open"),
        ({"forced": "degraded"}, "degraded", "forced"),
        ({"forced": "normal", "breaker": "open"}, "normal", "forced"),
        ({"forced": "recovering"}, "recovering", "forced"),
    ],
)
def test_each_condition_gives_its_mode_at_once(
    change: dict[str, object], mode: str, reason: str
) -> None:
    """From normal, every condition counts immediately; the worst one names the reason."""
    state = decide(NORMAL, msgspec.structs.replace(WELL, **change), SETTINGS)
    assert (state.mode, state.reason) == (mode, reason)
    assert state.since == (1000.0 if mode != "normal" else 900.0)


def test_a_starting_node_promises_nothing() -> None:
    """It is degraded until the core was heard, and normal at once when everything is well."""
    state = initial(990.0)
    assert (state.mode, state.reason) == ("degraded", "starting")
    assert decide(state, WELL, SETTINGS).mode == "normal"


def test_a_dying_core_never_looks_like_one_that_is_back() -> None:
    """The feed breaks before the silence shows: normal, then degraded; recovering only once the core answers again."""
    broken = msgspec.structs.replace(WELL, feed_following=False)
    dying = decide(NORMAL, msgspec.structs.replace(broken, core_silence_seconds=1.0), SETTINGS)
    assert dying.mode == "normal"
    dead = decide(dying, msgspec.structs.replace(broken, core_silence_seconds=2.1), SETTINGS)
    assert dead.mode == "degraded"
    back = decide(dead, broken, SETTINGS)
    assert (back.mode, back.reason) == ("recovering", "feed_stalled")


def test_a_flapping_core_enters_normal_once_a_minute() -> None:
    """Down and up every three seconds for ten minutes: normal is entered at most once within 60 s each."""
    state, entered = initial(0.0), []
    for step in range(1200):
        now = step * 0.5
        down = (step // 6) % 2 == 1
        inputs = msgspec.structs.replace(WELL, now=now, breaker="open" if down else "closed")
        before, state = state, decide(state, inputs, SETTINGS)
        if state.mode == "normal" and before.mode != "normal":
            entered.append(now)
        if not down and state.mode != "normal":
            assert (state.mode, state.reason) == ("recovering", "settling")
    assert len(entered) > 5
    assert all(later - earlier >= 60 for earlier, later in itertools.pairwise(entered))


def test_normal_returns_within_the_minute() -> None:
    """Conditions hold again right after normal was left: it returns 60 s after it was last entered."""
    left = decide(NORMAL, msgspec.structs.replace(WELL, now=901.0, breaker="open"), SETTINGS)
    waiting = decide(left, msgspec.structs.replace(WELL, now=902.0), SETTINGS)
    assert (waiting.mode, waiting.since) == ("recovering", 902.0)
    back = decide(waiting, msgspec.structs.replace(WELL, now=960.0), SETTINGS)
    assert (back.mode, back.since, back.normal_entered_at) == ("normal", 960.0, 960.0)


def test_the_function_is_total() -> None:
    """Every combination of inputs gives one of the three modes, and degraded whenever the breaker is not closed."""
    breakers = ("closed", "open", "half_open")
    ages = (None, 0.0, 1e9)
    for breaker, silence, following, age, waiting in itertools.product(
        breakers, ages, (True, False), ages, ages
    ):
        inputs = ModeInputs(
            now=1000.0,
            breaker=breaker,  # type: ignore[arg-type]
            core_silence_seconds=silence,
            feed_following=following,
            feed_age_seconds=age,
            oldest_unsettled_seconds=waiting,
        )
        state = decide(NORMAL, inputs, SETTINGS)
        assert state.mode in {"normal", "degraded", "recovering"}
        assert breaker == "closed" or state.mode == "degraded"

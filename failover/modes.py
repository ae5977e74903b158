"""
The node's mode: what customers are told to expect. Pure and total: every input gives a mode and a reason.

`degraded` is entered at once, `recovering` while the core answers and something is still missing, `normal` at most once
within `normal_min_seconds`, so that a flapping core does not make pages flicker.
"""

from typing import Literal

import msgspec

Mode = Literal["normal", "degraded", "recovering"]
BreakerState = Literal["closed", "open", "half_open"]
Reason = Literal[
    "ok",
    "starting",
    "forced",
    "breaker_open",
    "breaker_held",
    "core_silent",
    "not_registered",
    "lease_expired",
    "feed_stalled",
    "catching_up",
    "draining",
    "settling",
]


class ModeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the conditions, in seconds; see the table of modes in the design."""

    normal_min_seconds: float = 60.0
    silence_seconds: float = 2.0
    feed_bound_seconds: float = 5.0
    queue_bound_seconds: float = 5.0


class ModeInputs(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the mode is decided on; ``now`` is on the boot clock.

    ``core_silence_seconds`` is None when the core never answered since the agent started, ``feed_age_seconds`` (the age
    of the as-of time at a barrier) None when there is no snapshot or only a lower bound is known, and
    ``oldest_unsettled_seconds`` None when nothing waits for the core that is not parked. ``breaker_held`` says that an
    operator decides over the breaker, ``expelled`` that the core does not know this node.
    """

    now: float
    breaker: BreakerState
    core_silence_seconds: float | None
    feed_following: bool
    feed_age_seconds: float | None
    oldest_unsettled_seconds: float | None
    forced: Mode | None = None
    breaker_held: bool = False
    expelled: bool = False


class ModeState(msgspec.Struct, frozen=True, kw_only=True):
    """A mode, why, since when (boot clock), and when `normal` was last entered."""

    mode: Mode
    reason: Reason
    since: float
    normal_entered_at: float | None


def initial(now: float) -> ModeState:
    """Return the state of a node that has just started: nothing is known yet, so nothing is promised."""
    return ModeState(mode="degraded", reason="starting", since=now, normal_entered_at=None)


def decide(state: ModeState, inputs: ModeInputs, settings: ModeSettings) -> ModeState:
    """Return the next state; the same mode keeps its ``since``, also when only the reason changed."""
    mode, reason = _wanted(state, inputs, settings)
    if mode == "normal" and state.mode != "normal" and inputs.forced is None:
        last = state.normal_entered_at
        if last is not None and inputs.now - last < settings.normal_min_seconds:
            mode, reason = "recovering", "settling"
    if mode == state.mode:
        return msgspec.structs.replace(state, reason=reason)
    entered = inputs.now if mode == "normal" else state.normal_entered_at
    return ModeState(mode=mode, reason=reason, since=inputs.now, normal_entered_at=entered)


def _wanted(state: ModeState, inputs: ModeInputs, settings: ModeSettings) -> tuple[Mode, Reason]:
    """
    Tell which mode the conditions ask for.

    To enter `normal` the feed must be followed; to leave it the data must be too old: a dying core breaks the feed a
    moment before its silence shows, and customers must not read "our main system is back" in that moment.
    """
    silence = inputs.core_silence_seconds
    feed_age = inputs.feed_age_seconds
    waiting = inputs.oldest_unsettled_seconds
    rules: tuple[tuple[bool, Mode, Reason], ...] = (
        (inputs.breaker == "open" and inputs.breaker_held, "degraded", "breaker_held"),
        (inputs.breaker != "closed", "degraded", "breaker_open"),
        (inputs.expelled, "degraded", "not_registered"),
        (silence is None, "degraded", "starting"),
        (silence is not None and silence > settings.silence_seconds, "degraded", "core_silent"),
        (
            not inputs.feed_following and state.mode != "normal",
            "recovering",
            "feed_stalled",
        ),
        (feed_age is None or feed_age > settings.feed_bound_seconds, "recovering", "catching_up"),
        (waiting is not None and waiting > settings.queue_bound_seconds, "recovering", "draining"),
    )
    if inputs.forced is not None:
        return inputs.forced, "forced"
    return next(((mode, reason) for holds, mode, reason in rules if holds), ("normal", "ok"))

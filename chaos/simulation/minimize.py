"""Making a bad world small: the fewest faults, the shortest time, that still go wrong in the same way."""

from collections.abc import Callable
from typing import Final

import msgspec

from chaos.simulation.plan import Plan

Still = Callable[[Plan], bool]
"""Tells whether a plan's world still goes wrong in the same way."""

_SHORTER: Final = (0.5, 0.75, 0.9)
_LEAST_SECONDS: Final = 1.0


def minimized(plan: Plan, still: Still) -> Plan:
    """
    Return the smallest plan that was found to go wrong still.

    Faults are left out by halves, quarters and so on down to single ones (Zeller and Hildebrandt, "Simplifying and
    Isolating Failure-Inducing Input", 2002), then clocks are put right, and the world is ended earlier.
    """
    plan = _fewer_events(plan, still)
    straight = msgspec.structs.replace(
        plan, skews=dict.fromkeys(plan.skews, 0.0), drifts=dict.fromkeys(plan.drifts, 0.0)
    )
    if straight != plan and still(straight):
        plan = straight
    return _shorter(plan, still)


def _fewer_events(plan: Plan, still: Still) -> Plan:
    size = len(plan.events)
    while size >= 1:
        begin = 0
        while begin < len(plan.events):
            kept = plan.events[:begin] + plan.events[begin + size :]
            fewer = msgspec.structs.replace(plan, events=kept)
            if kept != plan.events and still(fewer):
                plan = fewer
            else:
                begin += size
        size //= 2
    return plan


def _shorter(plan: Plan, still: Still) -> Plan:
    least = max((event.at for event in plan.events), default=_LEAST_SECONDS)
    for share in _SHORTER:
        shorter = msgspec.structs.replace(plan, seconds=round(plan.seconds * share, 3))
        if shorter.seconds > least and still(shorter):
            return _shorter(shorter, still)
    return plan

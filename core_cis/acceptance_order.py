"""The order in which customers said what contradicts: by it the later word counts, whatever came first to the core."""

from datetime import datetime, timedelta
from typing import Final

from core_cis.instants import to_text
from failover.intents import Intent

AHEAD_MAX: Final = timedelta(minutes=2)
"""How far an edge's estimate may be ahead of the core's time."""


def acceptance_order(intent: Intent, *, now: datetime) -> str:
    """
    Write what orders messages as text that sorts like them: acceptance, then edge, its journal and place in it.

    What claims to be accepted in the future counts as of ``now``, the core's time: no later word could replace it else.
    """
    is_ahead = intent.accepted_at - now > AHEAD_MAX
    at = to_text(now if is_ahead else intent.accepted_at)
    return f"{at} {intent.edge_id} {intent.incarnation} {intent.ordinal:019}"

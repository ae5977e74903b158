"""Which payments of an account other edges may have accepted without this node knowing: from what siblings said."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from edge_portal.views import ModeView
from failover.intents import Receipt
from failover.sibling_news import MayMiss, NewsReader

MAY_WAIT: Final = timedelta(days=7)
"""What was accepted longer ago does not wait: the fewer are compared, the fewer are taken for one another."""


def may_miss(
    siblings: NewsReader | None,
    mode: ModeView,
    account_id: str,
    known: Iterable[Receipt],
    now: datetime,
) -> MayMiss | None:
    """Tell what may be missed of an account whose payments ``known`` are shown; ``now`` is core time."""
    if siblings is None:
        return None
    recent = [one.intent_id for one in known if now - one.accepted_at <= MAY_WAIT]
    return siblings.missed(mode.news, account_id, recent)

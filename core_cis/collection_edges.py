"""Asking edges, for collections, what waits there of which account."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable

from core_cis.domain.drained import EdgeWord, Pair
from core_cis.errors import EdgeUnreachable
from core_cis.instants import local_date
from core_cis.peer_journals import PeerJournals
from core_cis.registry import Edge
from failover.peer_messages import RecordedIntent


def hear_edges(
    edges: Iterable[Edge], journals: PeerJournals, *, timezone: str, without: Collection[str] = ()
) -> list[EdgeWord]:
    """
    Ask registered edges, expelled ones too, for the payments that wait there; read the books afterwards.

    Blocks; not for use inside an event loop. Those in ``without`` are not asked, and nobody waits for them.
    """

    async def ask_all() -> list[EdgeWord]:
        asked = [edge for edge in edges if edge.node_id not in without]
        return list(await asyncio.gather(*(_word(edge, journals, timezone) for edge in asked)))

    return asyncio.run(ask_all())


async def _word(edge: Edge, journals: PeerJournals, timezone: str) -> EdgeWord:
    expelled_on = None if edge.revoked_at is None else local_date(edge.revoked_at, timezone)
    begun = journals.clock.now()
    try:
        items = await journals.waiting(edge.node_id, edge.peer_url)
    except EdgeUnreachable:
        return EdgeWord(node_id=edge.node_id, told_at=None, expelled_on=expelled_on)
    return EdgeWord(
        node_id=edge.node_id,
        told_at=begun,
        waiting=_by_account(edge, items),
        expelled_on=expelled_on,
    )


def _by_account(edge: Edge, items: Iterable[RecordedIntent]) -> dict[str, frozenset[Pair]]:
    waiting: dict[str, set[Pair]] = defaultdict(set)
    for item in items:
        intent = item.intent
        # What an edge recorded itself after it was expelled is never believed.
        lost = (
            edge.revoked_at is not None
            and item.source == "own"
            and intent.accepted_at >= edge.revoked_at
        )
        if intent.is_payment and not lost:
            waiting[intent.account_id].add((intent.intent_id, intent.fingerprint))
    return {account_id: frozenset(pairs) for account_id, pairs in waiting.items()}

"""The order in which customers said what contradicts: by it the later word counts, whatever came first to the core."""

from core_cis.instants import to_text
from failover.intents import Intent


def acceptance_order(intent: Intent) -> str:
    """Write what orders messages as text that sorts like them: acceptance, then edge, its journal and place in it."""
    at = to_text(intent.accepted_at)
    return f"{at} {intent.edge_id} {intent.incarnation} {intent.ordinal:019}"

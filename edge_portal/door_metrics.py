"""What the processes that listen for nodes count of those whom they let in no further than the door."""

from typing import Final

from prometheus_client import Counter

from cache_sync.clock import Clock
from edge_portal.metrics import LOCAL
from failover.tls_door import RefusedHandshakes

_REFUSED: Final = Counter(
    "ridethrough_edge_handshakes_refused",
    "Callers without a certificate of the fleet, by the door that they knocked at.",
    ["door"],
    registry=LOCAL,
)


def counting_refusals(door: str, clock: Clock) -> RefusedHandshakes:
    """Make what counts the refused callers of one door, for the metrics of all processes; it shows 0 at once."""
    return RefusedHandshakes(clock, _REFUSED.labels(door).inc)

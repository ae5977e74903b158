"""What workers count of the Redis that they share."""

from typing import Final

from prometheus_client import Counter, Gauge

from edge_portal.metrics import LOCAL
from edge_portal.redis_accounts import Answered

_READS: Final = Counter(
    "ridethrough_edge_account_reads",
    "Accounts read where there is a redis, by who answered: it, or the disk.",
    ["engine"],
    registry=LOCAL,
)
_FALLBACKS: Final = Counter(
    "ridethrough_edge_redis_fallbacks",
    "Accounts that the disk answered although there is a redis, by why.",
    ["reason"],
    registry=LOCAL,
)
_BREAKERS: Final = Gauge(
    "ridethrough_edge_redis_breakers_open",
    "Breakers of workers that do not ask the redis now, one a worker and shard.",
    registry=LOCAL,
    multiprocess_mode="livesum",
)


def count_read(answered: Answered) -> None:
    """Count a read of an account, by who answered."""
    _READS.labels("redis" if answered == "redis" else "disk").inc()
    if answered != "redis":
        _FALLBACKS.labels(answered).inc()


def show_breakers(count: int) -> None:
    """Show how many breakers of this process are not closed."""
    _BREAKERS.set(count)

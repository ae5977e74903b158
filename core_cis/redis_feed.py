"""The feed, published into the streams of a Redis too, where one is named; whatever it does, the core goes on."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from prometheus_client import Gauge

from cache_sync.redis_link import RedisLink
from cache_sync.redis_stream import StreamPublisher, StreamStatus
from core_cis.keys import CoreKeys
from core_cis.services import CoreServices
from failover.signing import sign_bytes

LINK_SECONDS = 2.0
_SEED_BITS = 64
_log = structlog.get_logger(__name__)


@asynccontextmanager
async def publishing(services: CoreServices, keys: CoreKeys, url: str) -> AsyncIterator[None]:
    """Publish for as long as a block lasts; nothing where no Redis is named, or none that can be one."""
    try:
        publishers = _publishers(services, keys, url) if url else {}
    except ValueError as error:
        _log.error("the feed is not published into a redis", why=str(error))
        publishers = {}
    if not publishers:
        yield
        return
    _count(services, publishers)
    stop = asyncio.Event()
    running = [asyncio.create_task(publisher.run(stop)) for publisher in publishers.values()]
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait(running, timeout=2 * LINK_SECONDS)
        for each in running:
            each.cancel()


def _publishers(services: CoreServices, keys: CoreKeys, url: str) -> dict[str, StreamPublisher]:
    return {
        shard: StreamPublisher(
            services.feeds.of(shard),
            RedisLink(url, clock=services.clock, seconds=LINK_SECONDS),
            shard,
            sign=lambda content: sign_bytes(keys.signing_key, content),
            clock=services.clock,
            rng=random.Random(secrets.randbits(_SEED_BITS)),  # noqa: S311 - jitter
        )
        for shard in services.feeds.shards
    }


def _count(services: CoreServices, publishers: dict[str, StreamPublisher]) -> None:
    registry = services.metrics.registry
    told: tuple[tuple[str, str, Callable[[StreamStatus], float]], ...] = (
        ("entries", "Frames published into the stream.", lambda status: status.entries),
        ("documents", "Documents in them.", lambda status: status.rows),
        ("skips", "How often it went on from the head.", lambda status: status.skips),
        ("publishing", "1 while it publishes.", lambda status: not status.reason),
    )
    for name, what, value in told:
        gauge = Gauge(f"ridethrough_core_stream_{name}", what, ["shard"], registry=registry)
        for shard, publisher in publishers.items():
            gauge.labels(shard).set_function(_value_of(publisher, value))


def _value_of(
    publisher: StreamPublisher, value: Callable[[StreamStatus], float]
) -> Callable[[], float]:
    return lambda: float(value(publisher.status))

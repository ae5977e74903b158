"""The feed, published into the streams of a Redis too, where one is named; whatever it does, the core goes on."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from prometheus_client import Gauge

from cache_sync.documents import DEFAULT_SHARD
from cache_sync.redis_link import RedisLink
from cache_sync.redis_stream import StreamPublisher
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
        link = RedisLink(url, clock=services.clock, seconds=LINK_SECONDS) if url else None
    except ValueError as error:
        _log.error("the feed is not published into a redis", why=str(error))
        link = None
    if link is None:
        yield
        return
    publisher = StreamPublisher(
        services.feed,
        link,
        DEFAULT_SHARD,
        sign=lambda content: sign_bytes(keys.signing_key, content),
        clock=services.clock,
        rng=random.Random(secrets.randbits(_SEED_BITS)),  # noqa: S311 - jitter
    )
    _count(services, publisher)
    stop = asyncio.Event()
    running = asyncio.create_task(publisher.run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait([running], timeout=2 * LINK_SECONDS)
        running.cancel()


def _count(services: CoreServices, publisher: StreamPublisher) -> None:
    registry = services.metrics.registry
    told = (
        ("entries", "Frames published into the stream.", lambda: publisher.status.entries),
        ("documents", "Documents in them.", lambda: publisher.status.rows),
        ("skips", "How often it went on from the head.", lambda: publisher.status.skips),
        ("publishing", "1 while it publishes.", lambda: float(not publisher.status.reason)),
    )
    for name, what, value in told:
        gauge = Gauge(f"ridethrough_core_stream_{name}", what, registry=registry)
        gauge.set_function(value)

"""The copies of an edge's snapshots in a Redis: where they lie, who writes them, how workers read them."""

import hmac
from random import Random

from cache_sync.clock import Clock
from cache_sync.redis_layout import RedisLayout
from cache_sync.redis_link import RedisLink
from cache_sync.redis_mirror import MirrorSettings, RedisMirror
from cache_sync.redis_reader import RedisReader
from cache_sync.redis_replica import RedisReplica
from cache_sync.replica_reader import ReplicaReader
from edge_portal.errors import ConfigError
from edge_portal.held_shards import held_shards, snapshot_folder
from edge_portal.redis_accounts import SharedAccounts, SharedShard
from edge_portal.redis_metrics import count_read, show_breakers
from edge_portal.settings import EdgeSettings
from failover.node_config import RedisReplica as RedisConfig

WRITE_SECONDS = 5.0
CONNECT_SECONDS = 1.0


def new_mirror(settings: EdgeSettings, shard: str, *, clock: Clock, rng: Random) -> RedisMirror:
    """Make the writer of a shard's copy. Raises `ConfigError`."""
    link = _link(_configured(settings), clock, WRITE_SECONDS)
    return RedisMirror(
        snapshot_folder(settings, shard),
        RedisReplica(link, _layout(settings, shard), clock=clock),
        shard=shard,
        clock=clock,
        rng=rng,
        settings=MirrorSettings(known_versions=settings.known_versions),
        keys=settings.file_keys,
    )


def shared_accounts(settings: EdgeSettings, *, clock: Clock, rng: Random) -> SharedAccounts | None:
    """Make a worker's reader; None where there is no Redis. Raises `ConfigError`."""
    if settings.config.redis is None:
        return None
    config = settings.config.redis

    def shared(shard: str) -> SharedShard:
        reader = RedisReader(
            _link(config, clock, CONNECT_SECONDS),
            _layout(settings, shard),
            clock=clock,
            seconds=config.read_seconds,
        )
        folder = snapshot_folder(settings, shard)
        return SharedShard(reader, ReplicaReader(folder, clock=clock, keys=settings.file_keys))

    return SharedAccounts(
        {shard: shared(shard) for shard in held_shards(settings.config)},
        settings.config.shards,
        clock=clock,
        rng=rng,
        count=count_read,
        changed=show_breakers,
    )


def _configured(settings: EdgeSettings) -> RedisConfig:
    if settings.config.redis is None:
        raise ConfigError("no redis is named")
    return settings.config.redis


def _layout(settings: EdgeSettings, shard: str) -> RedisLayout:
    # What lies there is tagged with this, so that only what this node wrote is ever shown.
    key = hmac.digest(settings.config.node_secret.encode(), b"ridethrough redis", "sha256")
    return RedisLayout(settings.config.node_id, shard, key)


def _link(config: RedisConfig, clock: Clock, seconds: float) -> RedisLink:
    try:
        return RedisLink(config.url, clock=clock, seconds=seconds)
    except ValueError as error:
        raise ConfigError(f"redis.url: {error}") from error

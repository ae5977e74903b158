"""What a process of an edge runs with: the configuration file, the data folder, and where things lie in it."""

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from cache_sync.documents import KNOWN_VERSIONS
from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.redis_link import check_url
from edge_portal.errors import ConfigError
from failover.errors import ConfigInvalid
from failover.node_addresses import check_addresses
from failover.node_config import CORE_NODE_ID, EdgeConfig, RedisReplica, read_config
from failover.node_tls import link_to
from failover.pruning import PruningSettings

METRICS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where the metrics library of the workers keeps its files; it reads the environment itself."""

REDIS_VARIABLE: Final = "RIDETHROUGH_REDIS"
REDIS_FEED_VARIABLE: Final = "RIDETHROUGH_REDIS_FEED"
"""Addresses that hold passwords may stand in the environment instead of the configuration."""

KEY_BYTES_MIN: Final = 16
_HOUR_SECONDS: Final = 3600.0


class EdgePaths(msgspec.Struct, frozen=True):
    """Where things lie in an edge's data folder."""

    data: Path

    @property
    def lock(self) -> Path:
        """Held as long as any process of this edge lives."""
        return self.data / "edge.lock"

    @property
    def snapshot(self) -> Path:
        """The snapshot folder; the applier writes it."""
        return self.data / "snapshot"

    @property
    def handed_out(self) -> Path:
        """The snapshot files for siblings; the feeder writes them."""
        return self.data / "handed-out"

    @property
    def journal(self) -> Path:
        """The journal; the agent writes it."""
        return self.data / "journal" / "journal.db"

    @property
    def outages(self) -> Path:
        """When this node was not in normal operation."""
        return self.data / "outages.json"

    @property
    def lease(self) -> Path:
        """The mode, as the agent leases it."""
        return self.data / "mode.json"

    @property
    def sibling_news(self) -> Path:
        """What siblings said of the payments that wait with them; the agent writes it."""
        return self.data / "sibling-news"

    @property
    def mode_order(self) -> Path:
        """What an operator ordered the mode to be."""
        return self.data / "mode-order.json"

    @property
    def breaker_order(self) -> Path:
        """What an operator ordered the breaker to the core to be."""
        return self.data / "breaker-order.json"

    @property
    def verifications(self) -> Path:
        """What comparing with the node above has found; the applier writes it."""
        return self.data / "verifications.json"

    @property
    def verification_order(self) -> Path:
        """An operator's order to compare and repair now."""
        return self.data / "verification-order"

    @property
    def processes(self) -> Path:
        """Which processes run, as the supervisor says."""
        return self.data / "processes.json"

    @property
    def metrics(self) -> Path:
        """What the workers count, one file a process."""
        return self.data / "metrics"


class EdgeKeys(msgspec.Struct, frozen=True):
    """The keys that all edges of an installation share, decoded."""

    session: bytes
    form: bytes
    lookup: bytes


def metrics_are_shared() -> bool:
    """Tell whether this process counts into files that it shares with others."""
    return METRICS_VARIABLE in os.environ


class EdgeSettings(msgspec.Struct, frozen=True):
    """
    Configuration, paths and keys of one edge; ``file_keys`` are those of its files at rest.

    ``known_versions`` is the newest version of each kind of body that it reads: its release's. ``pruning`` is how its
    journal is kept bounded.
    """

    config: EdgeConfig
    paths: EdgePaths
    keys: EdgeKeys
    file_keys: FileKeys = PLAIN
    known_versions: Mapping[str, int] = KNOWN_VERSIONS
    pruning: PruningSettings = PruningSettings()


def load_settings(
    config_file: Path,
    data: Path,
    *,
    port: int | None = None,
    workers: int | None = None,
    file_keys: FileKeys = PLAIN,
) -> EdgeSettings:
    """
    Read the configuration; ``port`` and ``workers`` replace what it says.

    ``file_keys`` are those that the edge's files at rest are under (`edge_portal.given_keys`).

    Raises:
        ConfigError: The file cannot be used.
    """
    try:
        config = read_config(config_file)
    except ConfigInvalid as invalid:
        raise ConfigError(str(invalid)) from invalid
    changes: dict[str, int] = {}
    if port is not None:
        changes["port"] = port
    if workers is not None:
        changes["workers"] = workers
    config = _with_redis(msgspec.structs.replace(config, **changes))
    if config.workers < 1:
        raise ConfigError("at least one worker is needed")
    try:
        check_addresses(config)
        link_to(config.tls, CORE_NODE_ID)
    except ConfigInvalid as invalid:
        raise ConfigError(str(invalid)) from invalid
    keys = EdgeKeys(
        session=_decode_key("session_key", config.session_key),
        form=_decode_key("form_key", config.form_key),
        lookup=_decode_key("lookup_key", config.lookup_key),
    )
    paths, pruning = EdgePaths(data.absolute()), PruningSettings()
    if config.journal_whole_hours is not msgspec.UNSET:
        pruning = msgspec.structs.replace(pruning, whole=config.journal_whole_hours * _HOUR_SECONDS)
    return EdgeSettings(config, paths, keys, file_keys, pruning=pruning)


def _with_redis(config: EdgeConfig) -> EdgeConfig:
    """Let the environment name what the configuration does not, and check it before anything is started."""
    url, feed = os.environ.get(REDIS_VARIABLE), os.environ.get(REDIS_FEED_VARIABLE)
    if config.redis is None and url:
        config = msgspec.structs.replace(config, redis=RedisReplica(url=url))
    if not config.redis_feed and feed:
        config = msgspec.structs.replace(config, redis_feed=feed)
    named = {"redis": config.redis.url if config.redis else "", "redis_feed": config.redis_feed}
    for name, address in named.items():
        try:
            if address:
                check_url(address)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from error
    return config


def read_secret(path: Path) -> str:
    """
    Read a secret that stands alone in a file.

    Raises:
        ConfigError: It cannot be read, or is empty.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {type(error).__name__}") from error
    if not secret:
        raise ConfigError(f"{path} is empty")
    return secret


def _decode_key(name: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise ConfigError(f"{name} is not base64") from error
    if len(key) < KEY_BYTES_MIN:
        raise ConfigError(f"{name} is too short")
    return key

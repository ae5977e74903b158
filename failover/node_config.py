"""
An edge's configuration file: written once by the core when the edge is registered, read by the edge at every start.

It holds the node's secrets, so it is mode 0600 and is never printed.
"""

import contextlib
import os
from pathlib import Path

import msgspec

from failover.errors import ConfigInvalid
from failover.standin import Limits

CORE_NODE_ID = "core"


class PeerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A sibling edge: where its peer API is, what it signs with (base64 Ed25519), the SHA-256 of its node secret.

    ``feed_url`` is where it passes documents on; empty when it does not. ``granted_shards`` are those that it may read,
    separated by commas; empty: all.
    """

    node_id: str
    url: str
    public_key: str
    secret_sha256: str
    feed_url: str = ""
    granted_shards: str = ""


class NodeTls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What a node shows to others and checks others with, as PEM text: its certificate and key, the fleet's authority.

    With it every call between nodes is TLS with certificates on both sides.
    """

    certificate: str
    private_key: str
    authority: str


class ProcessorAccess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The payment processor that this edge may charge saved methods at while the core is away.

    ``secret_file`` holds the account's key, alone in a file that only its owner reads. ``token_key`` (base64) opens the
    tokens that the core published for such edges. Of a call without an answer the processor is asked; what it does not
    know ``nothing_after_seconds`` later was never charged, and after ``horizon_seconds`` a person decides.
    """

    url: str
    secret_file: str
    token_key: str
    charge_seconds: float = 5.0
    pause_seconds: float = 30.0
    nothing_after_seconds: float = 120.0
    horizon_seconds: float = 24 * 3600.0


class RedisReplica(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A Redis that shares this edge's snapshot between many workers; the local snapshot stays and answers without it.

    ``url`` is ``redis://`` or ``rediss://``; ``cluster`` says that it is one of a Redis Cluster's nodes.
    ``read_seconds`` is how long a read may wait for it.
    """

    url: str
    cluster: bool = False
    read_seconds: float = 0.05


class Utility(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Whom customers turn to when the portal cannot help.

    ``timezone`` and ``currency`` serve pages that show no account; an account brings its own.
    """

    name: str
    phone: str = ""
    timezone: str = "UTC"
    currency: str = "USD"


class EdgeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Everything an edge must know before it has a snapshot.

    ``session_key``, ``form_key`` and ``lookup_key`` (base64) are shared by all edges of a fleet, so that what one edge
    issued works at every edge. ``signing_key`` is this node's own raw Ed25519 private key in base64.
    ``core_secret_sha256`` is the hash of the secret that the core shows when it calls this edge's peer API.
    ``retention_months`` serves wording only: what is held is decided by what the core publishes.

    ``shards`` is how many the core has, ``held_shards`` which of them this node holds (none named: all).
    ``upstreams`` names the nodes that documents are asked from, the preferred first; none named: the core, then the
    siblings. ``feed_port`` is where this node passes documents on to siblings; 0 where it does not. From
    ``snapshot_documents_min`` documents on it hands snapshot files out too.
    Every ``verify_hours`` it compares what it holds with the node above.
    ``processor`` is set only where this edge may charge saved methods itself.
    ``core_public_key`` (base64 Ed25519) is what the core signs snapshot files with. ``redis_feed`` is a Redis whose
    streams carry the core's feed. ``journal_whole_hours`` is how long the journal keeps whole what the core has
    decided, though a backup of the core covers it: a day where it is not set.
    """

    version: int = 1
    node_id: str
    node_secret: str
    signing_key: str
    core_url: str
    core_secret_sha256: str
    operator_token_sha256: str = ""
    session_key: str
    form_key: str
    lookup_key: str
    host: str = "127.0.0.1"
    port: int
    peer_port: int
    feed_port: int = 0
    workers: int = 2
    retention_months: int = 24
    utility: Utility
    peers: list[PeerConfig] = []
    standin: Limits = Limits()
    normal_min_seconds: float = 60.0
    insecure_cookies: bool = False
    core_public_key: str = ""
    shards: int = 1
    held_shards: list[str] = []
    upstreams: list[str] = []
    snapshot_documents_min: int = 50_000
    verify_hours: float = 24.0
    tls: NodeTls | None = None
    redis: RedisReplica | None = None
    processor: ProcessorAccess | None = None
    redis_feed: str = ""
    # Left out of what is written where it is not set, so that a release which does not know it reads the file.
    journal_whole_hours: float | msgspec.UnsetType = msgspec.UNSET


def read_config(path: Path) -> EdgeConfig:
    """
    Read an edge's configuration.

    Raises:
        ConfigInvalid: Missing, unreadable, or not what `EdgeConfig` asks for; says which, never a value.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=EdgeConfig)
    except OSError as error:
        raise ConfigInvalid(f"cannot read {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigInvalid(f"{path} is not an edge configuration: {error}") from error


def write_config(path: Path, config: EdgeConfig, *, overwrite: bool = False) -> None:
    """
    Write an edge's configuration, readable by its owner alone; complete or not at all.

    Raises:
        FileExistsError: There is one already and ``overwrite`` was not asked for: its keys would be lost.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        raise

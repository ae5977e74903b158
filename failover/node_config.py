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
    """A sibling edge: where its peer API is, what it signs with (base64 Ed25519), the SHA-256 of its node secret."""

    node_id: str
    url: str
    public_key: str
    secret_sha256: str


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
    workers: int = 2
    retention_months: int = 24
    utility: Utility
    peers: list[PeerConfig] = []
    standin: Limits = Limits()
    normal_min_seconds: float = 60.0
    insecure_cookies: bool = False


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

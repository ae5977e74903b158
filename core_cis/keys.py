"""The core's keys: made at first use, kept in one file that only its owner may read."""

import base64
import fcntl
import hmac
import os
import secrets
from datetime import datetime
from pathlib import Path

import msgspec

from core_cis.authority import issue_certificate, make_authority
from failover.node_config import NodeTls
from failover.signing import generate_signing_key, new_secret, public_key
from failover.token_seal import new_token_key

FILE_NAME = "secrets.json"
_KEY_BYTES = 32


class CoreKeys(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the core proves itself with, and what it hands to every edge of its fleet.

    ``operator_token`` opens the operator API; ``node_secret`` is what the core shows to edges; ``lookup_key``,
    ``session_key`` and ``form_key`` (base64) are shared by all edges, so that what one issued works at every other.
    ``signing_key`` (raw Ed25519 in base64) signs snapshot files and outcomes. ``token_key`` seals the tokens of saved
    methods for the edges that may charge them; empty where none may, and then no token is published. ``authority_key``
    and ``authority`` (PEM) are the fleet's certificate authority, which nodes' certificates are issued by.
    """

    operator_token: str
    node_secret: str
    lookup_key: str
    session_key: str
    form_key: str
    signing_key: str = ""
    token_key: str = ""
    authority_key: str = ""
    authority: str = ""

    def certify(self, node_id: str, now: datetime) -> NodeTls:
        """Make a node's certificate, with a new key."""
        return issue_certificate(self.authority_key, self.authority, node_id, now=now)

    @property
    def public_key(self) -> str:
        """What edges check the core's signatures with, base64."""
        return public_key(self.signing_key)

    @property
    def lookup_key_bytes(self) -> bytes:
        """The key under which e-mail addresses are hashed into document keys."""
        return base64.b64decode(self.lookup_key)

    @property
    def seal_key_bytes(self) -> bytes:
        """The key under which the core seals positions: derived from the one secret that no edge ever gets."""
        return hmac.digest(self.operator_token.encode(), b"ridethrough seal", "sha256")


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def has_keys(data_dir: Path) -> bool:
    """Tell whether a folder has its keys."""
    return (data_dir / FILE_NAME).exists()


def load_keys(data_dir: Path) -> CoreKeys:
    """
    Read the core's keys, making them first when there are none.

    Two processes that start at once get the same keys: the file appears whole, and only once. A key that an older
    release did not make is added.
    """
    path = data_dir / FILE_NAME
    with (data_dir / f"{FILE_NAME}.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            keys = CoreKeys(
                operator_token=new_secret(),
                node_secret=new_secret(),
                lookup_key=_new_key(),
                session_key=_new_key(),
                form_key=_new_key(),
            )
        else:
            keys = msgspec.json.decode(path.read_bytes(), type=CoreKeys)
        complete = _completed(keys)
        if complete is not keys:
            write_private(path, msgspec.json.format(msgspec.json.encode(complete)))
        return complete


def _completed(keys: CoreKeys) -> CoreKeys:
    """Add the keys that are not there yet."""
    if not keys.signing_key:
        keys = msgspec.structs.replace(keys, signing_key=generate_signing_key())
    if not keys.authority:
        key, authority = make_authority()
        keys = msgspec.structs.replace(keys, authority_key=key, authority=authority)
    return keys


def share_tokens(data_dir: Path) -> bool:
    """
    Have tokens published from now on, sealed with a key that is made here once.

    Returns:
        Whether it was made now: then every account is to be published again.
    """
    load_keys(data_dir)
    path = data_dir / FILE_NAME
    with (data_dir / f"{FILE_NAME}.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = msgspec.json.decode(path.read_bytes(), type=CoreKeys)
        if keys.token_key:
            return False
        keys = msgspec.structs.replace(keys, token_key=new_token_key())
        write_private(path, msgspec.json.format(msgspec.json.encode(keys)))
        return True


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 that appears whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)

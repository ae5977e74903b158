"""
Who recorded an intent, provably; and the secrets with which nodes show who they are.

An intent carries the Ed25519 signature of the edge that recorded it, so that any registered edge may deliver it and
none can invent one in another's name. An outcome carries the core's, so that any edge may pass it on and none can make
one up.
"""

import base64
import hashlib
import os
from collections.abc import Callable
from functools import lru_cache

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from failover.errors import ConfigInvalid
from failover.intents import Intent, Outcome, fingerprint_of, has_its_own_body, intent_id
from failover.peer_messages import Summary

KEY_BYTES = 32


def generate_signing_key(random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """Make a private signing key: 32 raw bytes in base64."""
    return base64.b64encode(random_bytes(KEY_BYTES)).decode()


def new_secret(random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """Make a secret or token that can stand in a header: 256 bits, URL-safe."""
    return base64.urlsafe_b64encode(random_bytes(KEY_BYTES)).decode().rstrip("=")


def secret_hash(secret: str) -> str:
    """Hash a secret as its receiver stores it: hex SHA-256 (secrets are random, so no slow hash is needed)."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _private(signing_key: str) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(signing_key, validate=True))
    except ValueError as error:
        raise ConfigInvalid("signing_key is not a raw Ed25519 key in base64") from error


def public_key(signing_key: str) -> str:
    """
    Derive the public half of a signing key, raw, in base64.

    Raises:
        ConfigInvalid: Not a signing key.
    """
    return base64.b64encode(_private(signing_key).public_key().public_bytes_raw()).decode()


def sign_bytes(signing_key: str, content: bytes) -> bytes:
    """
    Sign bytes; returns the raw signature.

    Raises:
        ConfigInvalid: Not a signing key.
    """
    return _private(signing_key).sign(content)


def is_signed(content: bytes, signature: bytes, key: str) -> bool:
    """Tell whether the holder of public ``key`` (base64) signed these bytes."""
    try:
        _public(key).verify(signature, content)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=256)
def _public(key: str) -> Ed25519PublicKey:
    # The same few nodes sign everything.
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True))


class Signer:
    """Signs what this node records."""

    def __init__(self, signing_key: str) -> None:
        self._key = _private(signing_key)

    def sign(self, intent: Intent) -> Intent:
        """Return the intent with this node's signature."""
        return msgspec.structs.replace(intent, signature=self._signature(intent.signed_bytes()))

    def sign_outcome(self, outcome: Outcome) -> Outcome:
        """Return the outcome with this node's signature, which is worth something when this is the core."""
        return msgspec.structs.replace(outcome, signature=self._signature(outcome.signed_bytes()))

    def sign_summary(self, summary: Summary) -> Summary:
        """Return the summary with this node's signature."""
        return msgspec.structs.replace(summary, signature=self._signature(summary.signed_bytes()))

    def _signature(self, content: bytes) -> str:
        return base64.b64encode(self._key.sign(content)).decode()


def is_consistent(intent: Intent) -> bool:
    """Tell whether id and fingerprint follow from the intent's own fields, and the body is the one that was signed."""
    return (
        intent.intent_id == intent_id(intent.account_id, intent.idempotency_key)
        and intent.fingerprint == fingerprint_of(intent)
        and has_its_own_body(intent)
        and (intent.is_payment or intent.kind == "promise")
    )


def verify(intent: Intent, key: str) -> bool:
    """Tell whether the holder of public ``key`` (base64) signed this intent, and the intent agrees with itself."""
    return _is_signed(intent, key) and is_consistent(intent)


def verify_outcome(outcome: Outcome, core_key: str) -> bool:
    """Tell whether the core, whose public key this is (base64), decided this; nothing is believed without a key."""
    return _is_signed(outcome, core_key)


def verify_summary(summary: Summary, key: str) -> bool:
    """Tell whether the holder of public ``key`` (base64) said this of its own node."""
    return _is_signed(summary, key)


def _is_signed(signed: Intent | Outcome | Summary, key: str) -> bool:
    try:
        signature = base64.b64decode(signed.signature, validate=True)
    except ValueError:
        return False
    return is_signed(signed.signed_bytes(), signature, key)

"""
Tokens of saved methods on their way to the edges that may charge them, sealed for those alone.

The core seals with a key that only edges within the card rules' scope are given; snapshots, Redis and every other edge
hold what they cannot read. Sealing is deterministic, so that publishing an account again changes nothing.
"""

import base64
import binascii
import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

KEY_BYTES = 64


def new_token_key(random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """Make a key, base64."""
    return base64.b64encode(random_bytes(KEY_BYTES)).decode()


class TokenSeal:
    """Seals and opens tokens under one key (base64). Raises `ValueError` for what is no key."""

    def __init__(self, key: str) -> None:
        self._cipher = AESSIV(base64.b64decode(key, validate=True))

    def seal(self, token: str, *, account_id: str, method_id: str) -> str:
        """Seal a token for one method of one account."""
        sealed = self._cipher.encrypt(token.encode(), [account_id.encode(), method_id.encode()])
        return base64.b64encode(sealed).decode()

    def open(self, sealed: str, *, account_id: str, method_id: str) -> str | None:
        """Open a sealed token; None when it is another method's, or sealed under another key."""
        try:
            content = base64.b64decode(sealed, validate=True)
            named = [account_id.encode(), method_id.encode()]
            return self._cipher.decrypt(content, named).decode()
        except (InvalidTag, binascii.Error, ValueError):
            return None

"""
The key of a form: made when the form is shown, tied to its account, the same however often it is sent.

The random part is the idempotency key of the payment or message, so that a form sent twice, or to two edges, is one.
The keyed hash ties it to the account and to this installation; nothing is stored.
"""

import hmac
from collections.abc import Callable
from typing import Final

_RANDOM_BYTES: Final = 16
_MAC_LENGTH: Final = 32


class FormKeys:
    """Makes and checks form keys under the key that all edges of an installation share."""

    def __init__(self, key: bytes, random_bytes: Callable[[int], bytes]) -> None:
        self._key = key
        self._random_bytes = random_bytes

    def new(self, account_id: str) -> str:
        """Make the key for a form that is about to be shown: ``random.hash``."""
        random = self._random_bytes(_RANDOM_BYTES).hex()
        return f"{random}.{self._mac(account_id, random)}"

    def check(self, account_id: str, key: str) -> str | None:
        """Return the idempotency key inside; None when it was not made here for this account."""
        random, dot, mac = key.partition(".")
        expected = self._mac(account_id, random)
        if not dot or not hmac.compare_digest(mac.encode(), expected.encode()):
            return None
        return random

    def salt(self, account_id: str, idempotency_key: str) -> str:
        """
        Make the salt of a message's body: the same at every edge for the same key, and told by no other means.

        Without it the hash that stays of a body cannot be guessed back into what was said.
        """
        message = _prefixed(account_id) + b"salt" + idempotency_key.encode()
        return hmac.new(self._key, message, "sha256").hexdigest()[:_MAC_LENGTH]

    def _mac(self, account_id: str, random: str) -> str:
        message = _prefixed(account_id) + random.encode()
        return hmac.new(self._key, message, "sha256").hexdigest()[:_MAC_LENGTH]


def _prefixed(account_id: str) -> bytes:
    account = account_id.encode()
    return len(account).to_bytes(4, "big") + account

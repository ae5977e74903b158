"""
Who is signed in at the console: a cookie that says the operator's name and until when, under the core's own key.

It is recorded nowhere: it ends by itself, at sign-out in this browser, and for everybody when the operators' token is
changed.
"""

import base64
import binascii
import hmac
from datetime import datetime, timedelta
from typing import Final

import msgspec

from core_cis.keys import CoreKeys

SECONDS: Final = 30 * 60
SECONDS_MAX: Final = 8 * 3600
NAME_LENGTH_MAX: Final = 80


class Session(msgspec.Struct, frozen=True):
    """An operator's sign-in: the name that goes into the audit log, when it began, when it ends."""

    operator: str
    began_at: datetime
    ends_at: datetime
    csrf: str = ""


class Sessions:
    """
    Issues and reads cookies.

    Args:
        keys: The core's.
    """

    def __init__(self, keys: CoreKeys) -> None:
        token = keys.operator_token.encode()
        self._key = hmac.digest(token, b"ridethrough console", "sha256")
        self._csrf_key = hmac.digest(token, b"ridethrough console form", "sha256")

    def issue(self, operator: str, began_at: datetime, now: datetime) -> str:
        """Write a cookie for an operator who signed in at ``began_at`` and is here now."""
        ends_at = min(now + timedelta(seconds=SECONDS), began_at + timedelta(seconds=SECONDS_MAX))
        body = msgspec.json.encode([operator, began_at, ends_at])
        return f"{_text(body)}.{_text(hmac.digest(self._key, body, 'sha256'))}"

    def read(self, cookie: str | None, now: datetime) -> Session | None:
        """Read a cookie; None when it is not ours or has ended."""
        body_text, _, mark = (cookie or "").partition(".")
        try:
            body, mac = _bytes(body_text), _bytes(mark)
        except (binascii.Error, ValueError):
            return None
        if not hmac.compare_digest(hmac.digest(self._key, body, "sha256"), mac):
            return None
        operator, began_at, ends_at = msgspec.json.decode(body, type=tuple[str, datetime, datetime])
        if not began_at <= now < ends_at:
            return None
        # Renewed cookies keep their forms: the token is of the sign-in.
        of_sign_in = msgspec.json.encode([operator, began_at])
        csrf = hmac.digest(self._csrf_key, of_sign_in, "sha256").hex()
        return Session(operator, began_at, ends_at, csrf)


def operator_name(text: str) -> str:
    """Tidy a name as it goes into the audit log: one line, no more than `NAME_LENGTH_MAX`; empty when it is none."""
    return " ".join("".join(letter for letter in text if letter.isprintable()).split())[
        :NAME_LENGTH_MAX
    ]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)

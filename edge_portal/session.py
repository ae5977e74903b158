"""
Sign-in tokens: keyed-hash, verified from the snapshot alone, valid at every edge that shares the key.

A token names the customer, the accounts and the version of the credential it was issued for; every use checks it
against the credential document that this edge holds now, so that a change of password or a revocation ends it as
soon as the document arrives. Expiry is in core time: a skewed clock neither ends nor prolongs it.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from cache_sync.documents import CredentialBody
from cache_sync.frames import Position
from edge_portal.errors import NotFound, NotSignedIn

IDLE_LIFETIME: Final = timedelta(hours=2)
TOTAL_LIFETIME: Final = timedelta(hours=12)
RENEW_AFTER: Final = timedelta(minutes=10)
TOKEN_LENGTH_MAX: Final = 4096


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """
    A signed-in customer, checked against the snapshot's current credential.

    ``account_id`` is the account being looked at, one of ``account_ids``. ``csrf`` goes into every form of this
    session; ``renew`` says that the token is old enough for the cookie to be replaced by `Portal.renew`.
    """

    customer_id: str
    account_id: str
    account_ids: list[str]
    credential_key: str
    credential_version: int
    session_id: str
    signed_in_at: datetime
    expires_at: datetime
    csrf: str
    renew: bool = False


class _Claims(msgspec.Struct, frozen=True, array_like=True):
    customer_id: str
    account_id: str
    account_ids: list[str]
    credential_key: str
    credential_version: int
    session_id: str
    signed_in_at: datetime
    expires_at: datetime


class Tokens:
    """Issues and checks tokens under the key that all edges of an installation share."""

    def __init__(self, key: bytes) -> None:
        self._token_key = _derive(key, b"session token")
        self._csrf_key = _derive(key, b"form of a session")
        self._position_key = _derive(key, b"position cookie")
        self._decoder = msgspec.msgpack.Decoder(_Claims)

    def issue(
        self, credential_key: str, credential: CredentialBody, *, now: datetime, session_id: str
    ) -> str:
        """
        Issue a token for the first of a credential's accounts.

        ``now`` is core time; ``session_id`` random text that ties the session's forms to it.
        """
        claims = _Claims(
            credential.customer_id,
            credential.account_ids[0],
            credential.account_ids,
            credential_key,
            credential.credential_version,
            session_id,
            now,
            now + IDLE_LIFETIME,
        )
        return self._seal(claims)

    def renew(self, session: Session, *, now: datetime, account_id: str | None = None) -> str:
        """
        Issue a token with a fresh expiry for the same session, never beyond the total lifetime of a sign-in.

        ``account_id`` switches to another of the session's accounts. Raises `NotFound` when it is not one.
        """
        chosen = session.account_id if account_id is None else account_id
        if chosen not in session.account_ids:
            raise NotFound("no such account")
        claims = _Claims(
            session.customer_id,
            chosen,
            session.account_ids,
            session.credential_key,
            session.credential_version,
            session.session_id,
            session.signed_in_at,
            min(now + IDLE_LIFETIME, session.signed_in_at + TOTAL_LIFETIME),
        )
        return self._seal(claims)

    def check(
        self,
        token: str | None,
        *,
        now: datetime,
        credential_of: Callable[[str], CredentialBody | None],
    ) -> Session:
        """
        Check a token against core time and the credential that this edge holds.

        A token issued for a newer credential than this edge holds is believed: another edge was ahead.

        Raises:
            NotSignedIn: With the reason, for counters.
        """
        if not token:
            raise NotSignedIn("missing")
        claims = self._open(token)
        if claims is None:
            raise NotSignedIn("forged")
        if claims.expires_at <= now:
            raise NotSignedIn("expired")
        credential = credential_of(claims.credential_key)
        if (
            credential is None
            or credential.status != "active"
            or credential.customer_id != claims.customer_id
            or credential.credential_version > claims.credential_version
        ):
            raise NotSignedIn("revoked")
        behind = credential.credential_version < claims.credential_version
        account_ids = claims.account_ids if behind else credential.account_ids
        if claims.account_id not in account_ids:
            raise NotSignedIn("revoked")
        return Session(
            customer_id=claims.customer_id,
            account_id=claims.account_id,
            account_ids=account_ids,
            credential_key=claims.credential_key,
            credential_version=claims.credential_version,
            session_id=claims.session_id,
            signed_in_at=claims.signed_in_at,
            expires_at=claims.expires_at,
            csrf=_mac(self._csrf_key, claims.session_id.encode()),
            renew=claims.expires_at - now < IDLE_LIFETIME - RENEW_AFTER,
        )

    def write_positions(self, positions: Iterable[Position]) -> str:
        """Write positions as a cookie value that only this installation can have written."""
        text = "+".join(str(position) for position in positions)
        return f"{text}~{_mac(self._position_key, text.encode())}"

    def read_positions(self, value: str) -> tuple[Position, ...]:
        """Read a position cookie; empty when this installation did not write it."""
        text, _, mac = value.partition("~")
        if not hmac.compare_digest(mac.encode(), _mac(self._position_key, text.encode()).encode()):
            return ()
        return tuple(
            position for one in text.split("+") if (position := Position.parse(one)) is not None
        )

    def _seal(self, claims: _Claims) -> str:
        payload = msgspec.msgpack.encode(claims)
        mac = hmac.digest(self._token_key, payload, "sha256")
        return base64.urlsafe_b64encode(mac + payload).rstrip(b"=").decode()

    def _open(self, token: str) -> _Claims | None:
        if len(token) > TOKEN_LENGTH_MAX:
            return None
        try:
            sealed = base64.b64decode(
                token + "=" * (-len(token) % 4), altchars=b"-_", validate=True
            )
        except (ValueError, binascii.Error):
            return None
        mac, payload = sealed[:32], sealed[32:]
        if not hmac.compare_digest(mac, hmac.digest(self._token_key, payload, "sha256")):
            return None
        try:
            return self._decoder.decode(payload)
        except msgspec.DecodeError:
            return None


def _derive(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, b"ridethrough " + purpose, "sha256")


def _mac(key: bytes, message: bytes) -> str:
    return hmac.new(key, message, hashlib.sha256).hexdigest()[:32]

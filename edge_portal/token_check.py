"""Checks sign-in tokens against the credentials of the snapshot."""

from typing import NamedTuple

from cache_sync.documents import CredentialBody
from edge_portal.errors import NotHeldHere
from edge_portal.session import Session, Tokens
from edge_portal.snapshot import OneReading, Reading, Snapshot, core_time, read_credential


class _Checked(NamedTuple):
    """A token that was found good, and the very transaction that it was checked in."""

    source: Reading
    token: str | None
    session: Session


class TokenCheck:
    """
    Checks tokens; the last one is remembered for as long as its transaction lasts, as a request asks twice.

    Args:
        tokens: Tells whether a token is one.
        snapshot: Tells whether this node holds every credential that there is.
    """

    def __init__(self, tokens: Tokens, snapshot: Snapshot) -> None:
        self._tokens = tokens
        self._snapshot = snapshot
        self._last: _Checked | None = None

    def check(self, reading: OneReading, token: str | None) -> Session:
        """Check a token against what was read. Raises `NotSignedIn`; `NotHeldHere`."""
        now = core_time(reading.state())
        last = self._last
        if (
            last is not None
            and last.source is reading.source
            and last.token == token
            and now < last.session.expires_at
        ):
            return last.session
        session = self._tokens.check(
            token, now=now, credential_of=lambda key: self._credential_in(reading, key)
        )
        self._last = _Checked(reading.source, token, session)
        return session

    def _credential_in(self, reading: Reading, key: str) -> CredentialBody | None:
        found = read_credential(reading, key)
        if found is None and not self._snapshot.are_all:
            # Whether it was withdrawn, or lies in a shard that is not here, only another node can tell.
            raise NotHeldHere
        return found

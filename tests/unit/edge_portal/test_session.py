"""Tokens are checked by key, core time and the credential that this edge holds."""

from datetime import datetime, timedelta

import pytest

from cache_sync.documents import CredentialBody
from cache_sync.frames import Position
from edge_portal.errors import NotFound, NotSignedIn
from edge_portal.session import IDLE_LIFETIME, TOTAL_LIFETIME, Session, Tokens
from tests.unit.edge_portal.edge_world import AS_OF

TOKENS = Tokens(b"k" * 32)


def credential(version: int = 1, **changes: str) -> CredentialBody:
    """Build a credential of two accounts."""
    return CredentialBody(
        customer_id=changes.get("customer_id", "C-1"),
        account_ids=["A-1", "A-3"],
        verifier="",
        credential_version=version,
        status="active" if changes.get("status", "active") == "active" else "revoked",
    )


def check(token: str | None, held: CredentialBody | None, now: datetime = AS_OF) -> Session:
    """Check a token against what this edge holds."""
    return TOKENS.check(token, now=now, credential_of=lambda _: held)


def issue(held: CredentialBody) -> str:
    """Issue a token."""
    return TOKENS.issue("cred", held, now=AS_OF, session_id="s")


def refusal(token: str | None, held: CredentialBody | None, now: datetime = AS_OF) -> str:
    """Return why a token is refused."""
    with pytest.raises(NotSignedIn) as refused:
        check(token, held, now)
    return refused.value.reason


def test_a_token_of_one_edge_works_at_another_with_the_same_key() -> None:
    """And names the first account."""
    session = Tokens(b"k" * 32).check(
        issue(credential()), now=AS_OF, credential_of=lambda _: credential()
    )
    assert (session.customer_id, session.account_id) == ("C-1", "A-1")
    assert session.account_ids == ["A-1", "A-3"]


def test_every_changed_character_makes_a_token_forged() -> None:
    """Also one issued under another key, and plain rubbish."""
    token = issue(credential())
    for place in range(0, len(token) - 1, 7):
        changed = "A" if token[place] != "A" else "B"
        assert refusal(token[:place] + changed + token[place + 1 :], credential()) == "forged"
    other = Tokens(b"x" * 32).issue("cred", credential(), now=AS_OF, session_id="s")
    for rubbish in (other, "x", "é", "a" * 5000, token + "?", token[:50]):
        assert refusal(rubbish, credential()) == "forged"
    assert refusal(None, credential()) == "missing"
    assert refusal("", credential()) == "missing"


def test_a_token_expires_in_core_time() -> None:
    """Valid until its last second."""
    token = issue(credential())
    check(token, credential(), AS_OF + IDLE_LIFETIME - timedelta(seconds=1))
    assert refusal(token, credential(), AS_OF + IDLE_LIFETIME) == "expired"


def test_a_newer_or_revoked_credential_ends_a_token() -> None:
    """As soon as the document is here."""
    token = issue(credential())
    assert refusal(token, credential(2)) == "revoked"
    assert refusal(token, credential(status="revoked")) == "revoked"
    assert refusal(token, None) == "revoked"
    assert refusal(token, credential(customer_id="C-2")) == "revoked"


def test_a_token_from_an_edge_that_is_ahead_is_believed() -> None:
    """This edge holds version 1, the token was issued for version 2."""
    assert check(issue(credential(2)), credential(1)).account_id == "A-1"


def test_an_account_that_was_taken_away_cannot_be_looked_at() -> None:
    """Even when the credential's version stayed."""
    held = CredentialBody(customer_id="C-1", account_ids=["A-3"], verifier="", credential_version=1)
    assert refusal(issue(credential()), held) == "revoked"


def test_renewal_slides_but_never_beyond_the_total() -> None:
    """A session ends half a day after its sign-in, however busy."""
    token, now = issue(credential()), AS_OF
    for _ in range(20):
        now += timedelta(minutes=90)
        if now >= AS_OF + TOTAL_LIFETIME:
            assert refusal(token, credential(), now) == "expired"
            return
        session = check(token, credential(), now)
        assert session.renew
        token = TOKENS.renew(session, now=now)
    pytest.fail("never expired")


def test_switching_keeps_the_session_and_refuses_strangers() -> None:
    """Forms shown before stay valid; an account of somebody else does not exist."""
    session = check(issue(credential()), credential())
    switched = check(TOKENS.renew(session, now=AS_OF, account_id="A-3"), credential())
    assert (switched.account_id, switched.csrf) == ("A-3", session.csrf)
    with pytest.raises(NotFound):
        TOKENS.renew(session, now=AS_OF, account_id="A-2")


def test_only_positions_of_this_installation_are_believed() -> None:
    """A cookie left behind by another one on the same host is not."""
    positions = (Position(3, "0", 77), Position(3, "12", 5))
    written = TOKENS.write_positions(positions)
    assert TOKENS.read_positions(written) == positions
    assert Tokens(b"x" * 32).read_positions(written) == ()
    for rubbish in ("", "3.0.77", written.replace("77", "78"), "é~é"):
        assert TOKENS.read_positions(rubbish) == ()

"""Sealed tokens: equal every time, opened with the key and for the method that they were sealed for."""

import pytest

from failover.token_seal import TokenSeal, new_token_key

NAMED = {"account_id": "A-1", "method_id": "pm-1"}


def test_opens_what_it_sealed_and_seals_the_same_again() -> None:
    """Publishing an account again must not change its document."""
    seal = TokenSeal(new_token_key())
    sealed = seal.seal("tok_1", **NAMED)
    assert "tok_1" not in sealed
    assert sealed == seal.seal("tok_1", **NAMED)
    assert seal.open(sealed, **NAMED) == "tok_1"


def test_another_key_method_or_account_opens_nothing() -> None:
    """A sealed token cannot be moved to another method, nor read without the key."""
    seal = TokenSeal(new_token_key())
    sealed = seal.seal("tok_1", **NAMED)
    assert TokenSeal(new_token_key()).open(sealed, **NAMED) is None
    assert seal.open(sealed, account_id="A-2", method_id="pm-1") is None
    assert seal.open(sealed, account_id="A-1", method_id="pm-2") is None
    assert seal.open("not base64!", **NAMED) is None
    assert seal.open("", **NAMED) is None


def test_what_is_no_key_is_refused() -> None:
    """At the start, not at the first payment."""
    with pytest.raises(ValueError, match="key"):
        TokenSeal("c2hvcnQ=")

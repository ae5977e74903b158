"""Documents and their keys."""

from cache_sync.documents import BODY_TYPES, ArchiveBody, encode_body, sign_in_key


def test_sign_in_key_knows_an_address_however_it_is_typed_and_does_not_tell_it() -> None:
    """Case and surrounding space do not matter; another fleet's key gives another document key."""
    key = sign_in_key(b"k" * 32, "Ann@Example.org")
    assert key == sign_in_key(b"k" * 32, "  ann@example.ORG ")
    assert key != sign_in_key(b"o" * 32, "ann@example.org")
    assert "ann" not in key


def test_every_kind_has_its_body() -> None:
    """A body is found by its kind and encodes to JSON."""
    assert BODY_TYPES["archive"] is ArchiveBody
    assert encode_body(ArchiveBody(account_id="a", statements=[])).startswith(b"{")

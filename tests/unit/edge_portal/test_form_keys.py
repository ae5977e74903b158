"""A payment form's key is tied to its account and makes one payment however often it is sent."""

import random

from edge_portal.form_keys import FormKeys

KEYS = FormKeys(b"f" * 32, random.Random(1).randbytes)


def test_the_idempotency_key_is_the_random_part() -> None:
    """The same at every edge with the same key."""
    key = KEYS.new("A-1")
    inside = FormKeys(b"f" * 32, random.Random(2).randbytes).check("A-1", key)
    assert inside == key.partition(".")[0]


def test_two_forms_have_two_keys() -> None:
    """Otherwise a second payment would be taken for the first."""
    assert KEYS.new("A-1") != KEYS.new("A-1")


def test_a_key_of_another_account_or_installation_is_refused() -> None:
    """So is every shape of rubbish."""
    key = KEYS.new("A-1")
    assert KEYS.check("A-2", key) is None
    assert FormKeys(b"x" * 32, random.Random(2).randbytes).check("A-1", key) is None
    for rubbish in ("", ".", key[:-1], key.replace(".", ""), "é." + key, key.upper()):
        assert KEYS.check("A-1", rubbish) is None

"""Ids that are derived, and what they cover."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from failover.intents import RECEIPT_ALPHABET, fingerprint, intent_id, receipt_number

PAYMENT = {"account_id": "A-1", "type_": "payment", "currency": "USD", "method_id": "M-1"}


def test_the_id_is_the_same_everywhere_for_ever() -> None:
    """A known pair gives a known UUID: changing the derivation would pay every open payment again."""
    assert intent_id("A-1", "key-1") == "d1c19af1-8f24-8813-879c-3d6be82d0776"


@given(st.text(), st.text(), st.text(), st.text())
def test_parts_cannot_be_shifted_into_each_other(a: str, b: str, c: str, d: str) -> None:
    """Account and key are length-prefixed: two different pairs never give one id by concatenation."""
    assert (intent_id(a, b) == intent_id(c, d)) == ((a, b) == (c, d))
    assert uuid.UUID(intent_id(a, b)).version == 8


def test_the_fingerprint_covers_what_must_not_change() -> None:
    """Account, type, amount, currency and method, each by itself."""
    base = fingerprint(amount_cents=5, **PAYMENT)
    changed = {fingerprint(amount_cents=5, **{**PAYMENT, field: "other"}) for field in PAYMENT}
    assert len({base, fingerprint(amount_cents=6, **PAYMENT), *changed}) == 6


@given(st.uuids())
def test_a_receipt_number_can_be_read_out(id_: uuid.UUID) -> None:
    """Two groups of four without look-alikes, always the same for an id."""
    first, second = receipt_number(str(id_)).split("-")
    assert len(first) == len(second) == 4
    assert set(first + second) <= set(RECEIPT_ALPHABET)
    assert receipt_number(str(id_)) == receipt_number(str(id_))

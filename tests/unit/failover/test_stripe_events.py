"""Events of a processor: believed with a fresh signature only, and read for what they say of a charge."""

import msgspec
import pytest

from chaos.processor import sign_event
from failover.processor import Captured, Declined
from failover.stripe_events import TOLERANCE_SECONDS, is_genuine, read_event

SECRET, NOW = "whsec_1", 1_773_154_800
CHARGE = {
    "id": "ch_1",
    "status": "succeeded",
    "amount": 2500,
    "currency": "usd",
    "metadata": {"intent_id": "i1"},
}


def event(type_: str = "charge.succeeded", **changes: object) -> bytes:
    """Make an event."""
    return msgspec.json.encode({"id": "e", "type": type_, "data": {"object": CHARGE | changes}})


def test_believes_a_fresh_signature_only() -> None:
    """Not another's, not an old one, not one of other bytes, and none at all without a secret."""
    payload = event()
    header = sign_event(SECRET, payload, NOW)
    assert is_genuine(payload, header, SECRET, now_seconds=NOW + TOLERANCE_SECONDS)
    assert is_genuine(payload, header + ",v1=00", SECRET, now_seconds=NOW)
    assert not is_genuine(payload, header, SECRET, now_seconds=NOW + TOLERANCE_SECONDS + 1)
    assert not is_genuine(payload, header, "whsec_2", now_seconds=NOW)
    assert not is_genuine(payload + b" ", header, SECRET, now_seconds=NOW)
    assert not is_genuine(payload, sign_event("", payload, NOW), "", now_seconds=NOW)


@pytest.mark.parametrize("header", ["", "t=,v1=", "t=x,v1=00", "v1=00", "t=9" + "9" * 20, "t=²"])
def test_a_malformed_signature_is_none(header: str) -> None:
    """And raises nothing."""
    assert not is_genuine(event(), header, SECRET, now_seconds=NOW)


def test_reads_what_became_of_a_charge() -> None:
    """By the reference that it was charged with."""
    found = read_event(event())
    assert found is not None
    assert found == ("i1", Captured(charge_id="ch_1", amount_cents=2500, currency="USD"))
    failed = read_event(event("charge.failed", status="failed", failure_code="expired_card"))
    assert failed == ("i1", Declined("expired"))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"\xff",
        event("payout.paid"),
        event(metadata={}),
        event(metadata=None),
        event(amount="much"),
        event(currency=None, amount=None),
    ],
)
def test_what_says_nothing_of_a_charge_of_ours_is_nothing(payload: bytes) -> None:
    """Foreign, broken and half events are passed over."""
    assert read_event(payload) is None

"""Signatures and secrets."""

import random
from datetime import UTC, datetime

import msgspec
import pytest

from failover.errors import ConfigInvalid
from failover.intents import Intent, fingerprint, intent_id
from failover.signing import (
    Signer,
    generate_signing_key,
    new_secret,
    public_key,
    secret_hash,
    verify,
)

RANDOM = random.Random(5)
KEY = generate_signing_key(RANDOM.randbytes)
INTENT = Intent(
    intent_id=intent_id("A-1", "k"),
    fingerprint=fingerprint(
        account_id="A-1", type_="payment", amount_cents=5, currency="USD", method_id="M"
    ),
    account_id="A-1",
    amount_cents=5,
    currency="USD",
    method_id="M",
    idempotency_key="k",
    accepted_at=datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC),
    edge_id="east",
    incarnation="i",
    ordinal=1,
)


def test_a_signature_survives_every_encoding() -> None:
    """Through msgpack and JSON and back it still holds: instants and all."""
    signed = Signer(KEY).sign(INTENT)
    for decoded in (
        msgspec.msgpack.decode(msgspec.msgpack.encode(signed), type=Intent),
        msgspec.json.decode(msgspec.json.encode(signed), type=Intent),
    ):
        assert decoded == signed
        assert verify(decoded, public_key(KEY))


@pytest.mark.parametrize(
    "change",
    [
        {"amount_cents": 6},
        {"account_id": "A-2"},
        {"idempotency_key": "other"},
        {"accepted_at": datetime(2026, 3, 2, tzinfo=UTC)},
        {"ordinal": 2},
        {"not_after": datetime(2026, 3, 2, tzinfo=UTC)},
        {"signature": ""},
        {"signature": "====="},
    ],
)
def test_any_change_breaks_it(change: dict[str, object]) -> None:
    """Every field is covered."""
    assert not verify(msgspec.structs.replace(Signer(KEY).sign(INTENT), **change), public_key(KEY))


def test_a_signed_intent_must_agree_with_itself() -> None:
    """A rightly signed id or fingerprint that does not follow from the content is refused."""
    for change in ({"intent_id": intent_id("A-1", "other")}, {"fingerprint": "0" * 64}):
        lying = Signer(KEY).sign(msgspec.structs.replace(INTENT, **change))
        assert not verify(lying, public_key(KEY))


def test_another_key_and_a_broken_one_do_not_verify() -> None:
    """Nor do they raise."""
    signed = Signer(KEY).sign(INTENT)
    assert not verify(signed, public_key(generate_signing_key(RANDOM.randbytes)))
    assert not verify(signed, "nonsense")
    with pytest.raises(ConfigInvalid):
        Signer("nonsense")


def test_secrets_are_long_and_stored_as_hashes() -> None:
    """256 bits, safe in a header."""
    secret = new_secret(RANDOM.randbytes)
    assert len(secret) == 43
    assert ":" not in secret
    assert len(secret_hash(secret)) == 64
    assert new_secret(RANDOM.randbytes) != secret

"""Signatures and secrets."""

import random
from datetime import UTC, date, datetime

import msgspec
import pytest

from failover.errors import ConfigInvalid
from failover.intents import Intent, Outcome, fingerprint, intent_id
from failover.signing import (
    Signer,
    generate_signing_key,
    new_secret,
    public_key,
    secret_hash,
    verify,
    verify_outcome,
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


OUTCOME = Outcome(
    intent_id=INTENT.intent_id,
    fingerprint=INTENT.fingerprint,
    state="posted",
    accepted_at=INTENT.accepted_at,
    decided_at=datetime(2026, 3, 1, 13, tzinfo=UTC),
    value_date=date(2026, 3, 1),
    epoch=1,
    shard="0",
    seq=7,
)


def test_an_outcome_signed_by_the_core_survives_every_encoding() -> None:
    """As it travels, as a journal keeps it, and as a receipt tells it."""
    signed = Signer(KEY).sign_outcome(OUTCOME)
    for encoded in (
        msgspec.msgpack.decode(msgspec.msgpack.encode(signed), type=Outcome),
        msgspec.json.decode(msgspec.json.encode(signed), type=Outcome),
    ):
        assert verify_outcome(encoded, public_key(KEY))


@pytest.mark.parametrize(
    "change",
    [
        {"intent_id": intent_id("A-1", "other")},
        {"fingerprint": "0" * 64},
        {"state": "rejected"},
        {"accepted_at": None},
        {"decided_at": datetime(2026, 3, 2, tzinfo=UTC)},
        {"value_date": date(2026, 3, 2)},
        {"reason": "because"},
        {"case_number": "C-1"},
        {"epoch": 2},
        {"shard": "1"},
        {"seq": 8},
        {"signature": ""},
        {"signature": "====="},
    ],
)
def test_any_change_to_an_outcome_breaks_it(change: dict[str, object]) -> None:
    """Every field is covered."""
    signed = Signer(KEY).sign_outcome(OUTCOME)
    assert not verify_outcome(msgspec.structs.replace(signed, **change), public_key(KEY))


def test_without_the_cores_key_no_outcome_is_believed() -> None:
    """Nor with another's."""
    signed = Signer(KEY).sign_outcome(OUTCOME)
    assert not verify_outcome(signed, "")
    assert not verify_outcome(signed, public_key(generate_signing_key(RANDOM.randbytes)))


def test_secrets_are_long_and_stored_as_hashes() -> None:
    """256 bits, safe in a header."""
    secret = new_secret(RANDOM.randbytes)
    assert len(secret) == 43
    assert ":" not in secret
    assert len(secret_hash(secret)) == 64
    assert new_secret(RANDOM.randbytes) != secret

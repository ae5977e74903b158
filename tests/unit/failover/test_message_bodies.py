"""A message is signed by its body's hash: the body can go, and nothing else can take its place."""

from datetime import UTC, date, datetime

import msgspec
import pytest

from failover.intents import Intent, fingerprint, fingerprint_of, intent_id, message_fingerprint
from failover.message_bodies import MeterReading, decode_body, encode_body, hash_body, type_of
from failover.signing import Signer, generate_signing_key, public_key, verify

KEY = generate_signing_key(lambda count: b"k" * count)
READING = MeterReading(
    salt="5a17",
    service_point_id="SP-1",
    meter_id="M-1",
    read_on=date(2026, 11, 17),
    register_wh=12_345_000,
)


def message(body: MeterReading = READING) -> Intent:
    """Record a message as an edge would."""
    return Signer(KEY).sign(
        Intent(
            intent_id=intent_id("A-1", "key"),
            fingerprint=message_fingerprint(
                account_id="A-1", type_="reading", body_hash=hash_body(body)
            ),
            account_id="A-1",
            type="reading",
            idempotency_key="key",
            accepted_at=datetime(2026, 11, 17, 12, tzinfo=UTC),
            edge_id="east",
            incarnation="i",
            ordinal=1,
            body_hash=hash_body(body),
            body=body,
        )
    )


def test_emptied_body_leaves_the_signature_good() -> None:
    """Signature, id and fingerprint are those of before."""
    whole = message()
    emptied = whole.without_body()
    assert verify(whole, public_key(KEY))
    assert verify(emptied, public_key(KEY))
    assert (emptied.signature, emptied.fingerprint) == (whole.signature, whole.fingerprint)
    assert b"12345000" not in msgspec.msgpack.encode(emptied)


def test_any_encoding_brings_the_same_body_back() -> None:
    """As JSON, as stored, and within an intent as it travels."""
    whole = message()
    assert decode_body(encode_body(READING)) == READING
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(whole), type=Intent) == whole


@pytest.mark.parametrize(
    "change",
    [
        {"body": msgspec.structs.replace(READING, register_wh=1)},
        {"body": msgspec.structs.replace(READING, salt="")},
        {"body_hash": "0" * 64},
        {"amount_cents": 100},
        {"method_id": "pm"},
        {"kind": "captured"},
        {"type": "payment"},
    ],
)
def test_nothing_else_takes_its_place(change: dict[str, object]) -> None:
    """Another body under the hash, another hash, or money: not even the edge's own signature makes it good."""
    forged = msgspec.structs.replace(message(), **change)
    assert not verify(forged, public_key(KEY))
    assert not verify(Signer(KEY).sign(forged), public_key(KEY))


def test_a_payment_reads_and_signs_as_before() -> None:
    """What older releases recorded verifies, and what is recorded now has no more members than theirs."""
    payment = Intent(
        intent_id=intent_id("A-1", "key"),
        fingerprint=fingerprint(
            account_id="A-1", type_="payment", amount_cents=500, currency="USD", method_id="pm"
        ),
        account_id="A-1",
        amount_cents=500,
        currency="USD",
        method_id="pm",
        idempotency_key="key",
        accepted_at=datetime(2026, 11, 17, 12, tzinfo=UTC),
        edge_id="east",
        incarnation="i",
        ordinal=1,
    )
    assert payment.signed_bytes() == (
        b'{"version":1,"intent_id":"%s","fingerprint":"%s","account_id":"A-1","type":"payment","kind":"promise",'
        b'"amount_cents":500,"currency":"USD","method_id":"pm","idempotency_key":"key",'
        b'"accepted_at":"2026-11-17T12:00:00Z","edge_id":"east","incarnation":"i","ordinal":1,"not_after":null,'
        b'"signature":""}' % (payment.intent_id.encode(), payment.fingerprint.encode())
    )
    assert fingerprint_of(payment) == payment.fingerprint


def test_body_names_its_type() -> None:
    """So that a message of one type never carries another's body."""
    assert type_of(READING) == "reading"

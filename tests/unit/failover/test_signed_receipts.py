"""Receipts that customers can prove: what is genuine, and what each forgery is called."""

import base64
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from failover import signed_receipts
from failover.intents import Outcome, State
from failover.signed_receipts import (
    FILE_BYTES_MAX,
    BadReceipt,
    KnownKey,
    ReceiptFacts,
    check_receipt,
    encode_receipt,
    receipt_text,
    sign_receipt,
)
from failover.signing import Signer, generate_signing_key, public_key

EDGE, CORE, OTHER = (generate_signing_key() for _ in range(3))
KEYS = [
    KnownKey(node_id="core", key=public_key(CORE)),
    KnownKey(node_id="east", key=public_key(EDGE)),
    KnownKey(node_id="west", key=public_key(OTHER)),
]
WHEN = datetime(2026, 11, 17, 16, 20, 33, tzinfo=UTC)
ACCEPTED = ReceiptFacts(
    utility="Northwater",
    payment_id="c0ffee00-0000-8000-8000-000000000001",
    fingerprint="f" * 64,
    account="ending 0731",
    method="Checking account ending 0417",
    amount=5000,
    currency="USD",
    state="accepted",
    accepted_at=WHEN,
    decided_at=None,
    paid_on=date(2026, 11, 17),
    reason="",
    case_number="",
    said_by="east",
    said_at=WHEN + timedelta(minutes=1),
    core=None,
)


def decided(state: Any = "posted", *, key: str = CORE, **changes: object) -> ReceiptFacts:
    """Build facts that the core decided, with its outcome."""
    outcome = Outcome(
        intent_id=ACCEPTED.payment_id,
        fingerprint=ACCEPTED.fingerprint,
        state=state,
        accepted_at=WHEN,
        decided_at=WHEN + timedelta(hours=1),
        value_date=date(2026, 11, 17),
        epoch=1,
        shard="0",
        seq=7,
    )
    return msgspec.structs.replace(
        ACCEPTED,
        state=state,
        decided_at=outcome.decided_at,
        core=Signer(key).sign_outcome(msgspec.structs.replace(outcome, **changes)),
    )


def fault(content: bytes, keys: list[KnownKey] = KEYS) -> str:
    """Tell what is wrong with a file."""
    with pytest.raises(BadReceipt) as bad:
        check_receipt(content, keys)
    assert str(bad.value)
    return bad.value.fault


@pytest.mark.parametrize("facts", [ACCEPTED, decided()])
def test_a_genuine_one_is_believed(facts: ReceiptFacts) -> None:
    """With nothing but the file and the public keys."""
    receipt = check_receipt(encode_receipt(sign_receipt(facts, EDGE)), KEYS)
    assert receipt.facts == facts


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Change something in a genuine file."""
    told = msgspec.json.decode(encode_receipt(sign_receipt(ACCEPTED, EDGE)))
    change(told)
    return msgspec.json.encode(told)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 500_000),
        ("currency", "EUR"),
        ("state", "posted"),
        ("account", "ending 9999"),
        ("accepted_at", "2026-01-01T00:00:00Z"),
        ("paid_on", "2026-01-01"),
        ("payment_id", "another"),
        ("said_at", "2026-01-01T00:00:00Z"),
        ("utility", "Southwater"),
    ],
)
def test_a_changed_fact_is_called_changed(field: str, value: object) -> None:
    """Whichever it is, with its words or without."""

    def also_in_words(told: dict[str, Any]) -> None:
        told["facts"][field] = value
        told["text"] = receipt_text(msgspec.convert(told["facts"], ReceiptFacts))

    assert fault(changed(lambda told: told["facts"].update({field: value}))) == "changed"
    assert fault(changed(also_in_words)) == "changed"


GENUINE = encode_receipt(sign_receipt(ACCEPTED, EDGE))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not_json"),
        (b"Dear Sir", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[" * 60_000, "not_json"),
        (GENUINE[:-3], "not_json"),
        (GENUINE[: len(GENUINE) // 2], "not_json"),
        (GENUINE.replace(b'"amount":', b'"amount": 1, "amount":'), "not_json"),
        (b" " * (FILE_BYTES_MAX + 1), "too_large"),
        (b"[]", "not_a_receipt"),
        (b"{}", "not_a_receipt"),
        (b'{"format": "ridethrough-receipt-1"}', "not_a_receipt"),
        (changed(lambda told: told.update(format="ridethrough-receipt-2")), "unknown_format"),
        (changed(lambda told: told["facts"].pop("amount")), "not_a_receipt"),
        (changed(lambda told: told["facts"].update(amount="5000")), "not_a_receipt"),
        (changed(lambda told: told["facts"].update(tip=1)), "not_a_receipt"),
        (changed(lambda told: told.update(signature="!")), "changed"),
        (
            changed(lambda told: told.update(signature=base64.b64encode(b"x" * 64).decode())),
            "changed",
        ),
        (changed(lambda told: told["text"].append("And a gift.")), "changed"),
        (changed(lambda told: told["facts"].update(said_by="north")), "unknown_signer"),
        (changed(lambda told: told["facts"].update(said_by="core")), "unknown_signer"),
        (changed(lambda told: told["facts"].update(said_by="west")), "other_key"),
    ],
)
def test_each_bad_file_has_its_name(content: bytes, expected: str) -> None:
    """Nothing of it is believed, and nothing breaks."""
    assert fault(content) == expected


def test_another_key_signs_for_nobody() -> None:
    """Neither a stranger's nor a sibling's."""
    assert fault(encode_receipt(sign_receipt(ACCEPTED, generate_signing_key()))) == "other_key"
    assert fault(encode_receipt(sign_receipt(ACCEPTED, OTHER))) == "other_key"


def test_the_cores_word_is_checked_apart() -> None:
    """An edge that was broken into cannot speak for the core."""
    forged = encode_receipt(sign_receipt(decided(key=EDGE), EDGE))
    assert fault(forged) == "core_signature_wrong"
    for changes in ({"intent_id": "another"}, {"fingerprint": "0" * 64}, {"reason": "other"}):
        wrong = encode_receipt(sign_receipt(decided(**changes), EDGE))
        assert fault(wrong) == "core_differs"
    lied = msgspec.structs.replace(decided("rejected"), state="posted")
    assert fault(encode_receipt(sign_receipt(lied, EDGE))) == "core_differs"


def test_words_that_say_something_else_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edge of its own mind may not sign one thing for people and another for programs."""
    with monkeypatch.context() as patched:
        patched.setattr(signed_receipts, "receipt_text", lambda _: ["Payment of 9000.00 USD"])
        content = encode_receipt(sign_receipt(ACCEPTED, EDGE))
    assert fault(content) == "text_differs"


def test_a_former_key_counts_for_what_it_signed_in_its_time() -> None:
    """A receipt outlives the edge's key, and its place in the fleet."""
    content = encode_receipt(sign_receipt(ACCEPTED, EDGE))

    def known(until: datetime) -> list[KnownKey]:
        former = KnownKey(node_id="east", key=public_key(EDGE), until=until)
        return [KnownKey(node_id="east", key=public_key(OTHER)), former]

    assert check_receipt(content, known(WHEN + timedelta(hours=1))).facts == ACCEPTED
    assert fault(content, known(WHEN)) == "said_after_removal"


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("accepted", "Accepted, not posted yet. It counts as paid on 2026-11-17."),
        ("posted", "Posted 2026-11-17 17:20:33 UTC. It counts as paid on 2026-11-17."),
        ("checking", "Being checked: we could not confirm it yet. Please do not pay again."),
        ("dead_letter", "Under review since 2026-11-17 17:20:33 UTC, case number C-7."),
        ("rejected", "Not accepted. We did not take any money."),
        ("cancelled", "Cancelled 2026-11-17 17:20:33 UTC. We did not take any money."),
        ("void", "Not taken. We did not take any money."),
        ("declined_limit", "Not taken. We did not take any money."),
    ],
)
def test_every_state_is_said_in_words(state: State, told: str) -> None:
    """With the amount in units of the currency; only accepted money has a receipt number."""
    facts = msgspec.structs.replace(
        ACCEPTED, state=state, decided_at=WHEN + timedelta(hours=1), case_number="C-7"
    )
    text = "\n".join(receipt_text(facts))
    assert told in text
    assert "Payment of 50.00 USD" in text
    assert ("Receipt number" in text) is (state in {"accepted", "posted"})


def test_money_given_back_is_said() -> None:
    """A refund is no "we took nothing"; a currency without cents has none."""
    facts = msgspec.structs.replace(
        ACCEPTED, state="rejected", reason="refund_account_closed", currency="JPY"
    )
    text = "\n".join(receipt_text(facts))
    assert "We are giving the money back." in text
    assert "Payment of 5000 JPY" in text

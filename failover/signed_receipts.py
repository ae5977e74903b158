"""
A receipt that a customer can keep and prove: one small file, signed by the node that said it.

The edge that hands it out signs every fact in it with its own key. What the core decided carries the core's own
signature besides, as it came with the outcome. Who has the public keys checks the file anywhere, without a network.
"""

import base64
import json
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec
from babel.numbers import get_currency_precision

from failover.intents import CORE_FINAL, Outcome, State, receipt_number
from failover.node_config import CORE_NODE_ID
from failover.signing import is_signed, public_key, sign_bytes, verify_outcome

FORMAT: Final = "ridethrough-receipt-1"
FILE_BYTES_MAX: Final = 64 * 1024
_PURPOSE: Final = b"ridethrough receipt\n"

Fault = Literal[
    "too_large",
    "not_json",
    "not_a_receipt",
    "unknown_format",
    "unknown_signer",
    "other_key",
    "changed",
    "said_after_removal",
    "text_differs",
    "core_signature_wrong",
    "core_differs",
]


class BadReceipt(Exception):
    """A file that proves nothing; ``fault`` names what is wrong with it."""

    def __init__(self, fault: Fault, told: str) -> None:
        super().__init__(told)
        self.fault = fault


class ReceiptFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What is known of a payment, and who says so when.

    ``amount`` is in minor units of ``currency``. ``account`` and ``method`` are only what they end in or are called.
    ``paid_on`` is the day that it counts as paid, where it does. ``said_at`` is core time as the edge ``said_by``
    estimates it. ``core`` is the core's own outcome under its signature, where one is known.
    """

    utility: str
    payment_id: str
    fingerprint: str
    account: str
    method: str
    amount: int
    currency: str
    state: State
    accepted_at: datetime
    decided_at: datetime | None
    paid_on: date | None
    reason: str
    case_number: str
    said_by: str
    said_at: datetime
    core: Outcome | None


class SignedReceipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The file: ``text`` says in words what ``facts`` say, ``key`` is the public half of what signed both, base64.

    The signature (Ed25519, base64) covers a purpose line and the two as compact JSON, in the order of their fields.
    """

    format: str = FORMAT
    text: list[str]
    facts: ReceiptFacts
    key: str
    signature: str


class KnownKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key of a node (base64); ``until`` is when the edge was expelled or got another one."""

    node_id: str
    key: str
    until: datetime | None = None


def sign_receipt(facts: ReceiptFacts, signing_key: str) -> SignedReceipt:
    """Write a receipt and sign it with the key of the node that says it."""
    text = receipt_text(facts)
    signature = base64.b64encode(sign_bytes(signing_key, _signed_bytes(text, facts))).decode()
    return SignedReceipt(text=text, facts=facts, key=public_key(signing_key), signature=signature)


def encode_receipt(receipt: SignedReceipt) -> bytes:
    """Write the file, to be read by people too."""
    return msgspec.json.format(msgspec.json.encode(receipt), indent=2) + b"\n"


def receipt_text(facts: ReceiptFacts) -> list[str]:
    """Say the facts in words."""
    amount = Decimal(facts.amount).scaleb(-get_currency_precision(facts.currency))
    accepted = facts.state in {"accepted", "posted"}
    return [
        facts.utility,
        f"{'Receipt' if accepted else 'Payment'} number {receipt_number(facts.payment_id)}",
        f"Payment of {amount} {facts.currency}",
        f"For the account {facts.account}",
        f"From {facts.method}",
        f"Sent {_moment(facts.accepted_at)}",
        *_state_text(facts),
        f"Said by {facts.said_by}, {_moment(facts.said_at)}",
        f"Payment {facts.payment_id}",
    ]


def agrees(facts: ReceiptFacts, outcome: Outcome) -> bool:
    """Tell whether the core's outcome is about this very payment and says the same of it."""
    return (
        (outcome.intent_id, outcome.fingerprint) == (facts.payment_id, facts.fingerprint)
        and outcome.state == facts.state
        and outcome.accepted_at in {None, facts.accepted_at}
        and outcome.decided_at == facts.decided_at
        and outcome.value_date in {None, facts.paid_on}
        and (outcome.reason, outcome.case_number) == (facts.reason, facts.case_number)
    )


def read_receipt(content: bytes) -> SignedReceipt:
    """Read a file that claims to be a receipt; nothing in it is believed yet. Raises `BadReceipt`."""
    if len(content) > FILE_BYTES_MAX:
        raise BadReceipt("too_large", f"it has more than {FILE_BYTES_MAX} bytes")
    try:
        told = json.loads(content, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise BadReceipt("not_json", "it is not whole JSON; perhaps a part is missing") from error
    kind = told.get("format") if isinstance(told, dict) else None
    if not isinstance(kind, str) or not kind.startswith(FORMAT.rstrip("1")):
        raise BadReceipt("not_a_receipt", "it does not say that it is a receipt")
    if kind != FORMAT:
        raise BadReceipt("unknown_format", f"its format is {kind!r}; this release reads {FORMAT}")
    try:
        return msgspec.json.decode(content, type=SignedReceipt)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadReceipt("not_a_receipt", str(error)) from error


def check_receipt(content: bytes, keys: Sequence[KnownKey]) -> SignedReceipt:
    """
    Check a receipt against the public keys of an installation.

    Raises:
        BadReceipt: It proves nothing; says why.
    """
    receipt = read_receipt(content)
    facts = receipt.facts
    of_signer = [known for known in keys if known.node_id == facts.said_by]
    if not of_signer or facts.said_by == CORE_NODE_ID:
        raise BadReceipt("unknown_signer", f"no edge of this core is called {facts.said_by!r}")
    known = next((one for one in of_signer if one.key == receipt.key), None)
    if known is None:
        raise BadReceipt("other_key", f"it is signed with a key that is not {facts.said_by}'s")
    if not _is_signed(receipt):
        raise BadReceipt("changed", f"this is not what {facts.said_by} signed")
    if known.until is not None and facts.said_at > known.until:
        raise BadReceipt(
            "said_after_removal",
            f"{facts.said_by} was expelled, or got another key, {_moment(known.until)}: before it said this",
        )
    if receipt.text != receipt_text(facts):
        raise BadReceipt("text_differs", "its words do not say what its facts say")
    if facts.core is not None:
        _check_core(facts, facts.core, keys)
    return receipt


def _check_core(facts: ReceiptFacts, outcome: Outcome, keys: Sequence[KnownKey]) -> None:
    if not any(
        known.node_id == CORE_NODE_ID and verify_outcome(outcome, known.key) for known in keys
    ):
        raise BadReceipt("core_signature_wrong", "the core has not signed the decision in it")
    if not agrees(facts, outcome):
        raise BadReceipt("core_differs", "the core decided something else than it says")


def _is_signed(receipt: SignedReceipt) -> bool:
    try:
        signature = base64.b64decode(receipt.signature, validate=True)
    except ValueError:
        return False
    return is_signed(_signed_bytes(receipt.text, receipt.facts), signature, receipt.key)


def _signed_bytes(text: Sequence[str], facts: ReceiptFacts) -> bytes:
    return _PURPOSE + msgspec.json.encode([FORMAT, text, facts])


def _each_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a member that is named twice: people would read the first one, programs the last."""
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("a member is named twice")
    return found


def _state_text(facts: ReceiptFacts) -> list[str]:
    decided = _moment(facts.decided_at) if facts.decided_at else ""
    paid_on = f"It counts as paid on {facts.paid_on}." if facts.paid_on else ""
    nothing = "We did not take any money."
    if facts.reason.startswith("refund_"):
        nothing = "We are giving the money back."
    told = {
        "accepted": f"Accepted, not posted yet. {paid_on}",
        "posted": f"Posted {decided}. {paid_on}",
        "checking": "Being checked: we could not confirm it yet. Please do not pay again.",
        "dead_letter": f"Under review since {decided}, case number {facts.case_number}. Please do not pay again.",
        "rejected": f"Not accepted. {nothing}",
        "cancelled": f"Cancelled {decided}. {nothing}",
    }.get(facts.state, f"Not taken. {nothing}")
    if facts.state not in CORE_FINAL:
        return [told.strip()]
    proof = "in this file" if facts.core is not None else "not in this file"
    return [told.strip(), f"The main system's own signature is {proof}."]


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"

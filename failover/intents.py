"""
Intents and what becomes of them, as they travel between nodes.

An intent's id is derived, never minted twice: the same account and idempotency key give the same id at every edge.
Everything that asks, answers or fences uses the pair (id, fingerprint).
"""

import hashlib
import uuid
from datetime import date, datetime
from typing import Literal

import msgspec

from failover.message_bodies import MessageBody, MessageType, hash_body, type_of

IntentType = Literal["payment"] | MessageType
"""A payment, or a message of one of its types."""
State = Literal[
    "posted",
    "rejected",
    "dead_letter",
    "cancelled",
    "accepted",
    "checking",
    "void",
    "declined_limit",
]
CORE_FINAL: frozenset[str] = frozenset({"posted", "rejected", "dead_letter", "cancelled"})
ID_CONFLICT = "id_conflict"
ASKING_BANK = "asking_bank"
"""Why a captured payment is being checked: the processor was, or is about to be, asked for the money."""
NOT_CAPTURED = "not_captured"
"""Why one is not taken: it was never charged."""
DECLINED = "declined"
"""A bank's plain no; with what more it says, ``declined_insufficient_funds`` and the like."""
RECEIPT_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the payment processor said when an edge charged a payment itself.

    ``captured``: the money was taken, as ``charge_id``; ``declined``: the bank said no, ``code`` why; ``nothing``: it
    was never charged, and this edge never will.
    """

    state: Literal["captured", "declined", "nothing"]
    charge_id: str = ""
    code: str = ""


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """
    Something a customer wants done, as recorded by one edge; immutable, but for ``capture``.

    A payment says in ``amount_cents``, ``currency`` and ``method_id`` what is wished. A ``promise`` is charged by the
    core; a ``captured`` one by the recording edge, which adds the processor's answer as ``capture`` and signs anew. The
    two are never mixed, and neither is part of the fingerprint.

    Every other type is a message: it moves no money, and says what is wished in ``body``. What is signed, and told
    apart by the fingerprint, is ``body_hash``: a body may be emptied when it is not needed any more.

    ``accepted_at`` is core time estimated at recording. (``edge_id``, ``incarnation``, ``ordinal``) names the place
    in the recording journal; ordinals of one incarnation have no holes. ``not_after`` (when set) forbids the core to
    post it later. ``signature`` is the recording edge's Ed25519 signature over `signed_bytes`, base64.
    """

    version: int = 1
    intent_id: str
    fingerprint: str
    account_id: str
    type: IntentType = "payment"
    kind: Literal["promise", "captured"] = "promise"
    amount_cents: int = 0
    currency: str = ""
    method_id: str = ""
    idempotency_key: str
    accepted_at: datetime
    edge_id: str
    incarnation: str
    ordinal: int
    not_after: datetime | None = None
    # Unset they are left out of what is sent and signed: a promise reads as it did before there was anything else.
    capture: Capture | msgspec.UnsetType = msgspec.UNSET
    body_hash: str | msgspec.UnsetType = msgspec.UNSET
    body: MessageBody | msgspec.UnsetType = msgspec.UNSET
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """Return the bytes that the signature covers: the intent without body and signature, as JSON."""
        bare = msgspec.structs.replace(self, signature="", body=msgspec.UNSET)
        return msgspec.json.encode(bare)

    def without_body(self) -> "Intent":
        """Return the same intent with its body emptied: signature, id and fingerprint hold as before."""
        return msgspec.structs.replace(self, body=msgspec.UNSET)

    @property
    def is_payment(self) -> bool:
        """Tell whether it is about money."""
        return self.type == "payment"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the core decided of one intent; final within an epoch, the same for every repetition.

    (``epoch``, ``shard``, ``seq``) is the position at which the payment's document stands. ``accepted_at`` is that of
    the intent which was decided: the same payment, tried at two edges, has one time everywhere. ``signature`` is the
    core's Ed25519 signature over `signed_bytes`, base64: what makes an outcome one, whoever passes it on.
    """

    intent_id: str
    fingerprint: str
    state: Literal["posted", "rejected", "dead_letter", "cancelled"]
    accepted_at: datetime | None = None
    decided_at: datetime
    value_date: date | None = None
    reason: str = ""
    case_number: str = ""
    epoch: int
    shard: str
    seq: int
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """Return the bytes that the signature covers: the outcome with an empty signature, as JSON."""
        return msgspec.json.encode(msgspec.structs.replace(self, signature=""))


class IntentBatch(msgspec.Struct, frozen=True):
    """Body of ``POST /intents``."""

    intents: list[Intent]


class OutcomeBatch(msgspec.Struct, frozen=True):
    """
    Answer of ``POST /intents``: one outcome for each intent that the core finished, in no order.

    An intent without an outcome here was not decided and must be offered again. ``credits`` is how many queued
    intents this node may bring next (None: the core does not say), ``retry_after_seconds`` how long a drain should
    pause first. ``held`` says that something was left for later by an operator's order or the core's pace: it did not
    fail. ``held_last`` is how many that are, at the end of the batch (0 with ``held``: a core that does not tell).
    """

    outcomes: list[Outcome]
    credits: int | None = None
    retry_after_seconds: float | None = None
    held: bool = False
    held_last: int = 0


class DecidedIntent(msgspec.Struct, frozen=True):
    """An intent beside what the core decided of it, as an edge keeps both."""

    intent: Intent
    outcome: Outcome


class DecidedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """
    Body of ``POST /outcomes``: what the core decided in an earlier epoch, back from an edge that kept it.

    Answered by an `OutcomeBatch` with the outcomes that hold now, of this epoch. ``complete_for`` names an epoch for
    which the caller has nothing more to bring; ``pruned_by`` is then the mark of the newest backup by which it has
    dropped something: books that do not hold the mark lack that, for good.
    """

    items: list[DecidedIntent] = []
    complete_for: int | None = None
    pruned_by: str = ""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a customer is told of a payment or a message, whatever node holds it.

    A message has no amount and no method, but a ``body``, until that is emptied. ``durable`` says that a second copy
    exists. The position and ``signature``, the core's over the outcome, are set once the core decided.
    """

    intent_id: str
    fingerprint: str
    account_id: str
    state: State
    type: IntentType = "payment"
    amount_cents: int = 0
    currency: str = ""
    method_id: str = ""
    body_hash: str | msgspec.UnsetType = msgspec.UNSET
    body: MessageBody | msgspec.UnsetType = msgspec.UNSET
    accepted_at: datetime
    durable: bool = False
    decided_at: datetime | None = None
    value_date: date | None = None
    reason: str = ""
    case_number: str = ""
    epoch: int | None = None
    shard: str | None = None
    seq: int | None = None
    signature: str = ""

    @property
    def is_payment(self) -> bool:
        """Tell whether it is about money."""
        return self.type == "payment"

    @property
    def surely_not_taken(self) -> bool:
        """Tell whether no money was taken for certain, though the core has not said so yet: the bank has."""
        told = self.reason == NOT_CAPTURED or self.reason.startswith(DECLINED)
        return self.state == "checking" and told

    def outcome(self) -> Outcome | None:
        """Return the outcome that this tells of; None when it tells of none."""
        told = {name: getattr(self, name) for name in _OUTCOME_FIELDS}
        try:
            return msgspec.convert(told, Outcome)
        except msgspec.ValidationError:
            return None


_OUTCOME_FIELDS = tuple(field.name for field in msgspec.structs.fields(Outcome))


def _prefixed(*parts: str) -> bytes:
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def intent_id(account_id: str, idempotency_key: str) -> str:
    """Derive the intent's id: a UUID (version 8) from SHA-256 of length-prefixed account id and idempotency key."""
    digest = bytearray(hashlib.sha256(_prefixed(account_id, idempotency_key)).digest()[:16])
    digest[6] = (digest[6] & 0x0F) | 0x80
    digest[8] = (digest[8] & 0x3F) | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))


def fingerprint(
    *, account_id: str, type_: str, amount_cents: int, currency: str, method_id: str
) -> str:
    """Hash what must not change under a payment's id; hex SHA-256."""
    return hashlib.sha256(
        _prefixed(account_id, type_, str(amount_cents), currency, method_id)
    ).hexdigest()


def message_fingerprint(*, account_id: str, type_: MessageType, body_hash: str) -> str:
    """Hash what must not change under a message's id; hex SHA-256."""
    return hashlib.sha256(_prefixed(account_id, type_, body_hash)).hexdigest()


def fingerprint_of(wished: Intent | Receipt) -> str:
    """Derive the fingerprint from what an intent, or a receipt of it, says itself; empty where it says too little."""
    if wished.type != "payment":
        if wished.body_hash is msgspec.UNSET:
            return ""
        return message_fingerprint(
            account_id=wished.account_id, type_=wished.type, body_hash=wished.body_hash
        )
    return fingerprint(
        account_id=wished.account_id,
        type_=wished.type,
        amount_cents=wished.amount_cents,
        currency=wished.currency,
        method_id=wished.method_id,
    )


def has_its_own_body(wished: Intent | Receipt) -> bool:
    """Tell whether the body, where it is there, is what was signed, and a message moves no money."""
    if wished.type == "payment":
        return wished.body is msgspec.UNSET and wished.body_hash is msgspec.UNSET
    if (wished.amount_cents, wished.currency, wished.method_id) != (0, "", ""):
        return False
    body = wished.body
    if isinstance(body, msgspec.UnsetType):
        return True
    return (type_of(body), hash_body(body)) == (wished.type, wished.body_hash)


def declined_reason(code: str) -> str:
    """Name why a bank said no: ``declined`` alone, or with what more it said."""
    return code if code == DECLINED else f"{DECLINED}_{code}"


def receipt_number(id_: str) -> str:
    """Shorten an intent's id into what a customer can read out: eight characters without look-alikes."""
    value = int.from_bytes(hashlib.sha256(id_.encode()).digest()[:5], "big")
    letters = "".join(RECEIPT_ALPHABET[(value >> shift) & 31] for shift in range(35, -5, -5))
    return f"{letters[:4]}-{letters[4:]}"

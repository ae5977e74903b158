"""
What the core publishes: documents and their bodies.

A document is the full published state of one thing. A body's text is JSON of the structs below, or of an earlier
version of them (`cache_sync.body_versions`), stored and sent packed (`cache_sync.packed_bodies`); a reader ignores
fields that it does not know. Money is integer minor units (cents), energy integer Wh, periods are local dates
``[period_from, period_to)`` in the utility's time zone, instants are UTC.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Literal

import msgspec

ACCOUNT = "account"
STATEMENT = "statement"
PAYMENT = "payment"
MESSAGE = "message"
USAGE = "usage"
CREDENTIAL = "credential"
ARCHIVE = "archive"

DEFAULT_SHARD = "0"

MethodStatus = Literal["verified", "unverified", "expired"]


class Document(msgspec.Struct, frozen=True, array_like=True):
    """
    One row of the documents table, as stored and as sent.

    ``body`` is the JSON of the kind's struct, packed (`cache_sync.packed_bodies`); None marks a tombstone. ``seq`` is
    the shard's sequence number of the newest change of this (account_id, kind, key). ``version`` is the body's: a node
    that does not know a version must not apply it, because it would show something else than the core means
    (`KNOWN_VERSIONS`).
    """

    account_id: str
    kind: str
    key: str
    seq: int
    body: bytes | None
    version: int = 1


class PaymentMethod(msgspec.Struct, frozen=True, kw_only=True):
    """
    A saved way to pay. ``method_id`` is a token's public name: never a card or bank number.

    ``sealed_token`` is the token itself, readable only by edges that may charge it; left out where there are none.
    """

    method_id: str
    type: Literal["card", "bank_account"]
    label: str
    status: MethodStatus
    sealed_token: str | msgspec.UnsetType = msgspec.UNSET


class ServicePoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where an account is supplied, through which meter and on which tariff."""

    service_point_id: str
    meter_id: str
    address: str
    tariff_name: str


class FeeSinceBill(msgspec.Struct, frozen=True, kw_only=True):
    """A late fee that was charged after the newest bill; negative: one on an older bill that was taken back since."""

    on: date
    amount_cents: int
    statement_id: str


class AccountBody(msgspec.Struct, frozen=True, kw_only=True):
    """
    Kind ``account``, key ``""``: what the overview shows.

    ``balance_cents`` is the ledger balance (positive is owed). ``billed_balance_cents`` is the amount due of the
    latest statement as it was printed, 0 without one. ``email`` is what the customer signs in with; ``contact_email``
    and ``contact_phone`` are how they want to be reached, left out where they did not say. ``late_fees`` are in the
    balance and on no bill yet, left out where there are none.
    """

    version: int = 1
    account_id: str
    customer_id: str
    customer_name: str
    email: str
    utility_name: str
    currency: str
    timezone: str
    status: Literal["active", "closed"]
    balance_cents: int
    billed_balance_cents: int
    latest_statement_id: str | None = None
    due_date: date | None = None
    payment_methods: list[PaymentMethod] = []
    service_points: list[ServicePoint] = []
    contact_email: str | msgspec.UnsetType = msgspec.UNSET
    contact_phone: str | msgspec.UnsetType = msgspec.UNSET
    late_fees: list[FeeSinceBill] | msgspec.UnsetType = msgspec.UNSET


class StatementLine(msgspec.Struct, frozen=True, kw_only=True):
    """One printed line; ``quantity`` and ``unit_price`` are decimal strings, rounded only into ``amount_cents``."""

    kind: Literal["energy", "fixed", "minimum", "tax", "adjustment", "credit", "demand"]
    description: str
    quantity: str
    unit: str
    unit_price: str
    amount_cents: int
    period_from: date
    period_to: date
    estimated: bool = False
    service_point_id: str = ""


class MeterRead(msgspec.Struct, frozen=True, kw_only=True):
    """What a meter measured in a statement's period, with its begin and end register reads in Wh."""

    meter_id: str
    service_point_id: str
    read_from: date
    read_to: date
    begin_register_wh: int
    end_register_wh: int
    usage_wh: int
    estimated_wh: int
    end_read: Literal["actual", "estimated"]


class TariffName(msgspec.Struct, frozen=True, kw_only=True):
    """The tariff a bill was rated with, and where its prices were published."""

    code: str
    name: str
    utility: str
    effective_from: date
    source: str = ""


class BillChange(msgspec.Struct, frozen=True, kw_only=True):
    """One reason why this bill differs from the one before; the parts add up to the difference to the cent."""

    label: str
    detail: str
    amount_cents: int


class PaymentLine(msgspec.Struct, frozen=True, kw_only=True):
    """
    A payment counted in a statement's "payments received".

    ``description`` is set on what is no payment and moved the balance too, such as a late fee; left out on payments.
    """

    payment_id: str
    value_date: date
    amount_cents: int
    description: str | msgspec.UnsetType = msgspec.UNSET


class StatementBody(msgspec.Struct, frozen=True, kw_only=True):
    """
    Kind ``statement``, key statement id. Immutable once issued.

    ``total_cents`` (new charges) is the sum of the lines; ``amount_due_cents`` = previous balance - payments
    received + total.
    """

    version: int = 1
    statement_id: str
    account_id: str
    issued_on: date
    period_from: date
    period_to: date
    due_date: date
    currency: str
    previous_balance_cents: int
    payments_received_cents: int
    total_cents: int
    amount_due_cents: int
    usage_wh: int
    estimated_wh: int
    lines: list[StatementLine]
    meters: list[MeterRead]
    tariffs: list[TariffName]
    payments: list[PaymentLine] = []
    changes: list[BillChange] = []
    previous_statement_id: str | None = None
    previous_total_cents: int | None = None


class PaymentBody(msgspec.Struct, frozen=True, kw_only=True):
    """
    Kind ``payment``, key payment id (the intent's id when it came through an edge): the core's outcome.

    ``value_date`` is the day it counts as paid, in the utility's zone. Amount is positive.
    """

    version: int = 1
    payment_id: str
    account_id: str
    fingerprint: str
    state: Literal["posted", "rejected", "dead_letter", "cancelled"]
    amount_cents: int
    currency: str
    method_id: str
    method_label: str
    accepted_at: datetime
    decided_at: datetime
    value_date: date | None = None
    reason: str = ""
    case_number: str = ""


class DecidedMessageBody(msgspec.Struct, frozen=True, kw_only=True):
    """
    Kind ``message``, key the intent's id: the core's outcome of what a customer sent besides payments.

    ``type`` names what it is. ``content`` is what the customer said, as JSON of the type's struct, null once it was
    emptied. ``reason`` says why it was rejected, or what became of a posted one. ``case_number`` is that of the review,
    or of the ticket that a posted one stands under.
    """

    version: int = 1
    message_id: str
    account_id: str
    fingerprint: str
    type: str
    state: Literal["posted", "rejected", "dead_letter", "cancelled"]
    body_hash: str
    content: msgspec.Raw
    accepted_at: datetime
    decided_at: datetime
    reason: str = ""
    case_number: str = ""


class UsageDay(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One local day.

    ``estimated_wh`` is the part of ``usage_wh`` that was estimated; ``hours`` lists the local day's
    23, 24 or 25 hours in order, None where not all of the hour was measured. ``estimated_hours`` has those of which a
    part was estimated, or may have been, by their number from 0 on. An hour in neither is not known.
    """

    day: date
    usage_wh: int
    estimated_wh: int
    complete: bool
    hours: list[int | None] = []
    estimated_hours: dict[int, int] = {}

    @property
    def all_hours(self) -> list[int | None]:
        """The hours in order, measured or estimated; None where nothing is known."""
        return [
            self.estimated_hours.get(hour) if measured is None else measured
            for hour, measured in enumerate(self.hours)
        ]


class UsageBody(msgspec.Struct, frozen=True, kw_only=True):
    """Kind ``usage``, key ``YYYY-MM/service point id``: a local month's days that have readings."""

    version: int = 2
    account_id: str
    service_point_id: str
    month: str
    timezone: str
    days: list[UsageDay]


class CredentialBody(msgspec.Struct, frozen=True, kw_only=True):
    """
    Kind ``credential``, key `sign_in_key` of the e-mail: what an edge needs to check a sign-in by itself.

    ``verifier`` is an argon2id string. A sign-in token carries ``credential_version``; a newer version here ends it.
    The document's account_id is the first of ``account_ids``.
    """

    version: int = 1
    customer_id: str
    account_ids: list[str]
    verifier: str
    credential_version: int
    status: Literal["active", "revoked"] = "active"


class ArchivedStatement(msgspec.Struct, frozen=True, kw_only=True):
    """A statement that exists in the core but is older than what edges hold."""

    statement_id: str
    issued_on: date
    period_from: date
    period_to: date
    due_date: date
    total_cents: int
    amount_due_cents: int


class ArchiveBody(msgspec.Struct, frozen=True, kw_only=True):
    """Kind ``archive``, key ``statements``: what can only be read from the core, newest first."""

    version: int = 1
    account_id: str
    statements: list[ArchivedStatement]


Body = (
    AccountBody
    | StatementBody
    | PaymentBody
    | DecidedMessageBody
    | UsageBody
    | CredentialBody
    | ArchiveBody
)

BODY_TYPES: dict[str, type[Body]] = {
    ACCOUNT: AccountBody,
    STATEMENT: StatementBody,
    PAYMENT: PaymentBody,
    MESSAGE: DecidedMessageBody,
    USAGE: UsageBody,
    CREDENTIAL: CredentialBody,
    ARCHIVE: ArchiveBody,
}

# The newest version of each kind's body that this release reads. A field that may be ignored needs no new version.
KNOWN_VERSIONS: Mapping[str, int] = MappingProxyType(dict.fromkeys(BODY_TYPES, 1) | {USAGE: 2})


def encode_body(body: Body) -> bytes:
    """Encode a body as its JSON text, in its newest version."""
    return msgspec.json.encode(body)


def sign_in_key(lookup_key: bytes, email: str) -> str:
    """
    Derive a credential document's key from an e-mail address, so that no address stands in a key.

    HMAC-SHA-256 under the fleet's lookup key of the trimmed, case-folded address; hex.
    """
    return hmac.new(lookup_key, email.strip().casefold().encode(), hashlib.sha256).hexdigest()

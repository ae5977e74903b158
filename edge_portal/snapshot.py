"""
An account's documents out of the snapshot, decoded.

The protocols are what the portal needs of `cache_sync.replica`; tests pass their own.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Protocol, TypeVar

from cache_sync.body_versions import version_decoder
from cache_sync.documents import (
    ACCOUNT,
    ARCHIVE,
    MESSAGE,
    PAYMENT,
    STATEMENT,
    USAGE,
    AccountBody,
    ArchiveBody,
    ArchivedStatement,
    CredentialBody,
    DecidedMessageBody,
    Document,
    PaymentBody,
    StatementBody,
    UsageBody,
)
from cache_sync.frames import Position
from edge_portal.overlay import receipt_of_document, receipt_of_message
from edge_portal.views import Freshness
from failover.intents import Receipt

T = TypeVar("T")

# The same bytes of the same version are the same body for ever, so what was unpacked once is kept. Bodies are frozen;
# nobody changes a list inside. Usage is large and rarely read again, payments are small and read with every account.
_ACCOUNT = lru_cache(2048)(version_decoder(AccountBody))
_STATEMENT = lru_cache(2048)(version_decoder(StatementBody))
_PAYMENT = lru_cache(8192)(version_decoder(PaymentBody))
_MESSAGE = lru_cache(4096)(version_decoder(DecidedMessageBody))
_USAGE = lru_cache(512)(version_decoder(UsageBody))
_ARCHIVE = lru_cache(1024)(version_decoder(ArchiveBody))
_CREDENTIAL = lru_cache(2048)(version_decoder(CredentialBody))


class State(Protocol):
    """Where a snapshot stands and how old it is now."""

    @property
    def epoch(self) -> int:
        """The core's epoch."""
        ...

    @property
    def shard(self) -> str:
        """The shard."""
        ...

    @property
    def cursor(self) -> int:
        """The seq up to which everything is held."""
        ...

    @property
    def head(self) -> int:
        """The newest seq that the feed named."""
        ...

    @property
    def as_of(self) -> datetime:
        """Core time T: everything committed before it is held."""
        ...

    @property
    def age_seconds(self) -> float:
        """How long ago T was, now."""
        ...

    @property
    def at_least(self) -> bool:
        """Whether the age is a lower bound."""
        ...


class Reading(Protocol):
    """One read transaction of the snapshot."""

    def document(self, account_id: str, kind: str, key: str) -> Document | None:
        """Return a document, tombstones left out."""
        ...

    def documents(self, account_id: str, kind: str) -> Sequence[Document]:
        """Return all documents of a kind, tombstones left out."""
        ...

    def credential(self, key: str) -> Document | None:
        """Return the credential document with this key."""
        ...

    def state(self) -> State:
        """Tell where the snapshot stands."""
        ...


class Snapshot(Protocol):
    """The snapshot as workers see it."""

    @property
    def are_all(self) -> bool:
        """Whether every account of the utility is held here."""
        ...

    def read(self, account_id: str = "") -> AbstractContextManager[Reading]:
        """
        Open a read transaction of the shard that an account is in, of all shards where none is named.

        Raises `cache_sync.errors.NoSnapshot`, `edge_portal.errors.NotHeldHere`.
        """
        ...


class OneReading:
    """A read transaction, the ``source``, whose state is asked once: it cannot change while the transaction lasts."""

    def __init__(self, reading: Reading) -> None:
        self.source = reading
        self._state = reading.state()
        self.document = reading.document
        self.documents = reading.documents
        self.credential = reading.credential

    def state(self) -> State:
        """Tell where the snapshot stands."""
        return self._state


def position_of(state: State) -> Position:
    """Tell a snapshot's position."""
    return Position(state.epoch, state.shard, state.cursor)


def freshness_of(state: State) -> Freshness:
    """Tell a snapshot's labels."""
    return Freshness(
        position=position_of(state),
        as_of=state.as_of,
        age_seconds=state.age_seconds,
        at_least=state.at_least,
    )


def core_time(state: State) -> datetime:
    """Estimate the core's clock: T plus its age. Slow at worst, by what "at least" left out."""
    return state.as_of + timedelta(seconds=state.age_seconds)


def read_account(reading: Reading, account_id: str) -> AccountBody | None:
    """Return the account's summary; None when the snapshot has no such account."""
    document = reading.document(account_id, ACCOUNT, "")
    return _decode(_ACCOUNT, document)


def read_statement(reading: Reading, account_id: str, statement_id: str) -> StatementBody | None:
    """Return one statement that is held here."""
    return _decode(_STATEMENT, reading.document(account_id, STATEMENT, statement_id))


def read_statements(reading: Reading, account_id: str) -> list[StatementBody]:
    """Return the statements that are held here, newest first."""
    statements = _decode_all(_STATEMENT, reading.documents(account_id, STATEMENT))
    return sorted(
        statements,
        key=lambda statement: (statement.issued_on, statement.period_to, statement.statement_id),
        reverse=True,
    )


def read_archived(reading: Reading, account_id: str) -> list[ArchivedStatement]:
    """Return what the core alone holds, newest first."""
    archive = _decode(_ARCHIVE, reading.document(account_id, ARCHIVE, "statements"))
    return [] if archive is None else archive.statements


def read_usage(reading: Reading, account_id: str) -> list[UsageBody]:
    """Return the months of usage, oldest first."""
    months = _decode_all(_USAGE, reading.documents(account_id, USAGE))
    return sorted(months, key=lambda month: (month.month, month.service_point_id))


def read_payments(reading: Reading, account_id: str) -> list[Receipt]:
    """Return the payments that the core has decided, as receipts."""
    state = reading.state()
    return [
        receipt_of_document(body, Position(state.epoch, state.shard, document.seq))
        for document in reading.documents(account_id, PAYMENT)
        if (body := _decode(_PAYMENT, document)) is not None
    ]


def read_messages(reading: Reading, account_id: str) -> list[Receipt]:
    """Return the messages that the core has decided, as receipts."""
    state = reading.state()
    found = [
        receipt_of_message(body, Position(state.epoch, state.shard, document.seq))
        for document in reading.documents(account_id, MESSAGE)
        if (body := _decode(_MESSAGE, document)) is not None
    ]
    return [receipt for receipt in found if receipt is not None]


def read_credential(reading: Reading, key: str) -> CredentialBody | None:
    """Return the credential stored under `cache_sync.documents.sign_in_key`."""
    return _decode(_CREDENTIAL, reading.credential(key))


def _decode(decode: Callable[[bytes, int], T], document: Document | None) -> T | None:
    if document is None or document.body is None:
        return None
    return decode(document.body, document.version)


def _decode_all(decode: Callable[[bytes, int], T], documents: Sequence[Document]) -> list[T]:
    return [
        decode(document.body, document.version)
        for document in documents
        if document.body is not None
    ]

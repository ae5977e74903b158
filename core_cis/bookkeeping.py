"""The ledger's rules on the ledger's tables: post once, read back, sum up."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

import msgspec

from cache_sync.sql import Connection, insert_rows, is_server, places, read
from core_cis.domain.ledger import RECEIVABLE, Entry, LedgerTransaction
from core_cis.instants import from_text, to_text
from core_cis.store import Transaction

# In a file nobody else writes meanwhile; on a server a sequence numbers without waiting, and may leave gaps.
_LAST_ID = "SELECT coalesce(max(transaction_id), 0) FROM ledger_transactions"
_NEXT_IDS_ON_SERVER = "SELECT nextval('ledger_transaction_ids') FROM generate_series(1, ?)"
_POSTED = "SELECT transaction_id FROM ledger_transactions WHERE source = ? AND idempotency_key = ?"
_INSERT_ENTRY = """
    INSERT INTO ledger_entries (transaction_id, ledger_account, account_id, amount_cents) VALUES
"""
_INSERT_TRANSACTION = (
    "INSERT INTO ledger_transactions (transaction_id, source, idempotency_key, kind, description, value_date,"
    " posted_at, payment_id, reverses_transaction_id) VALUES"
)
_BALANCES = "SELECT account_id, sum(amount_cents) FROM ledger_entries WHERE account_id IN ({}) GROUP BY account_id"
_ACCOUNT_ENTRIES = """
    SELECT t.transaction_id, t.source, t.kind, t.payment_id, sum(e.amount_cents), t.value_date, t.posted_at,
           t.description
    FROM ledger_entries e JOIN ledger_transactions t USING (transaction_id)
    WHERE e.account_id = ? GROUP BY t.transaction_id ORDER BY t.transaction_id
"""
_TRANSACTIONS = """
    SELECT t.transaction_id, t.source, t.idempotency_key, t.kind, t.description, t.value_date, t.payment_id,
           e.ledger_account, e.amount_cents, e.account_id
    FROM ledger_transactions t JOIN ledger_entries e USING (transaction_id)
    WHERE t.transaction_id BETWEEN ? AND ?
    ORDER BY t.transaction_id, e.entry_id
"""


class Posting(msgspec.Struct, frozen=True):
    """Where a transaction stands in the ledger; ``repeated`` when the same event had been posted before."""

    transaction_id: int
    repeated: bool


class AccountEntry(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one ledger transaction did to one account: a payment's ``amount`` (cents) is negative.

    ``intent_id`` names the payment (the intent's id when it came through an edge), None for everything else.
    """

    transaction_id: str
    kind: str
    source: str
    intent_id: str | None
    amount: int
    value_date: date
    posted_at: datetime
    description: str


class AccountLedger(msgspec.Struct, frozen=True):
    """An account's ledger: ``balance`` in cents, positive is owed; one entry a transaction, oldest first."""

    account_id: str
    currency: str
    balance: int
    entries: list[AccountEntry]


def post(
    tx: Transaction, transaction: LedgerTransaction, *, reverses_transaction_id: int | None = None
) -> Posting:
    """
    Write a transaction into the ledger, once: the same (source, idempotency_key) again changes nothing.

    Balances change with it, so the caller publishes the accounts concerned in the same transaction.
    """
    connection = tx.connection
    tx.hold_accounts(entry.account_id for entry in transaction.entries if entry.account_id)
    key = (transaction.source, transaction.idempotency_key)
    known = connection.execute(_POSTED, key).fetchone()
    if known is not None:
        return Posting(known[0], repeated=True)
    (transaction_id,) = _write(tx, [(transaction, reverses_transaction_id)])
    return Posting(transaction_id, repeated=False)


def post_new(tx: Transaction, transactions: Sequence[LedgerTransaction]) -> list[int]:
    """
    Write transactions of events that were never posted, in few statements; return their ids. Otherwise as `post`.

    Raises:
        IntegrityError: One of the events was posted before.
    """
    tx.hold_accounts(
        entry.account_id
        for transaction in transactions
        for entry in transaction.entries
        if entry.account_id
    )
    return _write(tx, [(transaction, None) for transaction in transactions])


def _write(tx: Transaction, written: Sequence[tuple[LedgerTransaction, int | None]]) -> list[int]:
    """Write transactions, each with the one that it reverses."""
    connection = tx.connection
    ids = _next_ids(connection, len(written))
    insert_rows(
        connection,
        _INSERT_ENTRY,
        [
            (transaction_id, entry.ledger_account, entry.account_id, entry.amount_cents)
            for transaction_id, (transaction, _) in zip(ids, written, strict=True)
            for entry in transaction.entries
        ],
    )
    # The rows come after their entries: a trigger checks them then, and closes them.
    posted_at = to_text(tx.stamp)
    insert_rows(
        connection,
        _INSERT_TRANSACTION,
        [
            (
                transaction_id,
                transaction.source,
                transaction.idempotency_key,
                transaction.kind,
                transaction.description,
                transaction.value_date.isoformat(),
                posted_at,
                transaction.payment_id,
                reverses_transaction_id,
            )
            for transaction_id, (transaction, reverses_transaction_id) in zip(
                ids, written, strict=True
            )
        ],
    )
    return ids


def _next_ids(connection: Connection, count: int) -> list[int]:
    if is_server(connection):
        rows = connection.execute(_NEXT_IDS_ON_SERVER, (count,)).fetchall()
        return [int(number) for (number,) in rows]
    (last,) = connection.execute(_LAST_ID).fetchone()
    return list(range(last + 1, last + 1 + count))


def balance_cents(connection: Connection, account_id: str) -> int:
    """Sum what an account owes: charges less payments, positive is owed."""
    return balances_cents(connection, [account_id]).get(account_id, 0)


def balances_cents(connection: Connection, account_ids: Sequence[str]) -> dict[str, int]:
    """Sum what each of some accounts owes, as `balance_cents`; one without entries is not in it."""
    rows = connection.execute(_BALANCES.format(places(account_ids)), account_ids).fetchall()
    return {account_id: int(cents) for account_id, cents in rows}


def account_entries(connection: Connection, account_id: str) -> list[AccountEntry]:
    """List what every transaction did to an account, oldest first, one entry a transaction."""
    return [
        AccountEntry(
            transaction_id=str(transaction_id),
            kind=kind,
            source=source,
            intent_id=payment_id,
            amount=amount,
            value_date=date.fromisoformat(value_date),
            posted_at=from_text(posted_at),
            description=description,
        )
        for transaction_id, source, kind, payment_id, amount, value_date, posted_at, description in (
            connection.execute(_ACCOUNT_ENTRIES, (account_id,))
        )
    ]


def read_transactions(
    connection: Connection, *, first: int = 1, last: int = 2**62
) -> Iterator[tuple[int, LedgerTransaction]]:
    """Read transactions back, oldest first, with their ids, checked again by the domain's rules."""
    head: tuple[int, str, str, str, str, str, str | None] | None = None
    entries: list[Entry] = []
    for row in connection.execute(_TRANSACTIONS, (first, last)):
        if head is not None and row[0] != head[0]:
            yield head[0], _restore(head, entries)
            entries = []
        head = row[:7]
        entries.append(Entry(*row[7:]))
    if head is not None:
        yield head[0], _restore(head, entries)


def _restore(
    head: tuple[int, str, str, str, str, str, str | None], entries: list[Entry]
) -> LedgerTransaction:
    _, source, key, kind, description, value_date, payment_id = head
    return msgspec.convert(
        {
            "source": source,
            "idempotency_key": key,
            "kind": kind,
            "description": description,
            "value_date": value_date,
            "entries": tuple(entries),
            "payment_id": payment_id,
        },
        LedgerTransaction,
    )


def receivables(connection: Connection) -> dict[str, int]:
    """Sum what every account with entries owes, in cents."""
    rows = connection.execute(
        "SELECT account_id, sum(amount_cents) FROM ledger_entries WHERE ledger_account = ? GROUP BY account_id",
        (RECEIVABLE,),
    )
    return dict(rows.fetchall())


def read_ledger(connection: Connection, account_id: str, *, currency: str) -> AccountLedger | None:
    """Read an account's ledger as it stands now; None when there is no such account."""
    with read(connection):
        known = connection.execute(
            "SELECT 1 FROM accounts WHERE account_id = ?", (account_id,)
        ).fetchone()
        if known is None:
            return None
        entries = account_entries(connection, account_id)
        return AccountLedger(account_id, currency, balance_cents(connection, account_id), entries)

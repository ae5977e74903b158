"""
Who must wait for whom, where transactions overlap.

On SQLite there is nothing to do: a write transaction holds the file from its start. On a server, whoever decides by
what he reads holds the account, or the customer, that he reads about, from before he reads to the commit. Transactions
that touch much, or what many depend on (imports of customers and tariffs, settings, the registry of edges), hold all
the books: they wait until nobody else is in a transaction, and then everybody waits for them.

Locks are advisory: they guard accounts that do not exist yet too, and cost no write. They are taken in one order
(books, then accounts by id, then customers, then shards by number, then core time), so that two transactions do not
wait for each other; where they do, the server ends one of them with a `TransactionConflict`, and it is repeated.
"""

from collections.abc import Iterable

from cache_sync.sql import Connection, is_server

# Two numbers; accounts and customers have one of 64 bits, so these are never theirs.
_BOOKS_SHARED = "SELECT pg_advisory_xact_lock_shared(7311, 2)"
_BOOKS_ALONE = "SELECT pg_advisory_xact_lock(7311, 2)"
_ONE = "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))"


class Locks:
    """
    The locks of one write transaction.

    Args:
        connection: In its transaction, which has read nothing yet.
        alone: Hold all the books.
    """

    def __init__(self, connection: Connection, *, alone: bool) -> None:
        self._connection = connection
        self._needed = is_server(connection) and not alone
        self._held: set[str] = set()
        if is_server(connection):
            connection.execute(_BOOKS_ALONE if alone else _BOOKS_SHARED)

    def accounts(self, account_ids: Iterable[str]) -> None:
        """Hold accounts to the end of the transaction."""
        self._take(f"account {account_id}" for account_id in account_ids)

    def customer(self, customer_id: str) -> None:
        """Hold a customer to the end of the transaction."""
        self._take([f"customer {customer_id}"])

    def _take(self, names: Iterable[str]) -> None:
        if not self._needed:
            return
        for name in sorted(set(names) - self._held):
            self._connection.execute(_ONE, (name,))
            self._held.add(name)

    def mark(self) -> frozenset[str]:
        """Tell what is held, for `forget_since`."""
        return frozenset(self._held)

    def forget_since(self, mark: frozenset[str]) -> None:
        """Forget what was taken since: the server lets go of it when a part of a transaction is undone."""
        self._held = set(mark)

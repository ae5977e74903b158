"""
Who was forgotten (`core_cis.forgetting`): what the rest of the core must know of it, for ever.

A forgotten customer keeps an id and the ids of his accounts, because the ledger is kept by them; nothing that is
published, billed or imported may bring anything else of him back.
"""

from collections.abc import Iterable
from datetime import datetime

from cache_sync.sql import Connection, places
from core_cis.instants import from_text

_ACCOUNTS = "SELECT account_id FROM accounts JOIN erasures USING (customer_id)"
_IS_ACCOUNT = f"{_ACCOUNTS} WHERE account_id = ?"
_AMONG = f"{_ACCOUNTS} WHERE account_id IN ({{}})"
_ASKED_TOGETHER = 500
_FORGOTTEN_AT = "SELECT min(erased_at) FROM erasures WHERE customer_id = ?"
_THROUGH = "SELECT max(seq) FROM erasures WHERE shard = ? AND epoch = ?"


def forgotten_at(connection: Connection, customer_id: str) -> datetime | None:
    """Tell when a customer was forgotten; None for one who was not."""
    (text,) = connection.execute(_FORGOTTEN_AT, (customer_id,)).fetchone()
    return None if text is None else from_text(text)


def is_erased(connection: Connection, account_id: str) -> bool:
    """Tell whether an account is a forgotten customer's."""
    return connection.execute(_IS_ACCOUNT, (account_id,)).fetchone() is not None


def erased_among(connection: Connection, account_ids: Iterable[str]) -> frozenset[str]:
    """Tell which of some accounts are of forgotten customers; in few statements, however many they are."""
    asked = sorted(account_ids)
    found: set[str] = set()
    for first in range(0, len(asked), _ASKED_TOGETHER):
        some = asked[first : first + _ASKED_TOGETHER]
        rows = connection.execute(_AMONG.format(places(some)), some).fetchall()
        found.update(account_id for (account_id,) in rows)
    return frozenset(found)


def erased_accounts(connection: Connection) -> frozenset[str]:
    """Name the accounts of all who were forgotten."""
    return frozenset(account_id for (account_id,) in connection.execute(_ACCOUNTS).fetchall())


def erased_shards(connection: Connection, customer_id: str) -> list[str]:
    """Name the shards in which a forgotten customer had accounts."""
    rows = connection.execute("SELECT shard FROM erasures WHERE customer_id = ?", (customer_id,))
    return [shard for (shard,) in rows.fetchall()]


def erased_through(connection: Connection, shard: str, epoch: int) -> int | None:
    """Tell up to where a shard's seqs show somebody who was forgotten in an epoch; None where nobody was."""
    (seq,) = connection.execute(_THROUGH, (shard, epoch)).fetchone()
    return None if seq is None else int(seq)

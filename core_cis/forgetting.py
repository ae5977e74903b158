"""
Forgetting a person: everything about a customer goes, but for what the books and the law need.

What goes, what stays and why is the table in docs/operations.md ("Forgetting a person"); `_DELETED` and `erase` are
that table as statements. Documents of the customer's accounts are withdrawn in the same transaction, so every edge
hears of it through its feed; what lies in files beside the books is cleared by `core_cis.clearing`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from cache_sync.document_table import read_head
from cache_sync.shards import FIRST_SHARD, last_seq, shard_of
from cache_sync.sql import Connection
from core_cis.awaited_edges import refuse_while_awaiting
from core_cis.bookkeeping import balance_cents
from core_cis.cases import read_cases
from core_cis.erasures import forgotten_at
from core_cis.errors import ForgetRefused, NobodyToForget
from core_cis.instants import to_text
from core_cis.store import Transaction

ObstacleKind = Literal[
    "balance",
    "case_open",
    "ticket_open",
    "refund_open",
    "payment_waiting",
    "edge_silent",
    "edges_awaited",
]

_ACCOUNTS = "SELECT account_id FROM accounts WHERE customer_id = :customer"
_POINTS = f"SELECT service_point_id FROM service_points WHERE account_id IN ({_ACCOUNTS})"  # noqa: S608 - no input
_METERS = f"SELECT meter_id FROM meters WHERE service_point_id IN ({_POINTS})"  # noqa: S608 - no input

# In the order in which nothing refers to what is gone.
_DELETED = {
    "interval_blocks": f"service_point_id IN ({_POINTS})",
    "register_reads": f"meter_id IN ({_METERS})",
    "import_findings": f"service_point_id IN ({_POINTS})",
    "service_point_tariffs": f"service_point_id IN ({_POINTS})",
    "meters": f"service_point_id IN ({_POINTS})",
    "service_points": f"account_id IN ({_ACCOUNTS})",
    "payment_methods": f"account_id IN ({_ACCOUNTS})",
    "service_requests": f"account_id IN ({_ACCOUNTS})",
    "contacts": "customer_id = :customer",
}
_EMPTIED = {
    "statements": f"account_id IN ({_ACCOUNTS}) AND length(body) > 0",
    "payments": f"account_id IN ({_ACCOUNTS}) AND method_label <> ''",
    "messages": f"account_id IN ({_ACCOUNTS}) AND body IS NOT NULL",
    "tickets": f"account_id IN ({_ACCOUNTS}) AND service_point_id <> ''",
}
_DOCUMENTS = f"account_id IN ({_ACCOUNTS}) AND body IS NOT NULL"
_OPEN_REFUNDS = f"""
    SELECT count(*) FROM refunds r JOIN inbox i ON i.intent_id = r.intent_id AND i.fingerprint = r.fingerprint
    WHERE r.state IN ('due', 'attempting') AND i.account_id IN ({_ACCOUNTS})
"""  # noqa: S608 - no input
_OPEN_TICKETS = f"""
    SELECT ticket_number, account_id FROM tickets WHERE closed_at IS NULL AND account_id IN ({_ACCOUNTS})
"""  # noqa: S608 - no input
# The key stays one of its own and none that an address can have: an address has an at sign.
_BLANK = """
    UPDATE customers SET name = '', email = '', email_key = 'forgotten ' || customer_id, verifier = '',
        credential_version = credential_version + 1, status = 'revoked'
    WHERE customer_id = :customer
"""
_CLOSE = """
    UPDATE accounts SET status = 'closed', closed_on = coalesce(closed_on, :today) WHERE customer_id = :customer
"""
_MARK = "INSERT INTO erasures (customer_id, shard, epoch, seq, erased_at) VALUES (?, ?, ?, ?, ?)"


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """Why somebody cannot be forgotten yet: ``kind`` is a stable code, ``detail`` says what to do, without a name."""

    kind: ObstacleKind
    detail: str


class Prospect(msgspec.Struct, frozen=True, kw_only=True):
    """
    What forgetting a customer would do.

    ``counts`` are rows by table: deleted, or emptied of what is personal. ``forgotten_at`` says that it was done.
    """

    customer_id: str
    account_ids: list[str]
    counts: dict[str, int]
    obstacles: list[Obstacle] = []
    forgotten_at: datetime | None = None


class Tombstones(msgspec.Struct, frozen=True, kw_only=True):
    """How many documents of a shard were withdrawn; an edge above ``through`` in ``epoch`` shows none of them."""

    shard: str
    epoch: int
    through: int
    documents: int


def find_customer(connection: Connection, named: str) -> str:
    """
    Return the id of a customer who is named by it, or by an e-mail address.

    Raises:
        NobodyToForget: There is none.
    """
    row = connection.execute(
        "SELECT customer_id FROM customers WHERE customer_id = ? OR email_key = ?",
        (named, named.strip().casefold()),
    ).fetchone()
    if row is None:
        raise NobodyToForget
    return str(row[0])


def look_ahead(connection: Connection, customer_id: str) -> Prospect:
    """Tell what forgetting a customer would do, and what is in the way in the books; asks no edge."""
    of = {"customer": customer_id}
    account_ids = [row[0] for row in connection.execute(f"{_ACCOUNTS} ORDER BY account_id", of)]
    counts = {
        table: int(
            connection.execute(f"SELECT count(*) FROM {table} WHERE {where}", of).fetchone()[0]  # noqa: S608 - no input
        )
        for table, where in (_DELETED | _EMPTIED | {"documents": _DOCUMENTS}).items()
    }
    forgotten = forgotten_at(connection, customer_id)
    return Prospect(
        customer_id=customer_id,
        account_ids=account_ids,
        counts=counts,
        obstacles=[] if forgotten else _obstacles(connection, customer_id, account_ids),
        forgotten_at=forgotten,
    )


def _obstacles(
    connection: Connection, customer_id: str, account_ids: Sequence[str]
) -> list[Obstacle]:
    found = []
    for account_id in account_ids:
        balance = balance_cents(connection, account_id)
        if balance:
            told = f"account {account_id} has a balance of {balance} cents: settle it first"
            found.append(Obstacle(kind="balance", detail=told))
    found += [
        Obstacle(
            kind="case_open",
            detail=f"case {case.case_number} of account {case.account_id} is open: decide it at /ops first",
        )
        for account_id in account_ids
        for case in read_cases(connection, account_id=account_id)
    ]
    found += [
        Obstacle(
            kind="ticket_open",
            detail=f"ticket {number} of account {account_id} is open: core tickets close {number}",
        )
        for number, account_id in connection.execute(_OPEN_TICKETS, {"customer": customer_id})
    ]
    (refunds,) = connection.execute(_OPEN_REFUNDS, {"customer": customer_id}).fetchone()
    if refunds:
        told = f"{refunds} refunds are under way: wait until the payment processor has made them"
        found.append(Obstacle(kind="refund_open", detail=told))
    return found


def erase(tx: Transaction, customer_id: str, shard_count: int) -> Prospect:
    """
    Forget a customer, in a transaction that is alone; `withdrawn` then tells where the tombstones stand.

    Returns:
        What was done; one who was forgotten before is left as he is.

    Raises:
        ForgetRefused: Something in the books is in the way, such as a balance; says what to do.
        EdgesAwaited: This core was restored, and edges may bring back something of the customer.
    """
    connection, of = tx.connection, {"customer": customer_id}
    prospect = look_ahead(connection, customer_id)
    if prospect.forgotten_at is not None:
        return prospect
    if prospect.obstacles:
        raise ForgetRefused([each.detail for each in prospect.obstacles])
    refuse_while_awaiting(connection)
    documents = connection.execute(
        f"SELECT account_id, kind, key FROM documents WHERE {_DOCUMENTS}",  # noqa: S608 - no input
        of,
    ).fetchall()
    shards = {shard_of(account_id, shard_count) for account_id in prospect.account_ids}
    for shard in sorted(shards or {FIRST_SHARD}, key=int):
        head = read_head(connection, shard)
        connection.execute(_MARK, (customer_id, shard, head.epoch, head.head, to_text(tx.stamp)))
    for table, where in _DELETED.items():
        connection.execute(f"DELETE FROM {table} WHERE {where}", of)  # noqa: S608 - no input
    connection.execute(
        f"UPDATE statements SET body = :empty WHERE {_EMPTIED['statements']}",  # noqa: S608 - no input
        of | {"empty": b""},
    )
    connection.execute(f"UPDATE payments SET method_label = '' WHERE {_EMPTIED['payments']}", of)  # noqa: S608 - no input
    connection.execute(f"UPDATE messages SET body = NULL WHERE {_EMPTIED['messages']}", of)  # noqa: S608 - no input
    connection.execute(
        f"UPDATE tickets SET service_point_id = '' WHERE {_EMPTIED['tickets']}",  # noqa: S608 - no input
        of,
    )
    connection.execute(_BLANK, of)
    connection.execute(_CLOSE, of | {"today": tx.today.isoformat()})
    for account_id, kind, key in documents:
        tx.publish_encoded(account_id, kind, key, None)
    return prospect


def withdrawn(connection: Connection, customer_id: str) -> list[Tombstones]:
    """Tell where the documents of a forgotten customer were withdrawn, by shard, as long as tombstones are kept."""
    marks = connection.execute(
        "SELECT shard, epoch, seq FROM erasures WHERE customer_id = ?", (customer_id,)
    ).fetchall()
    found = []
    for shard, epoch, seq in sorted(marks, key=lambda mark: int(mark[0])):
        through, count = connection.execute(
            f"SELECT max(seq), count(*) FROM documents WHERE account_id IN ({_ACCOUNTS}) AND body IS NULL"  # noqa: S608 - no input
            " AND seq > :first AND seq <= :last",
            {"customer": customer_id, "first": seq, "last": last_seq(shard)},
        ).fetchone()
        if count:
            found.append(Tombstones(shard=shard, epoch=epoch, through=through, documents=count))
    return found

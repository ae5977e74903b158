"""
Edges that a restored core waits for before it decides anything new.

Raising the epoch puts every active edge on the list. An edge that has brought back all outcomes that it kept leaves it;
so does a revoked one, and all do when an operator does not want to wait any longer. While anybody is on the list no
intent is decided: what an edge still keeps may be about the very same payment.
"""

from cache_sync.sql import Connection
from core_cis.errors import EdgesAwaited
from core_cis.store import Transaction

_AWAITED = """
    SELECT a.node_id FROM awaited_edges a JOIN edges e ON e.node_id = a.node_id AND e.status = 'active'
    ORDER BY a.node_id
"""


def awaited_edges(connection: Connection) -> list[str]:
    """List the edges that have not brought back yet what they keep."""
    return [node_id for (node_id,) in connection.execute(_AWAITED).fetchall()]


def refuse_while_awaiting(connection: Connection) -> None:
    """
    Refuse to decide while any edge is awaited; called in the transaction that would decide.

    Raises:
        EdgesAwaited: Some are; says which.
    """
    awaited = awaited_edges(connection)
    if awaited:
        raise EdgesAwaited(awaited)


def await_every_edge(tx: Transaction, epoch: int) -> list[str]:
    """Wait for every active edge from here on; returns them."""
    tx.connection.execute("DELETE FROM awaited_edges")
    tx.connection.execute(
        "INSERT INTO awaited_edges (node_id, epoch) SELECT node_id, ? FROM edges WHERE status = 'active'",
        (epoch,),
    )
    return awaited_edges(tx.connection)


def no_longer_await(tx: Transaction, node_id: str, epoch: int) -> None:
    """Note that an edge has brought back everything for an epoch; of another epoch it says nothing."""
    tx.connection.execute(
        "DELETE FROM awaited_edges WHERE node_id = ? AND epoch = ?", (node_id, epoch)
    )


def await_nobody(tx: Transaction) -> list[str]:
    """Wait for nobody any more, at an operator's word; returns who was awaited."""
    awaited = awaited_edges(tx.connection)
    tx.connection.execute("DELETE FROM awaited_edges")
    return awaited

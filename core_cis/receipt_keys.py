"""Whom receipts are believed: the public keys of the core and of every edge that it ever had."""

from cache_sync.sql import Connection
from core_cis.registry import edge_keys
from failover.node_config import CORE_NODE_ID
from failover.signed_receipts import KnownKey


def read_receipt_keys(connection: Connection, core_key: str) -> list[KnownKey]:
    """List the core's key, the edges' and those that they had before; ``until`` is when one ended."""
    found = [KnownKey(node_id=CORE_NODE_ID, key=core_key)]
    for node_id, current in sorted(edge_keys(connection).items()):
        found.append(KnownKey(node_id=node_id, key=current.public_key, until=current.revoked_at))
        found += [
            KnownKey(node_id=node_id, key=former.public_key, until=former.replaced_at)
            for former in current.former
        ]
    return found

"""What operators want of the drain: hold it, or bound its pace, for one edge or for the fleet; kept with the books."""

import msgspec

from cache_sync.sql import Connection
from core_cis.errors import UnknownEdge
from core_cis.instants import to_text
from core_cis.store import Transaction

FLEET = ""
PACE_MAX = 1_000_000

_GIVE = """
    INSERT INTO drain_orders (node_id, held, pace, ordered_at) VALUES (?, ?, ?, ?)
    ON CONFLICT (node_id) DO UPDATE SET held = excluded.held, pace = excluded.pace, ordered_at = excluded.ordered_at
"""


class DrainOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the drain is held, and the most intents a second (None: the core's own pace)."""

    held: bool = False
    pace: int | None = None


class DrainOrders(msgspec.Struct, frozen=True):
    """The orders in force by edge; `FLEET` for the whole fleet."""

    given: dict[str, DrainOrder] = {}

    def of(self, node_id: str) -> DrainOrder:
        """Return what was ordered for one edge, or for the `FLEET`."""
        return self.given.get(node_id, DrainOrder())

    def held(self, node_id: str) -> bool:
        """Tell whether an edge's drain is held, by itself or with the fleet."""
        return self.of(node_id).held or self.of(FLEET).held

    def paces(self, node_id: str) -> dict[str, int]:
        """Name the bounds that an edge's drain is under: its own, and the one that all edges share."""
        bounds = {name: self.of(name).pace for name in (node_id, FLEET)}
        return {name: pace for name, pace in bounds.items() if pace is not None}


def read_orders(connection: Connection) -> DrainOrders:
    """Read the orders in force."""
    rows = connection.execute("SELECT node_id, held, pace FROM drain_orders").fetchall()
    return DrainOrders({name: DrainOrder(held=bool(held), pace=pace) for name, held, pace in rows})


def give_order(tx: Transaction, node_id: str, order: DrainOrder) -> None:
    """
    Put an order in force.

    Raises:
        UnknownEdge: There is no such edge.
    """
    known = tx.connection.execute("SELECT 1 FROM edges WHERE node_id = ?", (node_id,)).fetchone()
    if node_id != FLEET and known is None:
        raise UnknownEdge(node_id)
    tx.connection.execute(_GIVE, (node_id, int(order.held), order.pace, to_text(tx.stamp)))

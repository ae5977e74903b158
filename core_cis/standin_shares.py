"""Each edge's share of the stand-in total: told with its probes, kept with the books before it is told."""

from typing import NamedTuple

import msgspec
import structlog

from cache_sync.document_table import read_head
from cache_sync.shards import FIRST_SHARD
from cache_sync.sql import Connection, Error
from core_cis.domain.share_plan import Pot, Share, heard, planned
from core_cis.errors import NotBegun, WriterFull
from core_cis.standin_limits import LimitsInForce, read_limits, told_as
from core_cis.store import CoreStore, Transaction
from core_cis.writer import Turn, Writer
from failover.signed_orders import SignedOrder
from failover.standin import Holding
from failover.standin_orders import StandinOrder, sign_order

_COLUMNS = "epoch, serial, version, share_cents, held_cents"
_KEEP = """
    INSERT INTO standin_shares (node_id, epoch, serial, version, share_cents, held_cents) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (node_id) DO UPDATE SET epoch = excluded.epoch, serial = excluded.serial, version = excluded.version,
        share_cents = excluded.share_cents, held_cents = excluded.held_cents
"""
_OTHERS = """
    SELECT coalesce(sum(held_cents), 0), coalesce(sum(CASE WHEN epoch IN (0, ?) THEN 0 ELSE 1 END), 0)
    FROM standin_shares JOIN edges USING (node_id) WHERE status = 'active' AND node_id <> ?
"""
_log = structlog.get_logger(__name__)


class EdgeShare(msgspec.Struct, frozen=True, kw_only=True, rename=told_as):
    """
    An active edge's share: what it was told, of which order, and how much counts for it in the total.

    More counts than it was told while it has not been heard to follow, or has that much outstanding. Before the first
    order, ``version`` is 0 and what its own file says is not known here.
    """

    node_id: str
    version: int = 0
    share_cents: int = 0
    counted_cents: int = 0


class _Look(NamedTuple):
    limits: LimitsInForce
    before: Share
    after: Share


def read_shares(connection: Connection) -> list[EdgeShare]:
    """List the shares of all active edges."""
    rows = connection.execute(
        "SELECT node_id, coalesce(standin_shares.version, 0), coalesce(share_cents, 0), coalesce(held_cents, 0)"
        " FROM edges LEFT JOIN standin_shares USING (node_id) WHERE status = 'active' ORDER BY node_id"
    ).fetchall()
    return [
        EdgeShare(node_id=name, version=version, share_cents=share, counted_cents=held)
        for name, version, share, held in rows
    ]


class ShareDesk:
    """
    Tells edges their part of the limits in force.

    Args:
        writer: Who writes down what is told.
        signing_key: The core's.
    """

    def __init__(self, writer: Writer, signing_key: str) -> None:
        self._writer = writer
        self._signing_key = signing_key

    async def tell(
        self, node_id: str, said: Holding | None, seen: _Look | None, *, within_seconds: float
    ) -> SignedOrder | None:
        """
        Return an edge's order, durable here; None where it follows that already, or while no operator has given any.

        ``seen`` is what `look` found. Where it cannot be written down now nothing is told: the next probe asks again.
        """
        if seen is None:
            return None
        if seen.after != seen.before:
            try:
                seen = await self._writer.run(
                    lambda store: _keep(store, node_id, said),
                    turn=Turn.LIVE,
                    within_seconds=within_seconds,
                )
            except (Error, NotBegun, WriterFull) as error:
                _log.warning("an edge's share cannot be written down now", reason=str(error))
                return None
        if seen is None or (said is not None and said.place == seen.after.place):
            return None
        share = seen.after
        order = StandinOrder(
            node_id=node_id,
            epoch=share.epoch,
            serial=share.serial,
            version=share.version,
            limits=seen.limits.limits.with_share(share.share_cents),
        )
        return sign_order(order, self._signing_key)


def look(connection: Connection, node_id: str, said: Holding | None) -> _Look | None:
    """Find what an active edge is to be told; None while no operator has set limits."""
    found = read_limits(connection)
    if not found.version:
        return None
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM standin_shares WHERE node_id = ?",  # noqa: S608 - our own names
        (node_id,),
    ).fetchone()
    before = Share() if row is None else Share(**dict(zip(_COLUMNS.split(", "), row, strict=True)))
    known = heard(before, said)
    epoch = read_head(connection, FIRST_SHARD).epoch
    if (known.epoch, known.version, known.share_cents) == (epoch, found.version, found.share_cents):
        return _Look(found, before, known)
    held, unknown = connection.execute(_OTHERS, (epoch, node_id)).fetchone()
    pot = Pot(
        epoch=epoch,
        version=found.version,
        total_cents=found.limits.fleet_outstanding_cents,
        even_cents=found.share_cents,
        others_held_cents=held,
        others_known=not unknown,
    )
    return _Look(found, before, planned(known, pot))


def _keep(store: CoreStore, node_id: str, said: Holding | None) -> _Look | None:
    def work(tx: Transaction) -> _Look | None:
        found = look(tx.connection, node_id, said)
        if found is not None and found.after != found.before:
            tx.connection.execute(_KEEP, (node_id, *msgspec.structs.astuple(found.after)))
        return found

    # Alone: two edges that were told at once would both have the same room.
    return store.run(work, alone=True)

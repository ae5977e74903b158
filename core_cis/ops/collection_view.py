"""What operators see of collections: orders to disconnect that are still deserved, and what was done about bills."""

import msgspec

from cache_sync.sql import Connection, read
from core_cis.collection_records import TakenStep, read_moves, read_steps
from core_cis.collection_terms import TermsInForce, read_terms
from core_cis.domain.collecting import left_of_bills


class OpenOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A disconnection order that stands; ``unpaid`` is what is left of its bill now, in minor units."""

    order: TakenStep
    unpaid: int


class CollectionView(msgspec.Struct, frozen=True, kw_only=True):
    """
    Collections as they stand: the terms in force (None: none were set), the orders, every step, newest first.

    An order whose bill was paid since is among the steps and not among the orders.
    """

    terms: TermsInForce | None
    orders: list[OpenOrder]
    steps: list[TakenStep]


def view_collections(connection: Connection) -> CollectionView:
    """Read collections as they stand at one moment."""
    with read(connection):
        steps = read_steps(connection)
        orders = [
            OpenOrder(order=step, unpaid=unpaid)
            for step in steps
            if step.stands and step.step == "disconnection_order"
            if (unpaid := _unpaid(connection, step))
        ]
        return CollectionView(terms=read_terms(connection), orders=orders, steps=steps[::-1])


def _unpaid(connection: Connection, step: TakenStep) -> int:
    return left_of_bills(read_moves(connection, step.account_id)).get(step.statement_id, 0)

"""What waits where, put together from what the edges say: pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from core_cis.drain_orders import FLEET, DrainOrders
from failover.peer_messages import Holding, NodeStanding


class EdgeOverview(msgspec.Struct, frozen=True, kw_only=True):
    """
    What waits for the core of one edge's payments; amounts in minor units.

    ``answers`` is False when the edge was not reached: then ``mode``, ``reason`` and ``breaker`` are what it said last
    (empty when it never did), ``heard_at`` tells when, and the figures are what its siblings hold of it: at least so
    much waits. ``one_copy_amount`` is what no second node holds.
    """

    node_id: str
    answers: bool
    heard_at: datetime | None = None
    mode: str = ""
    reason: str = ""
    breaker: str = ""
    pending: int = 0
    amount: int = 0
    one_copy_amount: int = 0
    oldest_at: datetime | None = None
    oldest_seconds: float | None = None
    held: bool = False
    pace: int | None = None


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """
    The whole fleet at a look; amounts in minor units.

    ``held`` and ``pace`` are the orders for all edges together, ``open_cases`` the dead letters that nobody decided
    yet, ``audit_head`` the hash of the audit log's last line.
    """

    seen_at: datetime
    currency: str
    edges: list[EdgeOverview]
    pending: int
    amount: int
    one_copy_amount: int
    oldest_seconds: float | None
    held: bool
    pace: int | None
    credits: int
    open_cases: int
    failing: int
    audit_lines: int
    audit_head: str
    audit_whole: bool


class Heard(msgspec.Struct, frozen=True):
    """What an edge said last, and when."""

    standing: NodeStanding
    at: datetime


def edge_overviews(
    names: Iterable[str],
    heard: Mapping[str, Heard],
    silent: Iterable[str],
    orders: DrainOrders,
    now: datetime,
) -> list[EdgeOverview]:
    """
    Tell of every edge what waits.

    Args:
        names: The edges to tell of, revoked ones too: their siblings may hold something of them.
        heard: What each said last.
        silent: Those that were not reached this time.
        orders: Those in force.
        now: Core time.
    """
    unreached = set(silent)
    answering = {name: said.standing for name, said in heard.items() if name not in unreached}
    return [_overview(name, heard.get(name), answering, orders, now) for name in sorted(set(names))]


def _overview(
    name: str,
    said: Heard | None,
    answering: Mapping[str, NodeStanding],
    orders: DrainOrders,
    now: datetime,
) -> EdgeOverview:
    own = answering.get(name)
    orphans = _orphans(name, own.incarnation if own else None, answering.values())
    pending = (own.pending if own else 0) + sum(each.count for each in orphans)
    amount = (own.amount_cents if own else 0) + sum(each.cents for each in orphans)
    times = [each.oldest_at for each in orphans]
    times += [own.oldest_at] if own and own.oldest_at else []
    oldest = min(times, default=None)
    order = orders.of(name)
    return EdgeOverview(
        node_id=name,
        answers=own is not None,
        heard_at=said.at if said else None,
        mode=said.standing.mode if said else "",
        reason=said.standing.reason if said else "",
        breaker=said.standing.breaker if said else "",
        pending=pending,
        amount=amount,
        one_copy_amount=own.one_copy_cents if own else 0,
        oldest_at=oldest,
        oldest_seconds=max(0.0, (now - oldest).total_seconds()) if oldest else None,
        held=order.held or orders.of(FLEET).held,
        pace=order.pace,
    )


def _orphans(
    name: str, incarnation: str | None, standings: Iterable[NodeStanding]
) -> list[Holding]:
    """List what siblings hold of an edge that it does not tell itself; of two holders of the same, the fuller one."""
    found: dict[str, Holding] = {}
    for standing in standings:
        for holding in standing.holdings:
            if holding.writer != name or holding.incarnation == incarnation:
                continue
            known = found.get(holding.incarnation)
            if known is None or holding.count > known.count:
                found[holding.incarnation] = holding
    return list(found.values())

"""Payments summed by edge, day and outage, so that an operator sees where money is on its way. Pure."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from core_cis.reconciliation import Group, Line
from failover.intents import CORE_FINAL
from failover.peer_messages import Outage


def outage_of(accepted_at: datetime, outages: Iterable[Outage]) -> datetime | None:
    """Tell when the outage began in which something was accepted; None outside of every one."""
    for outage in outages:
        if outage.began_at <= accepted_at and (
            outage.ended_at is None or accepted_at < outage.ended_at
        ):
            return outage.began_at
    return None


def grouped(lines: Iterable[Line]) -> list[Group]:
    """
    Sum lines by edge, day and outage, the newest day first.

    An attempt that was voided at its edge was never accepted: it is counted only where something is wrong with it.
    """
    sums: dict[tuple[str, date, datetime | None], dict[str, Any]] = {}
    for line in lines:
        if line.verdict == "void":
            continue
        group = sums.setdefault((line.edge_id, line.day, line.outage), {})
        if line.verdict == "different":
            _add(group, "different", 1)
        if line.state == "void":
            continue
        what = line.state if line.state in CORE_FINAL else "pending"
        for name in ("accepted", what):
            _add(group, name, 1)
            _add(group, f"{name}_amount", line.amount)
    made = [
        Group(edge_id=edge_id, day=day, outage=outage, **counts)
        for (edge_id, day, outage), counts in sums.items()
    ]
    return sorted(
        made,
        key=lambda group: (
            -group.day.toordinal(),
            group.edge_id,
            group.outage is not None,
            group.outage.isoformat() if group.outage else "",
        ),
    )


def _add(group: dict[str, Any], name: str, value: int) -> None:
    group[name] = group.get(name, 0) + value

"""Payments summed by edge, day and outage, so that an operator sees where money is; messages by edge and type. Pure."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from core_cis.reconciliation import Books, Group, Line, MessageSums, Recorded, pair_of
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


def message_sums(recorded: Recorded, books: Books) -> list[MessageSums]:
    """Count messages by edge and type; an attempt that was voided at its edge was never accepted."""
    outcomes = {pair_of(item.intent): item.outcome for item in books.decided}
    intents = {pair: item.intent for pair, item in recorded.items.items() if item.state != "void"}
    intents |= {pair_of(item.intent): item.intent for item in books.decided}
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for pair, intent in intents.items():
        if intent.is_payment:
            continue
        counts = sums.setdefault((intent.edge_id, intent.type), {})
        outcome = outcomes.get(pair)
        for name in ("accepted", outcome.state if outcome else "pending"):
            counts[name] = counts.get(name, 0) + 1
    return [
        MessageSums(edge_id=edge_id, type=type_, **counts)
        for (edge_id, type_), counts in sorted(sums.items())
    ]


def _add(group: dict[str, Any], name: str, value: int) -> None:
    group[name] = group.get(name, 0) + value

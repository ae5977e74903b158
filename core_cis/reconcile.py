"""
Reconciliation: every payment that an edge accepted beside its entry in the ledger, equal to the cent; messages apart.

Pure: journals and books go in, a report comes out. Read the journals first and the books afterwards: whatever was
recorded in between is then newer than the journals, and is not missed but left for the next time.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from core_cis.instants import local_date
from core_cis.pruned_days import compare_pruned
from core_cis.reconcile_checks import differences
from core_cis.reconcile_groups import grouped, message_sums, outage_of
from core_cis.reconciliation import (
    Books,
    EdgeSums,
    Journal,
    LedgerPayment,
    Line,
    Recorded,
    Report,
    Verdict,
    pair_of,
    place_of,
)
from core_cis.settlement import SettlementLine, charge_differences, settlement_differences
from failover.intents import Outcome
from failover.peer_messages import Outage, RecordedIntent


def reconcile(
    journals: list[Journal],
    books: Books,
    *,
    unreachable: Iterable[str] = (),
    settlement: list[SettlementLine] | None = None,
    timezone: str = "UTC",
) -> Report:
    """
    Compare what edges recorded with what the core decided, posted and published.

    Args:
        journals: Of every edge that could be asked.
        books: The core's side, read after the journals.
        unreachable: Edges that could not be asked and count as not reconciled.
        settlement: The payment processor's file, to be compared too.
        timezone: The utility's, whose days payments are summed by.
    """
    recorded = Recorded(journals)
    found = list(differences(journals, recorded, books))
    pruned, wrong = compare_pruned(journals, recorded, books, timezone)
    found += wrong
    posted = {(one.payment_id, one.fingerprint) for one in books.payments if one.state == "posted"}
    found += charge_differences(books.card_charges, books.refunds, posted)
    if settlement is not None:
        found += settlement_differences(settlement, books.card_charges, books.refunds)
    lines = _lines(
        recorded,
        books,
        {(item.intent_id, item.edge_id) for item in found if item.intent_id},
        _Placing(timezone, {journal.node_id: journal.outages for journal in journals}),
    )
    pending = [line for line in lines if line.verdict == "pending"]
    messages = message_sums(recorded, books)
    missing = sorted(unreachable)
    edges = _sums(lines, reachable={journal.node_id for journal in journals}, others=missing)
    result: Literal["equal", "different", "incomplete"] = "equal"
    if found:
        result = "different"
    elif pending or missing or any(each.pending for each in messages):
        result = "incomplete"
    return Report(
        result=result,
        edges=edges,
        groups=grouped(lines),
        differences=found,
        pending=pending,
        unreachable=missing,
        payments=[line for line in lines if line.verdict not in {"pending", "void"}],
        messages=messages,
        pruned=pruned,
    )


class _Placing(NamedTuple):
    """What tells in which group a payment belongs."""

    timezone: str
    outages: dict[str, list[Outage]]


def _lines(
    recorded: Recorded, books: Books, different: set[tuple[str, str]], placing: _Placing
) -> list[Line]:
    ledger: dict[str, LedgerPayment] = {}
    for posted in books.ledger:
        if posted.payment_id is not None and posted.kind == "payment":
            ledger.setdefault(posted.payment_id, posted)
    decided = {pair_of(item.intent): item for item in books.decided}
    earlier = {
        (item.payment_id, item.fingerprint): item.fee_effective_on for item in books.payments
    }
    intents = {pair: item.intent for pair, item in recorded.items.items()}
    intents |= {pair: item.intent for pair, item in decided.items()}
    intents = {pair: intent for pair, intent in intents.items() if intent.is_payment}
    lines = []
    for pair, intent in intents.items():
        known = decided.get(pair)
        outcome = known.outcome if known else None
        entry = ledger.get(intent.intent_id) if outcome and outcome.state == "posted" else None
        item = recorded.items.get(pair)
        verdict = _verdict(outcome, entry, item)
        if {(intent.intent_id, intent.edge_id), (intent.intent_id, "")} & different:
            verdict = "different"
        lines.append(
            Line(
                intent_id=intent.intent_id,
                edge_id=intent.edge_id,
                account_id=intent.account_id,
                amount=intent.amount_cents,
                accepted_at=intent.accepted_at,
                day=local_date(intent.accepted_at, placing.timezone),
                outage=outage_of(intent.accepted_at, placing.outages.get(intent.edge_id, [])),
                state=outcome.state if outcome else item.state if item else "",
                verdict=verdict,
                value_date=outcome.value_date if outcome else None,
                fee_effective_on=earlier.get(pair),
                transaction_id=str(entry.transaction_id) if entry else None,
                ledger_amount=-entry.amount_cents if entry else None,
                held_by=recorded.holders.get(pair, []),
                pruned=recorded.is_pruned(place_of(intent)),
            )
        )
    return sorted(lines, key=lambda line: (line.edge_id, line.accepted_at, line.intent_id))


def _verdict(
    outcome: Outcome | None, entry: LedgerPayment | None, item: RecordedIntent | None
) -> Verdict:
    if outcome is None:
        return "void" if item is not None and item.state == "void" else "pending"
    if outcome.state != "posted":
        return "not_posted"
    return "reversed" if entry is not None and entry.reversed_by is not None else "equal"


def _sums(lines: list[Line], *, reachable: set[str], others: list[str]) -> list[EdgeSums]:
    edges: dict[str, dict[str, int]] = {name: {} for name in (*sorted(reachable), *others)}
    for line in lines:
        sums = edges.setdefault(line.edge_id, {})
        if line.verdict == "void":
            continue
        group = "posted" if line.state == "posted" else "not_posted"
        if line.verdict == "pending":
            group = "pending"
        for name, value in (("accepted", 1), ("accepted_amount", line.amount)):
            sums[name] = sums.get(name, 0) + value
        for name, value in ((group, 1), (f"{group}_amount", line.amount)):
            sums[name] = sums.get(name, 0) + value
        sums["ledger_amount"] = sums.get("ledger_amount", 0) + (line.ledger_amount or 0)
    return [
        EdgeSums(edge_id=name, reachable=name in reachable, **sums) for name, sums in edges.items()
    ]

"""
What must not be: the differences between journals, inbox, payments, ledger and documents. Pure.

Each check names what it found by a stable code (`Difference.kind`).
"""

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from core_cis.reconciliation import (
    Books,
    Decided,
    Difference,
    Journal,
    LedgerPayment,
    Recorded,
    pair_of,
    place_of,
)
from failover.intents import Intent


def differences(journals: list[Journal], recorded: Recorded, books: Books) -> Iterator[Difference]:
    """Yield everything that is not as it must be."""
    yield from _journal_differences(journals, recorded, books)
    yield from _outcome_differences(recorded, books)
    yield from _message_differences(books)
    yield from _posting_differences(books)
    yield from _ledger_differences(books)
    yield from _published_differences(books)


def _journal_differences(
    journals: list[Journal], recorded: Recorded, books: Books
) -> Iterator[Difference]:
    last = {(journal.node_id, journal.incarnation): journal.last_ordinal for journal in journals}
    known = [
        (item.intent, "a sibling holds a copy") for journal in journals for item in journal.copies
    ]
    known += [(item.intent, "the core decided it") for item in books.decided]
    told: set[tuple[str, str, int]] = set()
    for intent, whence in known:
        place = (intent.edge_id, intent.incarnation)
        own = recorded.own.get(place)
        if own is None or intent.ordinal > last[place] or intent.ordinal in own:
            continue
        if recorded.is_pruned(place_of(intent)):
            continue
        if (*place, intent.ordinal) not in told:
            told.add((*place, intent.ordinal))
            yield _difference(
                intent, "missing_from_journal", f"ordinal {intent.ordinal} is gone; {whence}"
            )
    for journal in journals:
        for ordinal in journal.missing:
            if (journal.node_id, journal.incarnation, ordinal) not in told:
                yield Difference(
                    kind="missing_from_journal",
                    detail=f"ordinal {ordinal} is gone, and nobody else knows it",
                    edge_id=journal.node_id,
                )


def _outcome_differences(recorded: Recorded, books: Books) -> Iterator[Difference]:
    decided = {pair_of(item.intent): item for item in books.decided}
    for item in recorded.records.values():
        known = decided.get(pair_of(item.intent))
        told = item.outcome
        if known is None:
            if told is not None:
                yield _difference(
                    item.intent,
                    "unknown_to_core",
                    f"the edge was told {told.state}; the core knows nothing of it",
                )
            continue
        if item.state == "void" and place_of(item.intent) == place_of(known.intent):
            yield _difference(item.intent, "void_but_decided", "the edge never offered it")
        # Who was told of the case before it was decided is told by the payment's document since.
        said = {(each.state, each.value_date) for each in (known.outcome, known.first) if each}
        if told is not None and (told.state, told.value_date) not in said:
            yield _difference(
                item.intent,
                "outcome_differs",
                f"the edge was told {told.state}, the core has {known.outcome.state}",
            )
        if not _same_content(item.intent, known.intent):
            yield _difference(
                item.intent,
                "content_differs",
                "the core decided something else than the edge recorded",
                expected=item.intent.amount_cents,
                found=known.intent.amount_cents,
            )


def _same_content(recorded: Intent, decided: Intent) -> bool:
    """Compare all but the signature; two records of one wish, at two edges, also differ in where and when."""
    if place_of(recorded) != place_of(decided):
        recorded = msgspec.structs.replace(
            recorded,
            edge_id=decided.edge_id,
            incarnation=decided.incarnation,
            ordinal=decided.ordinal,
            accepted_at=decided.accepted_at,
            not_after=decided.not_after,
        )
    # The kind and the processor's answer say how the money came, not what was wished. A body is told by its hash.
    recorded = msgspec.structs.replace(
        recorded, kind=decided.kind, capture=decided.capture, body=decided.body
    )
    return recorded == msgspec.structs.replace(decided, signature=recorded.signature)


def _message_differences(books: Books) -> Iterator[Difference]:
    messages = {(item.message_id, item.fingerprint): item for item in books.messages}
    for decided in books.decided:
        intent, outcome = decided.intent, decided.outcome
        if intent.is_payment:
            continue
        message = messages.get(pair_of(intent))
        kept = (message.state, message.type, message.account_id) if message else None
        if message is None or kept != (outcome.state, intent.type, intent.account_id):
            state = message.state if message else "nothing"
            yield _difference(
                intent, "message_differs", f"decided {outcome.state}, among the messages: {state}"
            )
        elif message.shown != (None if message.account_id in books.erased else message.state):
            yield _difference(
                intent,
                "message_not_shown",
                "its published document is missing or says something else",
            )


def _posting_differences(books: Books) -> Iterator[Difference]:
    payments = {(item.payment_id, item.fingerprint): item for item in books.payments}
    by_payment: dict[str, list[LedgerPayment]] = defaultdict(list)
    for posted in books.ledger:
        if posted.payment_id is not None and posted.kind != "reversal":
            by_payment[posted.payment_id].append(posted)
    wanted = [item for item in books.decided if item.intent.is_payment]
    posted_ids = {item.intent.intent_id for item in wanted if item.outcome.state == "posted"}
    for decided in wanted:
        intent, outcome = decided.intent, decided.outcome
        payment = payments.get(pair_of(intent))
        if payment is None or payment.state != outcome.state:
            state = payment.state if payment else "nothing"
            yield _difference(
                intent, "payment_differs", f"decided {outcome.state}, among the payments: {state}"
            )
        elif payment.amount_cents != intent.amount_cents or payment.account_id != intent.account_id:
            yield _difference(
                intent,
                "payment_differs",
                "account or amount of the payment is another than was recorded",
                expected=intent.amount_cents,
                found=payment.amount_cents,
            )
        entries = by_payment.get(intent.intent_id, [])
        if outcome.state == "posted":
            yield from _entry_differences(decided, entries)
        elif entries and intent.intent_id not in posted_ids:
            yield _difference(
                intent,
                "posted_though_not",
                f"decided {outcome.state}, and in the ledger as transaction {entries[0].transaction_id}",
                expected=0,
                found=-entries[0].amount_cents,
            )


def _entry_differences(decided: Decided, entries: list[LedgerPayment]) -> Iterator[Difference]:
    intent, outcome = decided.intent, decided.outcome
    if not entries:
        yield _difference(
            intent,
            "missing_posting",
            "posted, and not in the ledger",
            expected=-intent.amount_cents,
            found=0,
        )
        return
    if len(entries) > 1:
        numbers = ", ".join(str(entry.transaction_id) for entry in entries)
        yield _difference(
            intent,
            "double_posting",
            f"in the ledger {len(entries)} times: transactions {numbers}",
            expected=-intent.amount_cents,
            found=-sum(entry.amount_cents for entry in entries),
        )
    first = entries[0]
    if first.account_ids != (intent.account_id,):
        yield _difference(
            intent, "wrong_account", f"transaction {first.transaction_id} is on another account"
        )
    if first.amount_cents != intent.amount_cents:
        yield _difference(
            intent,
            "amount_differs",
            f"transaction {first.transaction_id} is of another amount",
            expected=-intent.amount_cents,
            found=-first.amount_cents,
        )
    if first.value_date != outcome.value_date:
        yield _difference(
            intent,
            "value_date_differs",
            f"promised {outcome.value_date}, in the ledger {first.value_date}",
        )


def _ledger_differences(books: Books) -> Iterator[Difference]:
    by_intent = {item.intent.intent_id for item in books.decided if item.intent.is_payment}
    payments = {item.payment_id for item in books.payments if item.state == "posted"}
    office: dict[str, list[LedgerPayment]] = defaultdict(list)
    for posted in books.ledger:
        if posted.kind == "reversal":
            continue
        where = f"transaction {posted.transaction_id} (source {posted.source})"
        account_id = posted.account_ids[0] if posted.account_ids else ""
        if posted.kind != "payment" or posted.payment_id is None:
            detail = f"{where} moves cash and names no payment"
        elif posted.source == "intent" and posted.payment_id not in by_intent:
            detail = f"{where} names an intent that never arrived"
        elif posted.source not in {"intent", "office"} or posted.payment_id not in payments:
            detail = f"{where} names no payment that was decided"
        else:
            if posted.payment_id not in by_intent:
                office[posted.payment_id].append(posted)
            continue
        yield Difference(
            kind="posting_without_payment",
            detail=detail,
            intent_id=posted.payment_id or "",
            account_id=account_id,
            expected=0,
            found=-posted.amount_cents,
        )
    expected = {item.payment_id: item for item in books.payments if item.source == "office"}
    for payment_id, item in expected.items():
        amounts = [posted.amount_cents for posted in office.get(payment_id, [])]
        if item.state == "posted" and amounts != [item.amount_cents]:
            yield Difference(
                kind="double_posting"
                if len(amounts) > 1
                else "amount_differs"
                if amounts
                else "missing_posting",
                detail=f"a payment at the office is in the ledger {len(amounts)} times",
                intent_id=payment_id,
                account_id=item.account_id,
                expected=-item.amount_cents,
                found=-sum(amounts),
            )
    for transaction_id in books.unbalanced:
        yield Difference(
            kind="unbalanced", detail=f"transaction {transaction_id}: debits and credits differ"
        )


def _published_differences(books: Books) -> Iterator[Difference]:
    for account_id, (owed, shown) in sorted(books.balances.items()):
        # Of who was forgotten nothing is shown, and nothing may be.
        if shown != (None if account_id in books.erased else owed):
            yield Difference(
                kind="balance_differs",
                detail="the published balance is not the ledger's",
                account_id=account_id,
                expected=owed,
                found=shown,
            )
    for payment in books.payments:
        shown_payment = books.published.get((payment.payment_id, payment.fingerprint))
        decided = (payment.state, payment.amount_cents)
        if shown_payment != (None if payment.account_id in books.erased else decided):
            yield Difference(
                kind="payment_not_shown",
                detail="its published document is missing or says something else",
                intent_id=payment.payment_id,
                account_id=payment.account_id,
                expected=payment.amount_cents,
                found=shown_payment[1] if shown_payment else None,
            )
    for statement_id, expected, found in books.charges:
        yield Difference(
            kind="charge_differs",
            detail=f"statement {statement_id} is in the ledger with another amount",
            expected=expected,
            found=found,
        )


def _difference(
    intent: Intent, kind: str, detail: str, *, expected: int | None = None, found: int | None = None
) -> Difference:
    return Difference(
        kind=kind,
        detail=detail,
        edge_id=intent.edge_id,
        intent_id=intent.intent_id,
        account_id=intent.account_id,
        expected=expected,
        found=found,
    )

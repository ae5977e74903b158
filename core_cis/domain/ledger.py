"""
The ledger's rules: double entry, append only, integer minor units.

Debits are positive, credits negative. A customer account's receivable grows by charges and falls by payments, so a
positive balance is owed. Corrections are reversals; nothing is ever changed.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Literal

import msgspec

RECEIVABLE = "receivable"
CASH_CLEARING = "cash_clearing"
TAX_PAYABLE = "tax_payable"
ADJUSTMENTS = "adjustments"
LATE_FEES = "revenue_late_fees"

Kind = Literal["charge", "payment", "adjustment", "reversal"]

# Where a statement line's amount is earned, by the line's kind.
REVENUE_ACCOUNTS: Mapping[str, str] = {
    "energy": "revenue_energy",
    "fixed": "revenue_fixed",
    "minimum": "revenue_minimum",
    "demand": "revenue_demand",
    "credit": "revenue_credit",
    "adjustment": ADJUSTMENTS,
    "tax": TAX_PAYABLE,
}
LEDGER_ACCOUNTS = frozenset({RECEIVABLE, CASH_CLEARING, LATE_FEES, *REVENUE_ACCOUNTS.values()})
# Sources of transactions: a bill's charges, and late fees.
STATEMENT = "statement"
LATE_FEE = "late_fee"


class UnbalancedTransaction(ValueError):
    """A transaction whose debits and credits differ, or which says nothing."""


class Entry(msgspec.Struct, frozen=True):
    """
    One side of a transaction.

    ``account_id`` names the customer account, on the receivable and only there. ``amount_cents`` is never 0.
    """

    ledger_account: str
    amount_cents: int
    account_id: str | None = None


class LedgerTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is posted as one: entries that sum to 0.

    (``source``, ``idempotency_key``) names the business event; the same event is posted once, whoever repeats it.
    """

    source: str
    idempotency_key: str
    kind: Kind
    description: str
    value_date: date
    entries: tuple[Entry, ...]
    payment_id: str | None = None

    def __post_init__(self) -> None:
        """
        Check the rules that no transaction may break.

        Raises:
            UnbalancedTransaction: Debits and credits differ, or an entry is malformed.
        """
        check_entries(self.entries)


def check_entries(entries: Iterable[Entry]) -> None:
    """
    Check that entries form a transaction.

    Raises:
        UnbalancedTransaction: They do not.
    """
    count = total = 0
    for entry in entries:
        if entry.ledger_account not in LEDGER_ACCOUNTS:
            raise UnbalancedTransaction(f"no such ledger account: {entry.ledger_account}")
        if entry.amount_cents == 0:
            raise UnbalancedTransaction("an entry of 0")
        if (entry.ledger_account == RECEIVABLE) != (entry.account_id is not None):
            raise UnbalancedTransaction("receivables, and only they, name a customer account")
        count += 1
        total += entry.amount_cents
    if count < 2 or total != 0:  # noqa: PLR2004 - double entry
        raise UnbalancedTransaction(f"{count} entries sum to {total}")


def charge(
    *,
    account_id: str,
    statement_id: str,
    value_date: date,
    description: str,
    lines: Iterable[tuple[str, int]],
) -> LedgerTransaction | None:
    """
    Post a statement's new charges: its lines, as (kind, amount in cents), against the account's receivable.

    None when nothing is left to post: a statement whose lines are all 0 moves no money.
    """
    earned: dict[str, int] = {}
    for kind, amount_cents in lines:
        ledger_account = REVENUE_ACCOUNTS[kind]
        earned[ledger_account] = earned.get(ledger_account, 0) + amount_cents
    entries = [Entry(name, -amount) for name, amount in sorted(earned.items()) if amount]
    total = -sum(entry.amount_cents for entry in entries)
    if total:
        entries.insert(0, Entry(RECEIVABLE, total, account_id))
    if not entries:
        return None
    return LedgerTransaction(
        source=STATEMENT,
        idempotency_key=statement_id,
        kind="charge",
        description=description,
        value_date=value_date,
        entries=tuple(entries),
    )


def payment(
    *,
    account_id: str,
    payment_id: str,
    source: str,
    amount_cents: int,
    value_date: date,
    description: str,
) -> LedgerTransaction:
    """Post a payment of a positive amount: cash comes in, the account's receivable falls."""
    return LedgerTransaction(
        source=source,
        idempotency_key=payment_id,
        kind="payment",
        description=description,
        value_date=value_date,
        entries=(
            Entry(CASH_CLEARING, amount_cents),
            Entry(RECEIVABLE, -amount_cents, account_id),
        ),
        payment_id=payment_id,
    )


def adjustment(
    *, account_id: str, key: str, amount_cents: int, value_date: date, description: str
) -> LedgerTransaction:
    """Post a correction by hand: positive raises what the account owes, such as an opening balance."""
    return LedgerTransaction(
        source="adjustment",
        idempotency_key=key,
        kind="adjustment",
        description=description,
        value_date=value_date,
        entries=(
            Entry(RECEIVABLE, amount_cents, account_id),
            Entry(ADJUSTMENTS, -amount_cents),
        ),
    )


def late_fee(
    *, account_id: str, key: str, amount_cents: int, value_date: date, description: str
) -> LedgerTransaction:
    """Charge a late fee of a positive amount: no bill's charge, so an adjustment that stands on the next bill."""
    return LedgerTransaction(
        source=LATE_FEE,
        idempotency_key=key,
        kind="adjustment",
        description=description,
        value_date=value_date,
        entries=(
            Entry(RECEIVABLE, amount_cents, account_id),
            Entry(LATE_FEES, -amount_cents),
        ),
    )


def reversal(of: LedgerTransaction, *, value_date: date, description: str) -> LedgerTransaction:
    """
    Undo a transaction by its mirror; the original stays.

    The key is the original's, so that one transaction is reversed at most once.
    """
    return LedgerTransaction(
        source=f"reversal:{of.source}",
        idempotency_key=of.idempotency_key,
        kind="reversal",
        description=description,
        value_date=value_date,
        entries=tuple(
            msgspec.structs.replace(entry, amount_cents=-entry.amount_cents) for entry in of.entries
        ),
        payment_id=of.payment_id,
    )


def balances(transactions: Iterable[LedgerTransaction]) -> dict[str, int]:
    """Replay transactions into what each customer account owes; an account without entries is not in it."""
    owed: dict[str, int] = {}
    for transaction in transactions:
        for entry in transaction.entries:
            if entry.account_id is not None:
                owed[entry.account_id] = owed.get(entry.account_id, 0) + entry.amount_cents
    return owed


def trial_balance(transactions: Iterable[LedgerTransaction]) -> dict[str, int]:
    """Sum every ledger account over all transactions; the sums of a sound ledger add up to 0."""
    sums: dict[str, int] = {}
    for transaction in transactions:
        for entry in transaction.entries:
            sums[entry.ledger_account] = sums.get(entry.ledger_account, 0) + entry.amount_cents
    return sums

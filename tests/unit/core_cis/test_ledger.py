"""The ledger's rules: what balances, what is refused, what a reversal is."""

from datetime import date

import pytest

from core_cis.domain import ledger
from core_cis.domain.ledger import Entry, LedgerTransaction, UnbalancedTransaction

DAY = date(2026, 3, 10)


@pytest.mark.parametrize(
    "entries",
    [
        (),
        (Entry("cash_clearing", 5),),
        (Entry("cash_clearing", 5), Entry("receivable", -4, "A")),
        (Entry("cash_clearing", 5), Entry("receivable", -5)),
        (Entry("cash_clearing", 5, "A"), Entry("receivable", -5, "A")),
        (Entry("cash_clearing", 0), Entry("receivable", 0, "A")),
        (Entry("petty_cash", 5), Entry("receivable", -5, "A")),
    ],
)
def test_refuses_what_is_no_double_entry(entries: tuple[Entry, ...]) -> None:
    """One-sided, unequal, empty, misnamed: none of them can even be made."""
    with pytest.raises(UnbalancedTransaction):
        LedgerTransaction(
            source="s",
            idempotency_key="k",
            kind="adjustment",
            description="",
            value_date=DAY,
            entries=entries,
        )


def test_charge_raises_and_payment_lowers_what_is_owed() -> None:
    """A bill of 52.10 and a payment of 50.00 leave 2.10 owed."""
    bill = ledger.charge(
        account_id="A",
        statement_id="S",
        value_date=DAY,
        description="bill",
        lines=[("energy", 4100), ("fixed", 900), ("tax", 210)],
    )
    assert bill is not None
    paid = ledger.payment(
        account_id="A",
        payment_id="P",
        source="intent",
        amount_cents=5000,
        value_date=DAY,
        description="payment",
    )
    assert ledger.balances([bill]) == {"A": 5210}
    assert ledger.balances([bill, paid]) == {"A": 210}
    assert ledger.trial_balance([bill, paid]) == {
        "receivable": 210,
        "cash_clearing": 5000,
        "revenue_energy": -4100,
        "revenue_fixed": -900,
        "tax_payable": -210,
    }


def test_credit_lines_lower_the_charge() -> None:
    """A statement whose credits outweigh its charges lowers what is owed."""
    bill = ledger.charge(
        account_id="A",
        statement_id="S",
        value_date=DAY,
        description="bill",
        lines=[("energy", 1000), ("credit", -1500)],
    )
    assert bill is not None
    assert ledger.balances([bill]) == {"A": -500}


def test_lines_of_nothing_post_nothing() -> None:
    """A statement of 0 moves no money, so there is nothing to post."""
    nothing = ledger.charge(
        account_id="A", statement_id="S", value_date=DAY, description="", lines=[("energy", 0)]
    )
    assert nothing is None


def test_reversal_mirrors_every_entry() -> None:
    """A reversal takes back to the cent, belongs to the same payment and has its own key."""
    paid = ledger.payment(
        account_id="A",
        payment_id="P",
        source="intent",
        amount_cents=5000,
        value_date=DAY,
        description="payment",
    )
    undone = ledger.reversal(paid, value_date=DAY, description="returned")
    assert ledger.balances([paid, undone]) == {"A": 0}
    assert (undone.kind, undone.payment_id) == ("reversal", "P")
    assert (undone.source, undone.idempotency_key) == ("reversal:intent", "P")

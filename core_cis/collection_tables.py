"""The tables of collections: what a utility does about bills that are not paid in time; conventions as in `tables`."""

from sqlalchemy import CheckConstraint, Index, PrimaryKeyConstraint

from core_cis.columns import Described, integer, key, one_of, text_
from core_cis.domain.collecting import STEPS


def collection_tables() -> tuple[Described, ...]:
    """Describe them."""
    # From when a posted payment counts for fees, where an edge accepted it before the one whose copy was posted; the
    # earliest holds.
    fee_effective_dates = (
        text_("payment_id"),
        text_("fingerprint"),
        text_("effective_on"),
        text_("accepted_at"),
        text_("edge_id"),
        text_("delivered_by"),
        text_("noted_at"),
        PrimaryKeyConstraint("payment_id", "fingerprint", "effective_on"),
    )
    # The terms that operators set, every version; terms is JSON. The newest holds.
    collection_terms = (key("version"), text_("terms"), text_("ordered_at"))
    # The steps that were taken for a bill. as_of is the day of the decision, judged_through the last day that payments
    # counted for it. fee_cents and transaction_id are those of a late fee. override_number is the line of the audit log
    # with which an operator did without an edge's word. attempt counts what was taken again after a reversal.
    collection_steps = (
        text_("statement_id"),
        text_("step"),
        integer("attempt"),
        text_("account_id"),
        text_("as_of"),
        text_("judged_through"),
        integer("overdue_cents"),
        integer("fee_cents"),
        integer("transaction_id", nullable=True),
        integer("terms_version"),
        integer("override_number", nullable=True),
        text_("taken_at"),
        PrimaryKeyConstraint("statement_id", "step", "attempt"),
        one_of("step", *STEPS),
        CheckConstraint("overdue_cents > 0"),
        CheckConstraint("(step = 'late_fee') = (transaction_id IS NOT NULL)"),
        Index("collection_steps_of_account", "account_id"),
    )
    # Steps that were taken back, each once: a payment that came later had been made in time. transaction_id is that of
    # the fee's reversal.
    collection_reversals = (
        text_("statement_id"),
        text_("step"),
        integer("attempt"),
        text_("payment_id"),
        integer("transaction_id", nullable=True),
        text_("reversed_at"),
        PrimaryKeyConstraint("statement_id", "step", "attempt"),
    )
    return (
        ("fee_effective_dates", fee_effective_dates),
        ("collection_terms", collection_terms),
        ("collection_steps", collection_steps),
        ("collection_reversals", collection_reversals),
    )

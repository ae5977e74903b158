"""The tables of collections: what bills that are not paid in time lead to; conventions as in `tables`."""

from sqlalchemy import PrimaryKeyConstraint

from core_cis.columns import Described, text_


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
    return (("fee_effective_dates", fee_effective_dates),)

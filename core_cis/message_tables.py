"""The tables of what customers send besides payments; conventions as in `tables`."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, PrimaryKeyConstraint, UniqueConstraint

from core_cis.columns import Described, bytes_, in_order, one_of, text_


def message_tables(dialect: str) -> tuple[Described, ...]:
    """Describe them."""
    # Every decided message, whatever became of it; two rows share message_id as payments share theirs. body is the
    # JSON of the type's struct: it is here and in no other table, and may be emptied.
    messages = (
        text_("message_id"),
        text_("fingerprint"),
        text_("account_id"),
        text_("type"),
        text_("state"),
        text_("reason", server_default=""),
        text_("case_number", server_default=""),
        text_("accepted_at"),
        text_("decided_at"),
        text_("body_hash"),
        bytes_("body", nullable=True),
        in_order(dialect),
        UniqueConstraint("message_id", "fingerprint"),
        one_of("state", "posted", "rejected", "dead_letter", "cancelled"),
        Index("messages_of_account", "account_id"),
    )
    # What somebody at the utility has to see to; messages name the ticket that they stand under as their case_number.
    # opened_at and reported_at are when the first and the last of them were accepted.
    tickets = (
        text_("ticket_number", primary_key=True),
        text_("type"),
        text_("account_id"),
        text_("service_point_id", server_default=""),
        text_("opened_at"),
        text_("reported_at"),
        text_("closed_at", nullable=True),
        CheckConstraint("opened_at <= reported_at"),
        Index("tickets_of_service_point", "service_point_id", "opened_at"),
    )
    # For each ticket of service requests the message whose wish holds: the one that was accepted last. What it says
    # stays in that message's body.
    service_requests = (
        text_("ticket_number", ForeignKey("tickets.ticket_number"), primary_key=True),
        text_("account_id"),
        text_("kind"),
        text_("message_id"),
        text_("fingerprint"),
        text_("told_as"),
        Index("service_requests_of_account", "account_id", "kind"),
    )
    # How customers want to be reached. told_as orders what told it: accepted_at, edge, journal and place in it.
    contacts = (
        text_("customer_id", ForeignKey("customers.customer_id")),
        text_("field"),
        text_("value"),
        text_("told_as"),
        PrimaryKeyConstraint("customer_id", "field"),
        one_of("field", "email", "phone"),
    )
    return (
        ("messages", messages),
        ("tickets", tickets),
        ("service_requests", service_requests),
        ("contacts", contacts),
    )

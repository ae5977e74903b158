"""The tables of what operators order and do; conventions as in `tables`."""

from sqlalchemy import CheckConstraint, ForeignKey, PrimaryKeyConstraint

from core_cis.columns import Described, bytes_, integer, key, one_of, text_


def operator_tables() -> tuple[Described, ...]:
    """Describe them."""
    # What operators did, each row chained to the one before by its hash and signed by the core. detail is JSON;
    # request_key names the request that it answered, so that the same request is answered once.
    audit_log = (
        key("number"),
        text_("at"),
        text_("operator"),
        text_("via"),
        text_("action"),
        text_("subject"),
        text_("reason"),
        text_("detail"),
        text_("request_key", nullable=True, unique=True),
        bytes_("hash"),
        bytes_("signature"),
        one_of("via", "console", "api", "command"),
    )
    # What operators want of the drain, by edge; node_id is empty for the whole fleet. pace is in intents a second.
    drain_orders = (
        text_("node_id", primary_key=True),
        integer("held"),
        integer("pace", nullable=True),
        text_("ordered_at"),
        CheckConstraint("held IN (0, 1)"),
        CheckConstraint("pace > 0"),
    )
    # What became of dead letters: the outcome that follows the inbox's. outcome is msgpack.
    case_outcomes = (
        text_("intent_id"),
        text_("fingerprint"),
        text_("state"),
        text_("decided_at"),
        bytes_("outcome"),
        PrimaryKeyConstraint("intent_id", "fingerprint"),
    )
    # Whose data was removed for good. seq is the last place of a shard at which the person's documents were still
    # published: snapshot files of that place and before are not handed out any more.
    erasures = (
        text_("customer_id", ForeignKey("customers.customer_id")),
        text_("shard"),
        integer("epoch"),
        integer("seq"),
        text_("erased_at"),
        PrimaryKeyConstraint("customer_id", "shard"),
    )
    # In which version each kind of body is written, the first where none is named.
    written_versions = (text_("kind", primary_key=True), integer("version"))
    # The stand-in limits that operators set, every version; limits is JSON. The newest holds.
    standin_limits = (key("version"), text_("limits"), text_("ordered_at"))
    # The share of the fleet's total by edge: the order that it was told last (epoch and serial name it, version is the
    # limits' that it was made of), and the most that may be outstanding there until it is heard to follow.
    standin_shares = (
        text_("node_id", primary_key=True),
        integer("epoch"),
        integer("serial"),
        integer("version"),
        integer("share_cents"),
        integer("held_cents"),
    )
    return (
        ("audit_log", audit_log),
        *_backups(),
        ("standin_limits", standin_limits),
        ("standin_shares", standin_shares),
        ("written_versions", written_versions),
        ("drain_orders", drain_orders),
        ("case_outcomes", case_outcomes),
        ("erasures", erasures),
    )


def _backups() -> tuple[Described, ...]:
    # Backups of these books: the row is there before the copy is made, and in the copy. epoch and heads (JSON, by
    # shard) are how far documents were then. A backup that is kept is one that operators may go back to.
    backups = (
        text_("mark", primary_key=True),
        text_("begun_at"),
        integer("epoch"),
        text_("heads"),
        text_("state", server_default="begun"),
        text_("label", server_default=""),
        text_("named_at", nullable=True),
        one_of("state", "begun", "kept", "released"),
    )
    # Edges that have dropped what a backup covers which is not in these books: they were restored from an older one.
    unheld_marks = (
        text_("node_id", ForeignKey("edges.node_id"), primary_key=True),
        text_("mark"),
        text_("told_at"),
    )
    return ("backups", backups), ("unheld_marks", unheld_marks)

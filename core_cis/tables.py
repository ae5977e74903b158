"""
The tables of the system of record, for SQLite and for PostgreSQL.

Conventions: money is integer minor units (`*_cents`), energy integer Wh (`*_wh`); instants are text in UTC as
`instants.to_text` writes them, so that they sort; local dates are text `YYYY-MM-DD`; periods are
`[period_from, period_to)`. On SQLite every table is STRICT; on PostgreSQL text is compared byte by byte as SQLite does,
whatever the database's own collation, and where the order of arrival matters a column `rowid` keeps it, as SQLite's
own does.

What more the database refuses stands in `schema`. The tables of documents, their head and core time are those that
`cache_sync` works with.
"""

from functools import cache

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    text,
)

from core_cis.collection_tables import collection_tables
from core_cis.columns import Described as _Described
from core_cis.columns import bytes_ as _bytes
from core_cis.columns import in_order as _in_order
from core_cis.columns import integer as _integer
from core_cis.columns import key as _key
from core_cis.columns import numbered as _numbered
from core_cis.columns import one_of as _one_of
from core_cis.columns import text_ as _text
from core_cis.columns import where as _where
from core_cis.message_tables import message_tables
from core_cis.metering_tables import metering_tables
from core_cis.operator_tables import operator_tables


@cache
def tables(dialect: str) -> MetaData:
    """Describe the tables for `sqlite` or `postgresql`."""
    metadata = MetaData()
    described = (
        *_parties(dialect),
        *metering_tables(),
        *_tariffs(dialect),
        *_ledger(),
        *_payments(dialect),
        *collection_tables(),
        *message_tables(dialect),
        *_money(),
        *_edges(),
        *operator_tables(),
        *_documents(),
    )
    for name, parts in described:
        without_rowid = name == "former_edge_keys"
        Table(
            name,
            metadata,
            *(part for part in parts if part is not None),
            sqlite_strict=True,
            sqlite_with_rowid=not without_rowid,
        )
    return metadata


def _parties(dialect: str) -> tuple[_Described, ...]:
    utility = (
        _key("id"),
        _text("name"),
        _text("timezone"),
        _text("currency"),
        _text("phone"),
        _integer("edge_retention_months"),
        CheckConstraint("id = 1"),
        CheckConstraint("length(currency) = 3"),
        CheckConstraint("edge_retention_months > 0"),
    )
    # email_key is the trimmed, case-folded address: one sign-in each.
    customers = (
        _text("customer_id", primary_key=True),
        _text("name"),
        _text("email"),
        _text("email_key", unique=True),
        _text("verifier"),
        _integer("credential_version", server_default=text("1")),
        _text("status", server_default="active"),
        _one_of("status", "active", "revoked"),
    )
    accounts = (
        _text("account_id", primary_key=True),
        _text("customer_id", ForeignKey("customers.customer_id")),
        _text("status", server_default="active"),
        _text("opened_on", nullable=True),
        _text("closed_on", nullable=True),
        _one_of("status", "active", "closed"),
        Index("accounts_of_customer", "customer_id"),
    )
    # token is what the payment processor knows the method by; it never leaves the core.
    payment_methods = (
        _text("method_id", primary_key=True),
        _text("account_id", ForeignKey("accounts.account_id")),
        _text("token"),
        _text("type"),
        _text("label"),
        _text("status"),
        _in_order(dialect),
        _one_of("type", "card", "bank_account"),
        _one_of("status", "verified", "unverified", "expired"),
        Index("payment_methods_of_account", "account_id"),
    )
    return (
        ("utility", utility),
        ("customers", customers),
        ("accounts", accounts),
        ("payment_methods", payment_methods),
    )


def _tariffs(dialect: str) -> tuple[_Described, ...]:
    # body is the JSON of the domain's Tariff.
    is_json = "json_valid(body)" if dialect == "sqlite" else "(body::json) IS NOT NULL"
    tariffs = (
        _text("code"),
        _text("effective_from"),
        _text("name"),
        _text("utility"),
        _text("source"),
        _text("body"),
        CheckConstraint(is_json),
        PrimaryKeyConstraint("code", "effective_from"),
    )
    service_point_tariffs = (
        _text("service_point_id", ForeignKey("service_points.service_point_id")),
        _text("effective_from"),
        _text("tariff_code"),
        PrimaryKeyConstraint("service_point_id", "effective_from"),
    )
    return ("tariffs", tariffs), ("service_point_tariffs", service_point_tariffs)


def _ledger() -> tuple[_Described, ...]:
    # Entries are written first, the transaction's row last: its trigger then sees them all, and the deferred foreign
    # key lets no commit through that has entries without their transaction. payment_id names the payment that a
    # payment's transaction, or its reversal, belongs to.
    ledger_transactions = (
        _key("transaction_id"),
        _text("source"),
        _text("idempotency_key"),
        _text("kind"),
        _text("description"),
        _text("value_date"),
        _text("posted_at"),
        _text("payment_id", nullable=True),
        _integer(
            "reverses_transaction_id",
            ForeignKey("ledger_transactions.transaction_id"),
            nullable=True,
            unique=True,
        ),
        UniqueConstraint("source", "idempotency_key"),
        _one_of("kind", "charge", "payment", "adjustment", "reversal"),
        CheckConstraint("(kind = 'reversal') = (reverses_transaction_id IS NOT NULL)"),
        Index("ledger_transactions_of_payment", "payment_id", **_where("payment_id IS NOT NULL")),
    )
    # amount_cents: debits positive, credits negative.
    ledger_entries = (
        _numbered("entry_id"),
        _integer(
            "transaction_id",
            ForeignKey("ledger_transactions.transaction_id", deferrable=True, initially="DEFERRED"),
        ),
        _text("ledger_account"),
        _text("account_id", ForeignKey("accounts.account_id"), nullable=True),
        _integer("amount_cents"),
        CheckConstraint("amount_cents <> 0"),
        CheckConstraint("(ledger_account = 'receivable') = (account_id IS NOT NULL)"),
        Index("ledger_entries_of_transaction", "transaction_id"),
        Index(
            "ledger_entries_of_account",
            "account_id",
            "amount_cents",
            **_where("account_id IS NOT NULL"),
        ),
    )
    # body is the JSON of the published StatementBody; no foreign key may keep the ledger from being replayed alone.
    statements = (
        _text("statement_id", primary_key=True),
        _text("account_id", ForeignKey("accounts.account_id")),
        _text("period_from"),
        _text("period_to"),
        _text("issued_on"),
        _text("due_date"),
        _integer("total_cents"),
        _integer("amount_due_cents"),
        _bytes("body"),
        UniqueConstraint("account_id", "period_to"),
        UniqueConstraint("account_id", "period_from"),
        CheckConstraint("period_from < period_to"),
    )
    return (
        ("ledger_transactions", ledger_transactions),
        ("ledger_entries", ledger_entries),
        ("statements", statements),
    )


def _payments(dialect: str) -> tuple[_Described, ...]:
    # Every decided payment, whatever became of it. payment_id is the intent's id when it came through an edge; two
    # rows share it only when two edges took different payments under one key: one wins, the others are rejected.
    payments = (
        _text("payment_id"),
        _text("fingerprint"),
        _text("account_id"),
        _text("state"),
        _integer("amount_cents"),
        _text("currency"),
        _text("method_id"),
        _text("method_label"),
        _text("source"),
        _text("accepted_at"),
        _text("decided_at"),
        _text("value_date", nullable=True),
        _integer("value_date_clamped", server_default=text("0")),
        _text("reason", server_default=""),
        _text("case_number", server_default=""),
        _integer("transaction_id", ForeignKey("ledger_transactions.transaction_id"), nullable=True),
        _in_order(dialect),
        UniqueConstraint("payment_id", "fingerprint"),
        _one_of("state", "posted", "rejected", "dead_letter", "cancelled"),
        _one_of("source", "intent", "office"),
        CheckConstraint("value_date_clamped IN (0, 1)"),
        CheckConstraint("(state = 'posted') = (transaction_id IS NOT NULL)"),
        Index("payments_of_account", "account_id"),
    )
    # The first outcome of every intent that reached the core, kept for ever. intent and outcome are msgpack.
    inbox = (
        _text("intent_id"),
        _text("fingerprint"),
        _integer("won"),
        _text("state"),
        _text("account_id"),
        _text("edge_id"),
        _text("incarnation"),
        _integer("ordinal"),
        _text("delivered_by"),
        _text("received_at"),
        _bytes("intent"),
        _bytes("outcome"),
        _in_order(dialect),
        CheckConstraint("won IN (0, 1)"),
        UniqueConstraint("intent_id", "fingerprint"),
        Index("inbox_one_winner", "intent_id", unique=True, **_where("won = 1")),
        Index("inbox_dead_letters", "intent_id", **_where("state = 'dead_letter'")),
    )
    # Intents whose processing failed unexpectedly and has not been given up yet.
    intake_failures = (
        _text("intent_id"),
        _text("fingerprint"),
        _integer("attempts"),
        _text("last_error"),
        _text("failed_at"),
        PrimaryKeyConstraint("intent_id", "fingerprint"),
    )
    return ("payments", payments), ("inbox", inbox), ("intake_failures", intake_failures)


def _money() -> tuple[_Described, ...]:
    # What became of every charge at the payment processor: the row is there before the call. kind is the intent's.
    charges = (
        _text("intent_id"),
        _text("fingerprint"),
        _text("kind"),
        _text("state"),
        _integer("amount_cents"),
        _text("currency"),
        _text("charge_id", server_default=""),
        _text("code", server_default=""),
        _text("begun_at"),
        _text("answered_at", nullable=True),
        PrimaryKeyConstraint("intent_id", "fingerprint"),
        _one_of("kind", "promise", "captured"),
        _one_of("state", "attempting", "captured", "declined", "nothing", "conflict", "review"),
    )
    # Charges that cannot be posted and have to be given back, each once.
    refunds = (
        _text("charge_id", primary_key=True),
        _text("intent_id"),
        _text("fingerprint"),
        _integer("amount_cents"),
        _text("currency"),
        _text("reason"),
        _text("state", server_default="due"),
        _text("refund_id", server_default=""),
        _text("due_at"),
        _text("begun_at", nullable=True),
        _text("done_at", nullable=True),
        _one_of("state", "due", "attempting", "done", "review"),
        Index("refunds_open", "due_at", **_where("state IN ('due', 'attempting')")),
    )
    return ("charges", charges), ("refunds", refunds)


def _edges() -> tuple[_Described, ...]:
    # unissued is the private part (JSON) until the edge's configuration has been written, then NULL. feed_url is where
    # an edge passes documents on to its siblings; empty where it does not. shards are those that it may read, separated
    # by commas; empty: all.
    edges = (
        _text("node_id", primary_key=True),
        _text("public_key"),
        _text("secret_sha256"),
        _text("peer_url"),
        _text("status", server_default="active"),
        _text("registered_at"),
        _text("revoked_at", nullable=True),
        _text("unissued", nullable=True),
        _text("feed_url", server_default=""),
        _text("shards", server_default=""),
        _one_of("status", "active", "revoked"),
    )
    # Of edges whose keys were lost and made anew: what these signed before then is still a promise to a customer.
    former_edge_keys = (
        _text("node_id", ForeignKey("edges.node_id")),
        _text("public_key"),
        _text("replaced_at"),
        PrimaryKeyConstraint("node_id", "public_key"),
    )
    # What an edge said last that it holds of a shard, also after a power loss.
    edge_places = (
        _text("node_id", ForeignKey("edges.node_id")),
        _text("shard"),
        _integer("epoch"),
        _integer("seq"),
        _text("reported_at"),
        PrimaryKeyConstraint("node_id", "shard"),
    )
    # Whom a restored core waits for before it decides anything new, and in which epoch.
    awaited_edges = (
        _text("node_id", ForeignKey("edges.node_id"), primary_key=True),
        _integer("epoch"),
    )
    # The newest version of each kind of body that an edge said last that it reads.
    edge_reads = (
        _text("node_id", ForeignKey("edges.node_id")),
        _text("kind"),
        _integer("version"),
        _text("reported_at"),
        PrimaryKeyConstraint("node_id", "kind"),
    )
    return (
        ("edges", edges),
        ("former_edge_keys", former_edge_keys),
        ("edge_places", edge_places),
        ("edge_reads", edge_reads),
        ("awaited_edges", awaited_edges),
    )


def _documents() -> tuple[_Described, ...]:
    documents = (
        _key("seq"),
        _text("account_id"),
        _text("kind"),
        _text("key"),
        _integer("version"),
        _integer("row_hash", nullable=True),
        _bytes("body", nullable=True),
        Index("documents_by_name", "account_id", "kind", "key", unique=True),
        # Partial: a sign-in looks a credential up by its key alone; the others are asked for by account.
        Index("credentials_by_key", "kind", "key", **_where("kind = 'credential'")),
        Index("tombstones", "seq", **_where("body IS NULL")),
    )
    shard_head = (
        _text("shard", primary_key=True),
        _integer("epoch"),
        _integer("head"),
        _integer("floor"),
        _integer("live_hash"),
        _integer("live_rows"),
        _bytes("chain"),
        _bytes("seal"),
    )
    return (
        ("documents", documents),
        ("shard_head", shard_head),
        ("commits", (_key("seq"), _bytes("chain"))),
        ("core_clock", (_key("id"), _integer("high_water_us"))),
    )

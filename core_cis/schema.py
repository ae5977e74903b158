"""
The tables of the system of record.

Conventions: every table is STRICT; money is integer minor units (`*_cents`), energy integer Wh (`*_wh`); instants are
TEXT in UTC as `instants.to_text` writes them, so that they sort; local dates are TEXT `YYYY-MM-DD`; periods are
`[period_from, period_to)`. The tables of documents, their head and core time are cache_sync's.

What the database itself refuses, whoever writes: a ledger transaction that does not balance, an entry added to a
written transaction, a changed or deleted ledger row, a changed or deleted statement, a changed first outcome of an
intent, a second winner of an intent's id.
"""

from cache_sync.sqlite import Connection, database
from core_cis.errors import UnknownSchema

SCHEMA_VERSION = 3

_PARTIES = (
    """
    CREATE TABLE utility (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        name TEXT NOT NULL,
        timezone TEXT NOT NULL,
        currency TEXT NOT NULL CHECK (length(currency) = 3),
        phone TEXT NOT NULL,
        edge_retention_months INTEGER NOT NULL CHECK (edge_retention_months > 0)
    ) STRICT
    """,
    # email_key is the trimmed, case-folded address: one sign-in each.
    """
    CREATE TABLE customers (
        customer_id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        email TEXT NOT NULL,
        email_key TEXT NOT NULL UNIQUE,
        verifier TEXT NOT NULL,
        credential_version INTEGER NOT NULL DEFAULT 1,
        status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'revoked'))
    ) STRICT
    """,
    """
    CREATE TABLE accounts (
        account_id TEXT PRIMARY KEY,
        customer_id TEXT NOT NULL REFERENCES customers,
        status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'closed')),
        opened_on TEXT,
        closed_on TEXT
    ) STRICT
    """,
    "CREATE INDEX accounts_of_customer ON accounts (customer_id)",
    # token is what the payment processor knows the method by; it never leaves the core.
    """
    CREATE TABLE payment_methods (
        method_id TEXT PRIMARY KEY,
        account_id TEXT NOT NULL REFERENCES accounts,
        token TEXT NOT NULL,
        type TEXT NOT NULL CHECK (type IN ('card', 'bank_account')),
        label TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('verified', 'unverified', 'expired'))
    ) STRICT
    """,
    "CREATE INDEX payment_methods_of_account ON payment_methods (account_id)",
)

_METERING = (
    # supplied_from and supplied_to bound the account's supply; NULL where it is not known or goes on.
    """
    CREATE TABLE service_points (
        service_point_id TEXT PRIMARY KEY,
        account_id TEXT NOT NULL REFERENCES accounts,
        address TEXT NOT NULL,
        supplied_from TEXT,
        supplied_to TEXT
    ) STRICT
    """,
    "CREATE INDEX service_points_of_account ON service_points (account_id)",
    """
    CREATE TABLE meters (
        meter_id TEXT PRIMARY KEY,
        service_point_id TEXT NOT NULL REFERENCES service_points,
        installed_on TEXT,
        removed_on TEXT,
        initial_register_wh INTEGER NOT NULL DEFAULT 0
    ) STRICT
    """,
    "CREATE INDEX meters_of_service_point ON meters (service_point_id)",
    # One local day of readings. start is the day's first instant in epoch seconds; values_wh and qualities are
    # msgpack arrays with one element for each interval of the day (23, 24 or 25 hours), null where nothing is known;
    # qualities are ESPI's codes.
    """
    CREATE TABLE interval_blocks (
        service_point_id TEXT NOT NULL REFERENCES service_points,
        day TEXT NOT NULL,
        start INTEGER NOT NULL,
        interval_seconds INTEGER NOT NULL CHECK (interval_seconds > 0),
        values_wh BLOB NOT NULL,
        qualities BLOB NOT NULL,
        meter_id TEXT REFERENCES meters,
        UNIQUE (service_point_id, day)
    ) STRICT
    """,
    """
    CREATE TABLE register_reads (
        meter_id TEXT NOT NULL REFERENCES meters,
        read_at TEXT NOT NULL,
        register_wh INTEGER NOT NULL,
        quality INTEGER NOT NULL,
        UNIQUE (meter_id, read_at)
    ) STRICT
    """,
    # What an import kept out (quarantined) or remarked on. line is 0 where none is to blame.
    """
    CREATE TABLE import_findings (
        finding_id INTEGER PRIMARY KEY,
        imported_at TEXT NOT NULL,
        source TEXT NOT NULL,
        line INTEGER NOT NULL,
        code TEXT NOT NULL,
        detail TEXT NOT NULL,
        service_point_id TEXT,
        start INTEGER,
        duration_seconds INTEGER,
        UNIQUE (source, service_point_id, line, code, start)
    ) STRICT
    """,
    # body is the JSON of the domain's Tariff.
    """
    CREATE TABLE tariffs (
        code TEXT NOT NULL,
        effective_from TEXT NOT NULL,
        name TEXT NOT NULL,
        utility TEXT NOT NULL,
        source TEXT NOT NULL,
        body TEXT NOT NULL CHECK (json_valid(body)),
        PRIMARY KEY (code, effective_from)
    ) STRICT
    """,
    """
    CREATE TABLE service_point_tariffs (
        service_point_id TEXT NOT NULL REFERENCES service_points,
        effective_from TEXT NOT NULL,
        tariff_code TEXT NOT NULL,
        PRIMARY KEY (service_point_id, effective_from)
    ) STRICT
    """,
)

_LEDGER = (
    # Entries are written first, the transaction's row last: its trigger then sees them all, and the deferred foreign
    # key lets no commit through that has entries without their transaction. payment_id names the payment that a
    # payment's transaction, or its reversal, belongs to.
    """
    CREATE TABLE ledger_transactions (
        transaction_id INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        idempotency_key TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('charge', 'payment', 'adjustment', 'reversal')),
        description TEXT NOT NULL,
        value_date TEXT NOT NULL,
        posted_at TEXT NOT NULL,
        payment_id TEXT,
        reverses_transaction_id INTEGER UNIQUE REFERENCES ledger_transactions,
        UNIQUE (source, idempotency_key),
        CHECK ((kind = 'reversal') = (reverses_transaction_id IS NOT NULL))
    ) STRICT
    """,
    (
        "CREATE INDEX ledger_transactions_of_payment ON ledger_transactions (payment_id)"
        " WHERE payment_id IS NOT NULL"
    ),
    # amount_cents: debits positive, credits negative.
    """
    CREATE TABLE ledger_entries (
        entry_id INTEGER PRIMARY KEY,
        transaction_id INTEGER NOT NULL REFERENCES ledger_transactions DEFERRABLE INITIALLY DEFERRED,
        ledger_account TEXT NOT NULL,
        account_id TEXT REFERENCES accounts,
        amount_cents INTEGER NOT NULL CHECK (amount_cents <> 0),
        CHECK ((ledger_account = 'receivable') = (account_id IS NOT NULL))
    ) STRICT
    """,
    "CREATE INDEX ledger_entries_of_transaction ON ledger_entries (transaction_id)",
    (
        "CREATE INDEX ledger_entries_of_account ON ledger_entries (account_id, amount_cents)"
        " WHERE account_id IS NOT NULL"
    ),
    """
    CREATE TRIGGER ledger_transactions_balance BEFORE INSERT ON ledger_transactions
    WHEN (SELECT count(*) FROM ledger_entries WHERE transaction_id = NEW.transaction_id) < 2
      OR (SELECT sum(amount_cents) FROM ledger_entries WHERE transaction_id = NEW.transaction_id) <> 0
    BEGIN SELECT raise(ABORT, 'ledger: debits and credits differ'); END
    """,
    """
    CREATE TRIGGER ledger_entries_closed BEFORE INSERT ON ledger_entries
    WHEN EXISTS (SELECT 1 FROM ledger_transactions WHERE transaction_id = NEW.transaction_id)
    BEGIN SELECT raise(ABORT, 'ledger: the transaction is written'); END
    """,
    *(
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
        " BEGIN SELECT raise(ABORT, 'ledger: append only'); END"
        for table in ("ledger_transactions", "ledger_entries")
        for verb in ("UPDATE", "DELETE")
    ),
    # body is the JSON of the published StatementBody; no foreign key may keep the ledger from being replayed alone.
    """
    CREATE TABLE statements (
        statement_id TEXT PRIMARY KEY,
        account_id TEXT NOT NULL REFERENCES accounts,
        period_from TEXT NOT NULL,
        period_to TEXT NOT NULL,
        issued_on TEXT NOT NULL,
        due_date TEXT NOT NULL,
        total_cents INTEGER NOT NULL,
        amount_due_cents INTEGER NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (account_id, period_to),
        UNIQUE (account_id, period_from),
        CHECK (period_from < period_to)
    ) STRICT
    """,
    *(
        f"CREATE TRIGGER statements_no_{verb.lower()} BEFORE {verb} ON statements"
        " BEGIN SELECT raise(ABORT, 'a statement is immutable once issued'); END"
        for verb in ("UPDATE", "DELETE")
    ),
)

_PAYMENTS = (
    # Every decided payment, whatever became of it. payment_id is the intent's id when it came through an edge; two
    # rows share it only when two edges took different payments under one key: one wins, the others are rejected.
    """
    CREATE TABLE payments (
        payment_id TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        account_id TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('posted', 'rejected', 'dead_letter', 'cancelled')),
        amount_cents INTEGER NOT NULL,
        currency TEXT NOT NULL,
        method_id TEXT NOT NULL,
        method_label TEXT NOT NULL,
        source TEXT NOT NULL CHECK (source IN ('intent', 'office')),
        accepted_at TEXT NOT NULL,
        decided_at TEXT NOT NULL,
        value_date TEXT,
        value_date_clamped INTEGER NOT NULL DEFAULT 0 CHECK (value_date_clamped IN (0, 1)),
        reason TEXT NOT NULL DEFAULT '',
        case_number TEXT NOT NULL DEFAULT '',
        transaction_id INTEGER REFERENCES ledger_transactions,
        UNIQUE (payment_id, fingerprint),
        CHECK ((state = 'posted') = (transaction_id IS NOT NULL))
    ) STRICT
    """,
    "CREATE INDEX payments_of_account ON payments (account_id)",
    # The first outcome of every intent that reached the core, kept for ever. intent and outcome are msgpack.
    """
    CREATE TABLE inbox (
        intent_id TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        won INTEGER NOT NULL CHECK (won IN (0, 1)),
        state TEXT NOT NULL,
        account_id TEXT NOT NULL,
        edge_id TEXT NOT NULL,
        incarnation TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        delivered_by TEXT NOT NULL,
        received_at TEXT NOT NULL,
        intent BLOB NOT NULL,
        outcome BLOB NOT NULL,
        UNIQUE (intent_id, fingerprint)
    ) STRICT
    """,
    "CREATE UNIQUE INDEX inbox_one_winner ON inbox (intent_id) WHERE won = 1",
    *(
        f"CREATE TRIGGER inbox_no_{verb.lower()} BEFORE {verb} ON inbox"
        " BEGIN SELECT raise(ABORT, 'an outcome is final'); END"
        for verb in ("UPDATE", "DELETE")
    ),
    # Intents whose processing failed unexpectedly and has not been given up yet.
    """
    CREATE TABLE intake_failures (
        intent_id TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        last_error TEXT NOT NULL,
        failed_at TEXT NOT NULL,
        PRIMARY KEY (intent_id, fingerprint)
    ) STRICT
    """,
    # unissued is the private part (JSON) until the edge's configuration has been written, then NULL.
    """
    CREATE TABLE edges (
        node_id TEXT PRIMARY KEY,
        public_key TEXT NOT NULL,
        secret_sha256 TEXT NOT NULL,
        peer_url TEXT NOT NULL,
        status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'revoked')),
        registered_at TEXT NOT NULL,
        revoked_at TEXT,
        unissued TEXT
    ) STRICT
    """,
)

# Of edges whose keys were lost and made anew: what these signed before then is still a promise to a customer.
_FORMER_KEYS = """
    CREATE TABLE former_edge_keys (
        node_id TEXT NOT NULL REFERENCES edges,
        public_key TEXT NOT NULL,
        replaced_at TEXT NOT NULL,
        PRIMARY KEY (node_id, public_key)
    ) STRICT, WITHOUT ROWID
"""

# Where an edge passes documents on to its siblings; empty where it does not.
_FEED_URL = "ALTER TABLE edges ADD COLUMN feed_url TEXT NOT NULL DEFAULT ''"


def create_tables(connection: Connection) -> None:
    """
    Create the core's tables in an empty database, or what is new in them, within the caller's write transaction.

    Raises:
        UnknownSchema: The database has tables of a version that this program does not know.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == SCHEMA_VERSION:
        return
    added = (_FORMER_KEYS, _FEED_URL)
    statements: tuple[str, ...] = (*_PARTIES, *_METERING, *_LEDGER, *_PAYMENTS, *added)
    if 1 <= version < SCHEMA_VERSION:
        statements = added[version - 1 :]
    elif version != 0 or "ledger_entries" in database(connection).table_names():
        raise UnknownSchema(f"schema version {version}, expected {SCHEMA_VERSION}")
    for statement in statements:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

-- A core as the release with schema version 2 left it: invented customers.
CREATE TABLE utility (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        name TEXT NOT NULL,
        timezone TEXT NOT NULL,
        currency TEXT NOT NULL CHECK (length(currency) = 3),
        phone TEXT NOT NULL,
        edge_retention_months INTEGER NOT NULL CHECK (edge_retention_months > 0)
    ) STRICT;
CREATE TABLE customers (
        customer_id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        email TEXT NOT NULL,
        email_key TEXT NOT NULL UNIQUE,
        verifier TEXT NOT NULL,
        credential_version INTEGER NOT NULL DEFAULT 1,
        status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'revoked'))
    ) STRICT;
CREATE TABLE accounts (
        account_id TEXT PRIMARY KEY,
        customer_id TEXT NOT NULL REFERENCES customers,
        status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'closed')),
        opened_on TEXT,
        closed_on TEXT
    ) STRICT;
CREATE TABLE payment_methods (
        method_id TEXT PRIMARY KEY,
        account_id TEXT NOT NULL REFERENCES accounts,
        token TEXT NOT NULL,
        type TEXT NOT NULL CHECK (type IN ('card', 'bank_account')),
        label TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('verified', 'unverified', 'expired'))
    ) STRICT;
CREATE TABLE service_points (
        service_point_id TEXT PRIMARY KEY,
        account_id TEXT NOT NULL REFERENCES accounts,
        address TEXT NOT NULL,
        supplied_from TEXT,
        supplied_to TEXT
    ) STRICT;
CREATE TABLE meters (
        meter_id TEXT PRIMARY KEY,
        service_point_id TEXT NOT NULL REFERENCES service_points,
        installed_on TEXT,
        removed_on TEXT,
        initial_register_wh INTEGER NOT NULL DEFAULT 0
    ) STRICT;
CREATE TABLE interval_blocks (
        service_point_id TEXT NOT NULL REFERENCES service_points,
        day TEXT NOT NULL,
        start INTEGER NOT NULL,
        interval_seconds INTEGER NOT NULL CHECK (interval_seconds > 0),
        values_wh BLOB NOT NULL,
        qualities BLOB NOT NULL,
        meter_id TEXT REFERENCES meters,
        UNIQUE (service_point_id, day)
    ) STRICT;
CREATE TABLE register_reads (
        meter_id TEXT NOT NULL REFERENCES meters,
        read_at TEXT NOT NULL,
        register_wh INTEGER NOT NULL,
        quality INTEGER NOT NULL,
        UNIQUE (meter_id, read_at)
    ) STRICT;
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
    ) STRICT;
CREATE TABLE tariffs (
        code TEXT NOT NULL,
        effective_from TEXT NOT NULL,
        name TEXT NOT NULL,
        utility TEXT NOT NULL,
        source TEXT NOT NULL,
        body TEXT NOT NULL CHECK (json_valid(body)),
        PRIMARY KEY (code, effective_from)
    ) STRICT;
CREATE TABLE service_point_tariffs (
        service_point_id TEXT NOT NULL REFERENCES service_points,
        effective_from TEXT NOT NULL,
        tariff_code TEXT NOT NULL,
        PRIMARY KEY (service_point_id, effective_from)
    ) STRICT;
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
    ) STRICT;
CREATE TABLE ledger_entries (
        entry_id INTEGER PRIMARY KEY,
        transaction_id INTEGER NOT NULL REFERENCES ledger_transactions DEFERRABLE INITIALLY DEFERRED,
        ledger_account TEXT NOT NULL,
        account_id TEXT REFERENCES accounts,
        amount_cents INTEGER NOT NULL CHECK (amount_cents <> 0),
        CHECK ((ledger_account = 'receivable') = (account_id IS NOT NULL))
    ) STRICT;
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
    ) STRICT;
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
    ) STRICT;
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
    ) STRICT;
CREATE TABLE intake_failures (
        intent_id TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        last_error TEXT NOT NULL,
        failed_at TEXT NOT NULL,
        PRIMARY KEY (intent_id, fingerprint)
    ) STRICT;
CREATE TABLE edges (
        node_id TEXT PRIMARY KEY,
        public_key TEXT NOT NULL,
        secret_sha256 TEXT NOT NULL,
        peer_url TEXT NOT NULL,
        status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'revoked')),
        registered_at TEXT NOT NULL,
        revoked_at TEXT,
        unissued TEXT
    ) STRICT;
CREATE TABLE former_edge_keys (
        node_id TEXT NOT NULL REFERENCES edges,
        public_key TEXT NOT NULL,
        replaced_at TEXT NOT NULL,
        PRIMARY KEY (node_id, public_key)
    ) STRICT, WITHOUT ROWID;
CREATE TABLE "documents" (
   "seq" INTEGER PRIMARY KEY,
   "account_id" TEXT NOT NULL,
   "kind" TEXT NOT NULL,
   "key" TEXT NOT NULL,
   "body" BLOB
) STRICT;
CREATE TABLE "shard_head" (
   "shard" TEXT PRIMARY KEY NOT NULL,
   "epoch" INTEGER NOT NULL,
   "head" INTEGER NOT NULL,
   "floor" INTEGER NOT NULL
) STRICT;
CREATE TABLE "core_clock" (
   "id" INTEGER PRIMARY KEY,
   "high_water_us" INTEGER NOT NULL
) STRICT;
INSERT INTO utility VALUES (1, 'Test Light', 'America/Chicago', 'USD', '', 24);
INSERT INTO customers VALUES ('C-1', 'Customer 1', 'customer1@example.org', 'customer1@example.org', '$argon2id$made-up', 1, 'active');
INSERT INTO customers VALUES ('C-2', 'Customer 2', 'customer2@example.org', 'customer2@example.org', '$argon2id$made-up', 1, 'active');
INSERT INTO customers VALUES ('C-3', 'Customer 3', 'customer3@example.org', 'customer3@example.org', '$argon2id$made-up', 1, 'active');
INSERT INTO accounts VALUES ('A-1001', 'C-1', 'active', NULL, NULL);
INSERT INTO accounts VALUES ('A-1002', 'C-2', 'active', NULL, NULL);
INSERT INTO accounts VALUES ('A-1003', 'C-3', 'closed', NULL, NULL);
INSERT INTO payment_methods VALUES ('pm-1001', 'A-1001', 'tok_1', 'card', 'Card ending 4242', 'verified');
INSERT INTO payment_methods VALUES ('pm-1002', 'A-1002', 'tok_2', 'card', 'Card ending 4242', 'verified');
INSERT INTO payment_methods VALUES ('pm-1003', 'A-1003', 'tok_3', 'card', 'Card ending 4242', 'verified');
INSERT INTO payment_methods VALUES ('pm-old', 'A-1001', 'tok_old', 'card', 'Card ending 1111', 'expired');
INSERT INTO payment_methods VALUES ('pm-new', 'A-1001', 'tok_new', 'bank_account', 'Bank ending 9', 'unverified');
INSERT INTO ledger_transactions VALUES (1, 'adjustment', 'opening', 'adjustment', 'Opening balance', '2026-01-01', '2026-03-10T15:00:00.000000Z', NULL, NULL);
INSERT INTO ledger_entries VALUES (1, 1, 'receivable', 'A-1001', 8000);
INSERT INTO ledger_entries VALUES (2, 1, 'adjustments', NULL, -8000);
INSERT INTO edges VALUES ('east', 'made-up key', 'made-up hash', 'http://east.test', 'active', '2026-03-10T15:00:00.000001Z', NULL, NULL);
INSERT INTO documents VALUES (1, 'A-1001', 'account', '', x'7b2276657273696f6e223a312c226163636f756e745f6964223a22412d31303031222c22637573746f6d65725f6964223a22432d31222c22637573746f6d65725f6e616d65223a22437573746f6d65722031222c22656d61696c223a22637573746f6d657231406578616d706c652e6f7267222c227574696c6974795f6e616d65223a2254657374204c69676874222c2263757272656e6379223a22555344222c2274696d657a6f6e65223a22416d65726963612f4368696361676f222c22737461747573223a22616374697665222c2262616c616e63655f63656e7473223a383030302c2262696c6c65645f62616c616e63655f63656e7473223a302c226c61746573745f73746174656d656e745f6964223a6e756c6c2c226475655f64617465223a6e756c6c2c227061796d656e745f6d6574686f6473223a5b7b226d6574686f645f6964223a22706d2d31303031222c2274797065223a2263617264222c226c6162656c223a224361726420656e64696e672034323432222c22737461747573223a227665726966696564227d2c7b226d6574686f645f6964223a22706d2d6f6c64222c2274797065223a2263617264222c226c6162656c223a224361726420656e64696e672031313131222c22737461747573223a2265787069726564227d2c7b226d6574686f645f6964223a22706d2d6e6577222c2274797065223a2262616e6b5f6163636f756e74222c226c6162656c223a2242616e6b20656e64696e672039222c22737461747573223a22756e7665726966696564227d5d2c22736572766963655f706f696e7473223a5b5d7d');
INSERT INTO documents VALUES (2, 'A-1001', 'credential', '5934fd04507a8034c1e65ec6d0cfb7a18ace919dbb353247e75899ae8a8a2f7a', x'7b2276657273696f6e223a312c22637573746f6d65725f6964223a22432d31222c226163636f756e745f696473223a5b22412d31303031225d2c227665726966696572223a22246172676f6e326964246d6164652d7570222c2263726564656e7469616c5f76657273696f6e223a312c22737461747573223a22616374697665227d');
INSERT INTO documents VALUES (3, 'A-1002', 'account', '', x'7b2276657273696f6e223a312c226163636f756e745f6964223a22412d31303032222c22637573746f6d65725f6964223a22432d32222c22637573746f6d65725f6e616d65223a22437573746f6d65722032222c22656d61696c223a22637573746f6d657232406578616d706c652e6f7267222c227574696c6974795f6e616d65223a2254657374204c69676874222c2263757272656e6379223a22555344222c2274696d657a6f6e65223a22416d65726963612f4368696361676f222c22737461747573223a22616374697665222c2262616c616e63655f63656e7473223a302c2262696c6c65645f62616c616e63655f63656e7473223a302c226c61746573745f73746174656d656e745f6964223a6e756c6c2c226475655f64617465223a6e756c6c2c227061796d656e745f6d6574686f6473223a5b7b226d6574686f645f6964223a22706d2d31303032222c2274797065223a2263617264222c226c6162656c223a224361726420656e64696e672034323432222c22737461747573223a227665726966696564227d5d2c22736572766963655f706f696e7473223a5b5d7d');
INSERT INTO documents VALUES (4, 'A-1002', 'credential', '7ad862a469d555f6aef8d9bfed34ef0eb8574c61a7b32a9e06f684534741ba66', x'7b2276657273696f6e223a312c22637573746f6d65725f6964223a22432d32222c226163636f756e745f696473223a5b22412d31303032225d2c227665726966696572223a22246172676f6e326964246d6164652d7570222c2263726564656e7469616c5f76657273696f6e223a312c22737461747573223a22616374697665227d');
INSERT INTO documents VALUES (6, 'A-1003', 'credential', '31a96f2307995d8857ab2d7ab6ecc993fa6fd4c482777cdc8ebd6f465dc434c5', x'7b2276657273696f6e223a312c22637573746f6d65725f6964223a22432d33222c226163636f756e745f696473223a5b22412d31303033225d2c227665726966696572223a22246172676f6e326964246d6164652d7570222c2263726564656e7469616c5f76657273696f6e223a312c22737461747573223a22616374697665227d');
INSERT INTO documents VALUES (7, 'A-1003', 'account', '', NULL);
INSERT INTO shard_head VALUES ('0', 1, 7, 0);
INSERT INTO core_clock VALUES (1, 1773154800000002);
CREATE INDEX accounts_of_customer ON accounts (customer_id);
CREATE INDEX payment_methods_of_account ON payment_methods (account_id);
CREATE INDEX service_points_of_account ON service_points (account_id);
CREATE INDEX meters_of_service_point ON meters (service_point_id);
CREATE INDEX ledger_transactions_of_payment ON ledger_transactions (payment_id) WHERE payment_id IS NOT NULL;
CREATE INDEX ledger_entries_of_transaction ON ledger_entries (transaction_id);
CREATE INDEX ledger_entries_of_account ON ledger_entries (account_id, amount_cents) WHERE account_id IS NOT NULL;
CREATE INDEX payments_of_account ON payments (account_id);
CREATE UNIQUE INDEX inbox_one_winner ON inbox (intent_id) WHERE won = 1;
CREATE UNIQUE INDEX "documents_by_name"
    ON "documents" ("account_id", "kind", "key");
CREATE INDEX credentials_by_key ON documents (kind, key) WHERE kind = 'credential';
CREATE INDEX tombstones ON documents (seq) WHERE body IS NULL;
CREATE TRIGGER ledger_transactions_balance BEFORE INSERT ON ledger_transactions
    WHEN (SELECT count(*) FROM ledger_entries WHERE transaction_id = NEW.transaction_id) < 2
      OR (SELECT sum(amount_cents) FROM ledger_entries WHERE transaction_id = NEW.transaction_id) <> 0
    BEGIN SELECT raise(ABORT, 'ledger: debits and credits differ'); END;
CREATE TRIGGER ledger_entries_closed BEFORE INSERT ON ledger_entries
    WHEN EXISTS (SELECT 1 FROM ledger_transactions WHERE transaction_id = NEW.transaction_id)
    BEGIN SELECT raise(ABORT, 'ledger: the transaction is written'); END;
CREATE TRIGGER ledger_transactions_no_update BEFORE UPDATE ON ledger_transactions BEGIN SELECT raise(ABORT, 'ledger: append only'); END;
CREATE TRIGGER ledger_transactions_no_delete BEFORE DELETE ON ledger_transactions BEGIN SELECT raise(ABORT, 'ledger: append only'); END;
CREATE TRIGGER ledger_entries_no_update BEFORE UPDATE ON ledger_entries BEGIN SELECT raise(ABORT, 'ledger: append only'); END;
CREATE TRIGGER ledger_entries_no_delete BEFORE DELETE ON ledger_entries BEGIN SELECT raise(ABORT, 'ledger: append only'); END;
CREATE TRIGGER statements_no_update BEFORE UPDATE ON statements BEGIN SELECT raise(ABORT, 'a statement is immutable once issued'); END;
CREATE TRIGGER statements_no_delete BEFORE DELETE ON statements BEGIN SELECT raise(ABORT, 'a statement is immutable once issued'); END;
CREATE TRIGGER inbox_no_update BEFORE UPDATE ON inbox BEGIN SELECT raise(ABORT, 'an outcome is final'); END;
CREATE TRIGGER inbox_no_delete BEFORE DELETE ON inbox BEGIN SELECT raise(ABORT, 'an outcome is final'); END;
PRAGMA user_version = 2;

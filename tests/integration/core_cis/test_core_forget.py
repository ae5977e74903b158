"""Forgetting a customer: all of it goes from the books, what they need stays, and nothing brings anybody back."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from cache_sync.document_table import read_head
from cache_sync.packed_bodies import pack_body, unpack_body
from cache_sync.publication import raise_epoch
from cache_sync.sql import IntegrityError, write
from core_cis.__main__ import main
from core_cis.audit import read_log, verify_log
from core_cis.cli_forget import ForgetReport, forget
from core_cis.database_choice import choose_database, find_database
from core_cis.errors import InvalidFile, UnknownAccount
from core_cis.migrations.versions import core_8
from core_cis.peer_journals import PeerJournals
from core_cis.publishing import publish_everything_shown, publish_payment
from core_cis.snapshot_builder import build_snapshot, building
from core_cis.snapshot_shelves import replica_folder, shelf_of
from core_cis.store import CoreStore
from tests.integration.core_cis.conftest import Core
from tests.integration.core_cis.forgetting_utility import (
    ACCOUNT,
    PERSON,
    SECRETS,
    Utility,
    owe,
)
from tests.integration.core_cis.test_core_reconcile import Fleet, settle
from tests.integration.core_cis.test_core_snapshots import CHUNK_BYTES, Patient
from tests.integration.utility import customer_row


@pytest.fixture
def utility(core: Core) -> Iterator[Utility]:
    """Return a utility with the customer, on both engines."""
    made = Utility(core)
    made.fill()
    yield made
    made.store.close()


def test_everything_goes_but_what_the_books_need(utility: Utility) -> None:
    """Every table is searched: afterwards only tombstones name a service point, and the ledger is as it was."""
    held = utility.found()
    assert set().union(*held.values()) == set(SECRETS)
    assert {"customers", "service_points", "payments", "statements", "documents"} <= held.keys()
    kinds = {"account", "credential", "payment", "statement", "usage"}
    assert utility.live() == kinds
    books = (
        "SELECT statement_id, total_cents, amount_due_cents, period_to FROM statements ORDER BY 1"
    )
    statements = utility.store.connection.execute(books).fetchall()
    ledger = utility.store.connection.execute("SELECT * FROM ledger_entries").fetchall()
    report = utility.forget()
    assert (report.result, report.already, report.unfinished) == ("forgotten", False, [])
    assert report.counts["meters"] == report.counts["import_findings"] == 1
    assert report.counts["statements"] >= 1
    (tombstones,) = report.withdrawn
    assert (tombstones.shard, tombstones.epoch) == ("0", 1)
    assert tombstones.through == read_head(utility.store.connection, "0").head
    assert tombstones.documents == report.counts["documents"]
    # A tombstone of a month of usage is named by its service point, as long as edges need it.
    assert utility.found() == {"documents": {"SP-777"}}
    assert utility.live() == set()
    assert utility.live("A-8") == kinds - {"payment"}
    assert utility.store.connection.execute(books).fetchall() == statements
    assert utility.store.connection.execute("SELECT * FROM ledger_entries").fetchall() == ledger
    row = utility.store.connection.execute(
        "SELECT name, email, verifier, status FROM customers WHERE customer_id = ?", (PERSON,)
    ).fetchone()
    assert row == ("", "", "", "revoked")


def test_the_log_has_a_line_and_no_name(utility: Utility) -> None:
    """Who forgot whom is written down by id, once, and the log stays whole."""
    utility.forget(reason="asked for it")
    assert utility.forget().already
    (line,) = [
        each
        for each in read_log(utility.store.connection, limit=10)
        if each.action == "customer.forget"
    ]
    assert (line.subject, line.reason) == (PERSON, "asked for it")
    assert line.detail["service_points"] == 1
    with utility.store.reading() as connection:
        assert verify_log(connection, utility.store.keys.public_key).whole


def test_a_preview_changes_nothing(utility: Utility) -> None:
    """Without a yes it tells what would go."""
    before = (utility.found(), utility.head())
    report = utility.forget(sure=False)
    assert (report.result, report.counts["payment_methods"]) == ("preview", 1)
    assert (utility.found(), utility.head()) == before


def test_nothing_brings_them_back(utility: Utility) -> None:
    """Billing, settings, imports, a late payment, a new epoch: nothing is published of the account again."""
    utility.forget()
    head = utility.head()
    connection = utility.store.connection
    assert ACCOUNT not in {each.account_id for each in utility.bill("2026-04-30").issued}
    with pytest.raises(UnknownAccount):
        utility.bill("2026-04-30", ACCOUNT)
    with utility.store.transaction() as tx:
        publish_everything_shown(tx)
        for pair in connection.execute(
            "SELECT payment_id, fingerprint FROM payments WHERE account_id = ?", (ACCOUNT,)
        ).fetchall():
            publish_payment(tx, *pair)
    with pytest.raises(InvalidFile, match="customer_id: was forgotten"):
        utility.customers(customer_row(7))
    with pytest.raises(InvalidFile, match="cannot move to another"):
        utility.customers(customer_row(9, account_id=ACCOUNT))
    late = utility.intent("late")
    (outcome,) = utility.take(late).outcomes
    assert (outcome.state, outcome.reason, outcome.seq) == ("rejected", "account_closed", 0)
    assert utility.live() == set()
    assert utility.head() == head
    with utility.store.transaction(alone=True) as tx:
        raise_epoch(tx.connection, "0")
    assert utility.live() == set()
    # A house has its next tenant: service point and meter may be imported for somebody else.
    utility.customers(customer_row(9, service_point_id="SP-777", meter_id="M-777"))
    assert utility.live("A-9") == {"account", "credential"}


def test_the_books_still_reconcile(utility: Utility) -> None:
    """Edges keep what they accepted, and it equals the ledger to the cent."""
    fleet = Fleet()
    fleet.record(utility.paid, utility.outcome)
    settle(utility.core, utility.store, fleet, utility.intent("more", 500))
    assert fleet.reconcile(utility.store).differences == []
    with utility.store.transaction() as tx:
        owe(tx, 500)
    report = utility.forget()
    assert report.result == "forgotten"
    after = fleet.reconcile(utility.store)
    assert (after.result, after.differences) == ("equal", [])


def test_a_shown_document_of_a_forgotten_account_differs(utility: Utility) -> None:
    """Reconciliation would notice a document that came back behind the core's back."""
    utility.forget()
    with write(utility.store.connection) as connection:
        body = connection.execute(
            "SELECT body FROM documents WHERE account_id = 'A-8' AND kind = 'account'"
        ).fetchone()[0]
        connection.execute(
            "UPDATE documents SET body = ? WHERE account_id = ? AND kind = 'account'",
            (pack_body("account", unpack_body(body).replace(b"A-8", b"A-7")), ACCOUNT),
        )
    found = Fleet().reconcile(utility.store).differences
    assert [each.kind for each in found if each.account_id == ACCOUNT] == ["balance_differs"]


def test_only_a_forgotten_statement_may_be_emptied(utility: Utility) -> None:
    """The database itself keeps every other one, and everything else of these."""
    utility.forget()
    for change in (
        "body = ? WHERE account_id = 'A-8'",
        "total_cents = 1, body = ? WHERE account_id = 'A-7'",
    ):
        with pytest.raises(IntegrityError, match="immutable"), write(utility.store.connection) as c:
            c.execute(f"UPDATE statements SET {change}", (b"",))  # noqa: S608 - our own names
    with pytest.raises(IntegrityError, match="immutable"), write(utility.store.connection) as c:
        c.execute("UPDATE statements SET body = ? WHERE account_id = 'A-7'", (b"{}",))
    for change in ("DELETE FROM erasures", "UPDATE erasures SET seq = 0"):
        with pytest.raises(IntegrityError, match="stays so"), write(utility.store.connection) as c:
            c.execute(change)


async def test_snapshot_files_go(utility: Utility) -> None:
    """Files, and the replica that they are cut from, are removed; a builder that is at work is told of."""
    core = utility.core
    await build_snapshot(
        core.data_dir, "0", clock=Patient(core), rng=Random(1), chunk_bytes=CHUNK_BYTES
    )
    shelf, replica = shelf_of(core.data_dir, "0"), replica_folder(core.data_dir, "0")
    found = "SELECT body FROM documents WHERE account_id = ? AND kind = 'account'"
    shown = utility.store.connection.execute(found, (ACCOUNT,)).fetchone()[0]
    assert shown in shelf.files()[0].path.read_bytes()
    assert replica.is_dir()
    with building(core.data_dir):
        busy = _in_thread(utility)
    assert busy.result == "unfinished"
    assert "snapshot files" in busy.unfinished[0]
    assert shelf.files()
    listed = CliRunner().invoke(main, ["snapshot", "list", "--data", str(core.data_dir)])
    assert "not offered" in listed.output
    again = _in_thread(utility)
    assert (again.result, again.already) == ("forgotten", True)
    assert shelf.files() == []
    assert not replica.exists()
    await build_snapshot(
        core.data_dir, "0", clock=Patient(core), rng=Random(2), chunk_bytes=CHUNK_BYTES
    )
    content = shelf.files()[0].path.read_bytes()
    assert SECRETS[0].encode() not in content
    assert shown not in content
    listed = CliRunner().invoke(main, ["snapshot", "list", "--data", str(core.data_dir)])
    assert "not offered" not in listed.output


def _in_thread(utility: Utility) -> ForgetReport:
    """Run what has an event loop of its own beside the test's."""

    def run() -> ForgetReport:
        with CoreStore.open(utility.data_dir, utility.core.clock) as store:
            journals = PeerJournals(
                store.keys.node_secret, transport=httpx.MockTransport(utility.edges.answer)
            )
            return forget(store, PERSON, sure=True, journals=journals)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


async def test_an_archived_statement_is_gone(utility: Utility) -> None:
    """An edge that asks for it on somebody's behalf is told that there is none."""
    (statement_id, *_) = utility.store.connection.execute(
        "SELECT statement_id FROM statements WHERE account_id = ?", (ACCOUNT,)
    ).fetchone()
    path = f"/archive/accounts/{ACCOUNT}/statements/{statement_id}"
    async with utility.core.serving() as client:
        before = await client.get(path, headers=utility.core.node())
        assert before.status_code == 200
        _in_thread(utility)
        after = await client.get(path, headers=utility.core.node())
    assert (after.status_code, after.json()["type"].rsplit(":")[-1]) == (404, "unknown_statement")


def test_the_command(utility: Utility) -> None:
    """Refused while its edges are silent; by e-mail or id; previewed, done, and done again without harm."""

    def run(*words: str) -> tuple[int, Any]:
        words = ("forget", *words, "--data", str(utility.data_dir), "--json")
        result = CliRunner().invoke(main, list(words))
        return result.exit_code, json.loads(result.output) if result.exit_code in {0, 1} else ""

    without = ("--without-edge", "east", "--without-edge", "west")
    code, told = run(SECRETS[1].upper(), "--yes")
    assert (code, told["result"]) == (1, "refused")
    code, told = run(SECRETS[1], *without)
    assert (code, told["result"], told["customer_id"]) == (0, "preview", PERSON)
    assert run(PERSON, "--without-edge", "north")[0] == 2
    code, told = run(PERSON, "--yes", *without)
    assert (code, told["result"]) == (0, "forgotten")
    code, told = run(PERSON, "--yes", *without)
    assert (code, told["result"], told["already"]) == (0, "forgotten", True)
    gone = CliRunner().invoke(main, ["forget", SECRETS[1], "--data", str(utility.data_dir)])
    assert gone.exit_code == 1
    assert SECRETS[1] not in gone.output
    plain = CliRunner().invoke(main, ["forget", PERSON, "--data", str(utility.data_dir)])
    assert plain.exit_code == 0
    assert "was forgotten before" in plain.output


_DESCRIBED = (
    (
        "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger"
        " WHERE tgrelid IN ('statements'::regclass, 'erasures'::regclass) AND NOT tgisinternal ORDER BY 1"
    ),
    "SELECT regexp_replace(prosrc, '\\s+', '', 'g') FROM pg_proc WHERE proname = 'empty_forgotten_statement'",
    (
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull, attcollation::regcollation::text"
        " FROM pg_attribute WHERE attrelid = 'erasures'::regclass AND attnum > 0 ORDER BY attnum"
    ),
    "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'erasures'::regclass ORDER BY 1",
)


def test_an_upgraded_server_refuses_the_same(tmp_path: Path, postgres_url: str) -> None:
    """What the migration makes on PostgreSQL is what a new core's tables are made with."""
    choose_database(tmp_path, postgres_url)
    with (
        closing(find_database(tmp_path)) as database,
        closing(database.open_writer()) as connection,
    ):
        new = [connection.execute(question).fetchall() for question in _DESCRIBED]
        for statement in (
            "DROP TABLE erasures",
            "DROP TRIGGER statements_no_update ON statements",
            "DROP FUNCTION empty_forgotten_statement",
            (
                "CREATE TRIGGER statements_no_update BEFORE UPDATE ON statements FOR EACH ROW"
                " EXECUTE FUNCTION refuse_change('a statement is immutable once issued')"
            ),
            *core_8._POSTGRESQL,
        ):
            connection.execute(statement)
        upgraded = [connection.execute(question).fetchall() for question in _DESCRIBED]
    assert all(new)
    assert upgraded == new

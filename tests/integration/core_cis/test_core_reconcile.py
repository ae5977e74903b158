"""Reconciliation finds every planted difference, names it, and says nothing of what is right."""

from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner

from cache_sync.packed_bodies import pack_body, unpack_body
from cache_sync.sql import is_server
from core_cis.__main__ import main
from core_cis.bookkeeping import post, read_transactions
from core_cis.cli_reconcile import run_reconciliation
from core_cis.domain import ledger
from core_cis.intake import Intake
from core_cis.peer_journals import PeerJournals
from core_cis.publishing import publish_account
from core_cis.reconciliation import Report
from core_cis.settings import ServerSettings
from core_cis.store import CoreStore
from failover.intent_states import OwnState
from failover.intents import Intent, Outcome
from failover.peer_messages import RecordedIntent, RecordedPage
from tests.integration.core_cis.conftest import PEER_URLS

ACCOUNT = "A-1001"


class Fleet:
    """Edges that answer as their journals would."""

    def __init__(self) -> None:
        self.own: dict[str, list[RecordedIntent]] = {"east": [], "west": []}
        self.copies: dict[str, list[RecordedIntent]] = {"east": [], "west": []}
        self.last: dict[str, int] = {"east": 0, "west": 0}
        self.silent: set[str] = set()
        self.page_rows = 2
        self.asked_as: set[str] = set()

    def record(
        self, intent: Intent, outcome: Outcome | None = None, *, witnessed: bool = True
    ) -> None:
        """Put an intent into its recorder's journal and, as a copy, into its sibling's."""
        state: OwnState = "offered" if outcome is None else "settled"
        edge, sibling = intent.edge_id, {"east": "west", "west": "east"}[intent.edge_id]
        item = RecordedIntent(
            position=intent.ordinal, source="own", intent=intent, state=state, outcome=outcome
        )
        self.own[edge].append(item)
        self.last[edge] = max(self.last[edge], intent.ordinal)
        if witnessed:
            place = len(self.copies[sibling]) + 1
            self.copies[sibling].append(
                msgspec.structs.replace(item, source="copies", position=place)
            )

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer one page."""
        names = {url: name for name, url in PEER_URLS.items()}
        name = names[f"http://{request.url.host}:{request.url.port}"]
        if name in self.silent:
            raise httpx.ConnectError("refused")
        self.asked_as.add(request.headers["authorization"].split(":")[0])
        source, after = request.url.params["source"], int(request.url.params["after"])
        rows = [
            row
            for row in (self.own if source == "own" else self.copies)[name]
            if row.position > after
        ]
        page = rows[: self.page_rows]
        more = page[-1].position if len(rows) > len(page) else None
        answer = RecordedPage(
            node_id=name,
            incarnation=f"{name}-journal",
            items=page,
            next_after=more,
            last_ordinal=self.last[name],
        )
        return httpx.Response(200, content=msgspec.msgpack.encode(answer))

    def reconcile(self, store: CoreStore, *, skip: bool = False) -> Report:
        """Reconcile against these edges."""
        journals = PeerJournals(store.keys.node_secret, transport=httpx.MockTransport(self.answer))
        return run_reconciliation(store, skip_unreachable=skip, journals=journals)[0]


@pytest.fixture
def fleet() -> Fleet:
    """Return edges without any payment."""
    return Fleet()


def settle(core: Any, store: CoreStore, fleet: Fleet, *intents: Intent) -> None:
    """Let the core decide intents, and the edges hear of it."""
    result = Intake(store, ServerSettings()).take(list(intents), delivered_by="east")
    outcomes = {outcome.fingerprint: outcome for outcome in result.outcomes}
    for intent in intents:
        fleet.record(intent, outcomes[intent.fingerprint])


def kinds(report: Report) -> set[str]:
    """Name the differences."""
    return {difference.kind for difference in report.differences}


def test_equal_fleet_is_equal_to_the_cent(core: Any, fleet: Fleet) -> None:
    """Posted, rejected and conflicting payments of both edges reconcile; each posted one is beside its entry."""
    with core.open() as store:
        settle(
            core,
            store,
            fleet,
            *(core.intent(f"e{n}", amount_cents=1000 + n) for n in range(3)),
            core.intent("w1", amount_cents=777, edge="west"),
            core.intent("e0", amount_cents=5, edge="west"),
            core.intent("bad", method_id="pm-old"),
        )
        report = fleet.reconcile(store)
    assert (report.result, report.differences) == ("equal", [])
    sums = {edge.edge_id: edge for edge in report.edges}
    assert (sums["east"].posted_amount, sums["east"].ledger_amount) == (3003, -3003)
    assert (sums["west"].posted_amount, sums["west"].not_posted) == (777, 1)
    posted = [line for line in report.payments if line.state == "posted"]
    assert all(line.ledger_amount == -line.amount and line.transaction_id for line in posted)
    assert fleet.asked_as == {"Node core"}


def test_pending_is_listed_and_not_complete(core: Any, fleet: Fleet) -> None:
    """A payment that is on its way to the core is no difference, but not reconciled either."""
    with core.open() as store:
        settle(core, store, fleet, core.intent("done"))
        fleet.record(core.intent("queued", amount_cents=4200))
        report = fleet.reconcile(store)
    assert report.result == "incomplete"
    assert [line.amount for line in report.pending] == [4200]
    assert report.pending[0].held_by == ["east", "west"]


def test_copy_of_a_lost_edge_is_pending(core: Any, fleet: Fleet) -> None:
    """When the recording edge is gone with its disk, its sibling's copy still counts."""
    fleet.record(core.intent("lost"))
    fleet.silent.add("east")
    with core.open() as store:
        report = fleet.reconcile(store)
        skipped = fleet.reconcile(store, skip=True)
    assert (report.result, report.unreachable) == ("incomplete", ["east"])
    assert [line.edge_id for line in skipped.pending] == ["east"]


def test_silent_edge_is_not_reconciled(core: Any, fleet: Fleet) -> None:
    """An edge that does not answer makes the result incomplete, unless one does without it."""
    fleet.silent.add("west")
    with core.open() as store:
        assert fleet.reconcile(store).result == "incomplete"
        assert fleet.reconcile(store, skip=True).result == "equal"


def plant_second_posting(store: CoreStore, intent: Intent, payment_id: str | None) -> None:
    """Write a second posting into the database, behind the program's back, and publish the balance."""
    with store.transaction() as tx:
        tx.connection.execute(
            "INSERT INTO ledger_entries (transaction_id, ledger_account, account_id, amount_cents)"
            " VALUES (900, 'cash_clearing', NULL, ?), (900, 'receivable', ?, ?)",
            (intent.amount_cents, intent.account_id, -intent.amount_cents),
        )
        tx.connection.execute(
            "INSERT INTO ledger_transactions (transaction_id, source, idempotency_key, kind, description,"
            " value_date, posted_at, payment_id) VALUES (900, 'intent', 'another key', 'payment', 'x',"
            " '2026-03-10', '2026-03-10T00:00:00.000000Z', ?)",
            (payment_id,),
        )
        publish_account(tx, intent.account_id)


@pytest.mark.parametrize(
    ("payment_id", "kind"),
    [
        ("same", "double_posting"),
        ("another", "posting_without_payment"),
        (None, "posting_without_payment"),
    ],
)
def test_second_posting_is_found(
    core: Any, fleet: Fleet, payment_id: str | None, kind: str
) -> None:
    """A payment in the ledger twice is found under whatever key or id the second was planted."""
    intent = core.intent()
    with core.open() as store:
        settle(core, store, fleet, intent)
        plant_second_posting(
            store, intent, intent.intent_id if payment_id == "same" else payment_id
        )
        report = fleet.reconcile(store)
    assert (report.result, kinds(report)) == ("different", {kind})
    if payment_id == "same":
        (found,) = report.differences
        assert (found.intent_id, found.edge_id, found.expected, found.found) == (
            intent.intent_id,
            "east",
            -2500,
            -5000,
        )


def unlock(store: CoreStore) -> None:
    """Take away what protects the books, as somebody with the file, or the server, in hand could."""
    if is_server(store.connection):
        store.connection.execute("SET session_replication_role = replica")
        return
    names = store.connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    ).fetchall()
    for (name,) in names:
        store.connection.execute(f"DROP TRIGGER {name}")
    store.connection.execute("PRAGMA foreign_keys = OFF")


Plant = tuple[str, str]
PLANTS: dict[str, Plant] = {
    "missing_posting": (
        "DELETE FROM ledger_transactions WHERE kind = 'payment'",
        "DELETE FROM ledger_entries WHERE transaction_id > 1",
    ),
    "amount_differs": (
        "UPDATE ledger_entries SET amount_cents = -2501 WHERE amount_cents = -2500",
        "UPDATE ledger_entries SET amount_cents = 2501 WHERE amount_cents = 2500",
    ),
    "wrong_account": (
        "UPDATE ledger_entries SET account_id = 'A-1002' WHERE amount_cents = -2500",
        "SELECT 1",
    ),
    "value_date_differs": (
        "UPDATE ledger_transactions SET value_date = '2026-03-11' WHERE kind = 'payment'",
        "SELECT 1",
    ),
    "unbalanced": (
        "UPDATE ledger_entries SET amount_cents = 2400 WHERE amount_cents = 2500",
        "SELECT 1",
    ),
    "payment_differs": ("UPDATE payments SET amount_cents = 1", "SELECT 1"),
    "unknown_to_core": ("DELETE FROM inbox", "SELECT 1"),
    "posting_without_payment": ("DELETE FROM inbox", "DELETE FROM payments"),
    "payment_not_shown": ("DELETE FROM documents WHERE kind = 'payment'", "SELECT 1"),
    "balance_differs": ("UPDATE documents SET body = :body WHERE kind = 'account'", "SELECT 1"),
}


def spoilt_body(store: CoreStore) -> bytes:
    """Return the body of an account's document with a dollar of its balance gone."""
    found = store.connection.execute("SELECT body FROM documents WHERE kind = 'account'").fetchall()
    texts = [text for (body,) in found if b"5500" in (text := unpack_body(bytes(body)))]
    return pack_body("account", texts[0].replace(b"5500", b"5400"))


@pytest.mark.parametrize("kind", sorted(PLANTS))
def test_planted_difference_in_the_core_is_found(core: Any, fleet: Fleet, kind: str) -> None:
    """Whatever is changed in the core's file, the report names it."""
    with core.open() as store:
        settle(core, store, fleet, core.intent())
        unlock(store)
        for statement in PLANTS[kind]:
            named = {"body": spoilt_body(store)} if ":body" in statement else {}
            store.connection.execute(statement, named)
        report = fleet.reconcile(store)
    assert report.result == "different"
    assert kind in kinds(report)


def lose_from_journal(fleet: Fleet) -> None:
    """Delete an intent from its journal."""
    del fleet.own["east"][0]


def change_outcome(fleet: Fleet) -> None:
    """Let the edge have been told something else."""
    item = fleet.own["east"][0]
    assert item.outcome is not None
    told = msgspec.structs.replace(item.outcome, state="rejected")
    fleet.own["east"][0] = msgspec.structs.replace(item, outcome=told)


def change_amount(fleet: Fleet) -> None:
    """Let the journal hold another amount."""
    item = fleet.own["east"][0]
    intent = msgspec.structs.replace(item.intent, amount_cents=1)
    fleet.own["east"][0] = msgspec.structs.replace(item, intent=intent)


def void(fleet: Fleet, edge: str = "east") -> None:
    """Let the journal say that it never offered what the core decided."""
    fleet.own[edge][0] = msgspec.structs.replace(fleet.own[edge][0], state="void", outcome=None)


def lose_without_trace(fleet: Fleet) -> None:
    """Raise the journal's last ordinal: one in between was deleted, and nobody has a copy."""
    fleet.last["east"] = 9


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lose_from_journal, "missing_from_journal"),
        (lose_without_trace, "missing_from_journal"),
        (change_outcome, "outcome_differs"),
        (change_amount, "content_differs"),
        (void, "void_but_decided"),
    ],
)
def test_planted_difference_at_an_edge_is_found(
    core: Any, fleet: Fleet, spoil: Callable[[Fleet], None], kind: str
) -> None:
    """A journal that lost or changed an intent is named."""
    with core.open() as store:
        settle(core, store, fleet, core.intent("one"), core.intent("two"))
        spoil(fleet)
        report = fleet.reconcile(store)
    assert (report.result, kinds(report)) == ("different", {kind})


@pytest.mark.parametrize("first", ["east", "west"])
def test_one_payment_recorded_at_both_edges_is_one_payment(
    core: Any, fleet: Fleet, first: str
) -> None:
    """A key sent to both edges at once: the core decided one record, and the other is no difference."""
    twice = {edge: core.intent("same", edge=edge) for edge in ("east", "west")}
    with core.open() as store:
        (outcome,) = Intake(store, ServerSettings()).take([twice[first]], delivered_by="x").outcomes
        for intent in twice.values():
            fleet.record(intent, outcome)
        report = fleet.reconcile(store)
    assert (report.result, report.differences) == ("equal", [])
    assert [(line.edge_id, line.amount) for line in report.payments] == [(first, 2500)]


@pytest.mark.parametrize("voided_at", ["east", "west"])
def test_attempt_that_was_not_taken_here_is_posted_there(
    core: Any, fleet: Fleet, voided_at: str
) -> None:
    """An edge that reached nobody voided its attempt; the same key at its sibling was posted: all is right."""
    attempt = core.intent("same", edge=voided_at)
    fleet.record(attempt, witnessed=False)
    void(fleet, voided_at)
    with core.open() as store:
        other = {"east": "west", "west": "east"}[voided_at]
        settle(core, store, fleet, core.intent("same", edge=other))
        report = fleet.reconcile(store)
    assert (report.result, report.differences) == ("equal", [])


@pytest.mark.parametrize("voided_at", ["east", "west"])
def test_attempt_that_waits_there_is_pending_though_voided_here(
    core: Any, fleet: Fleet, voided_at: str
) -> None:
    """A voided attempt hides no payment that its sibling accepted and the core has not decided."""
    fleet.record(core.intent("same", edge=voided_at), witnessed=False)
    void(fleet, voided_at)
    fleet.record(core.intent("same", edge={"east": "west", "west": "east"}[voided_at]))
    with core.open() as store:
        report = fleet.reconcile(store)
    assert (report.result, [line.amount for line in report.pending]) == ("incomplete", [2500])


def test_accepted_intent_deleted_before_the_core_saw_it(core: Any, fleet: Fleet) -> None:
    """Deleted at its recorder, it is found by its hole, and still pending by its sibling's copy."""
    fleet.record(core.intent("gone", amount_cents=1234))
    lose_from_journal(fleet)
    with core.open() as store:
        report = fleet.reconcile(store)
    assert kinds(report) == {"missing_from_journal"}
    assert report.differences[0].intent_id


def test_reversed_payment_is_no_difference(core: Any, fleet: Fleet) -> None:
    """A payment that was returned by the bank is shown as reversed; its mirror is not a second posting."""
    with core.open() as store:
        settle(core, store, fleet, core.intent())
        with store.transaction() as tx:
            number, original = list(read_transactions(tx.connection))[-1]
            undo = ledger.reversal(original, value_date=original.value_date, description="Returned")
            post(tx, undo, reverses_transaction_id=number)
            publish_account(tx, ACCOUNT)
        report = fleet.reconcile(store)
    assert (report.result, report.payments[0].verdict) == ("equal", "reversed")


def test_command_says_what_it_could_not_ask(core: Any) -> None:
    """Without its edges the command exits with 3 and names them; without any payment, done without them, with 0."""
    with core.open() as store, store.transaction() as tx:
        tx.connection.execute("UPDATE edges SET peer_url = 'http://127.0.0.1:1'")
    runner = CliRunner()
    data = ["--data", str(core.data_dir)]
    incomplete = runner.invoke(main, ["reconcile", "--json", *data])
    assert incomplete.exit_code == 3
    assert msgspec.json.decode(incomplete.stdout)["unreachable"] == ["east", "west"]
    equal = runner.invoke(main, ["reconcile", "--skip-unreachable", *data])
    assert equal.exit_code == 0
    assert "result: equal" in equal.stdout

"""The operators' console: the door, the queue, the dry run, orders, dead letters, and what is written down of it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import httpx
import msgspec
import pytest

from core_cis.app import create_app
from core_cis.audit import read_log, verify_log
from core_cis.books import read_books
from core_cis.charge_records import read_refunds
from core_cis.intake import Intake
from core_cis.peer_journals import PeerJournals
from core_cis.reconcile import reconcile
from core_cis.reconciliation import Journal, Report
from core_cis.report_signing import is_signed_report
from core_cis.settings import ServerSettings
from failover.intents import Capture, Intent
from failover.peer_messages import Outage, RecordedIntent
from failover.signing import Signer
from tests.integration.core_cis.console_edges import Edges

ACCOUNT, CLOSED = "A-1001", "A-1003"
HOME = {"Origin": "http://core"}


@pytest.fixture
def edges() -> Edges:
    """Return edges at which nothing waits."""
    return Edges()


@asynccontextmanager
async def console(
    core: Any, edges: Edges, settings: ServerSettings | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve a core whose edges are these."""
    with core.open() as store:
        secret = store.keys.node_secret
    journals = PeerJournals(secret, transport=httpx.MockTransport(edges.answer))
    app = create_app(core.data_dir, core.clock, settings, journals=journals)
    async with app.lifespan():
        transport = httpx.ASGITransport(app=cast("Any", app), raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://core", follow_redirects=True
        ) as client:
            yield client


async def sign_in(core: Any, client: httpx.AsyncClient) -> str:
    """Sign in as Ada; returns the token of her forms."""
    token = core.operator()["Authorization"].split()[1]
    page = await client.post("/ops/sign-in", data={"operator": "Ada", "token": token}, headers=HOME)
    assert page.status_code == 200, page.text
    return csrf_of(page.text)


def csrf_of(page: str) -> str:
    """Find the token of a page's forms."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
    assert found is not None, page
    return found[1]


def hidden(page: str) -> dict[str, str]:
    """Read the hidden fields of a page that asks for a confirmation."""
    form = page[page.index('<form class="flow"') :]
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))


async def test_nobody_gets_in_without_the_token(file_core: Any, edges: Edges) -> None:
    """Pages send strangers to the door, programs get 401; a wrong token says so and sets no cookie."""
    async with console(file_core, edges) as client:
        for address in ("/ops", "/ops/cases", "/ops/audit", "/ops/drain"):
            page = await client.get(address)
            assert page.url.path == "/ops/sign-in"
        for address in ("/ops/v1/overview", "/ops/v1/cases", "/ops/v1/audit"):
            assert (await client.get(address)).status_code == 401
        wrong = await client.post("/ops/sign-in", data={"operator": "Eve", "token": "x"})
        assert wrong.status_code == 401
        assert "set-cookie" not in wrong.headers
        token = file_core.operator()["Authorization"].split()[1]
        foreign = {"Origin": "http://elsewhere.example"}
        stolen = await client.post(
            "/ops/sign-in", data={"operator": "Eve", "token": token}, headers=foreign
        )
        assert stolen.status_code == 403
        assert "set-cookie" not in stolen.headers


async def test_sign_in_is_short_and_of_this_site(file_core: Any, edges: Edges) -> None:
    """The cookie is HttpOnly and SameSite=Strict, ends after half an hour unused, and forms need its token."""
    async with console(file_core, edges) as client:
        csrf = await sign_in(file_core, client)
        again = await client.get("/ops")
        kept = again.headers["set-cookie"].lower()
        assert "httponly" in kept
        assert "samesite=strict" in kept
        assert "path=/ops" in kept
        assert again.headers["cache-control"] == "no-store"
        for form, headers in (({}, HOME), ({"csrf": csrf}, {"Origin": "http://elsewhere"})):
            refused = await client.post("/ops/rehearsal", data=form, headers=headers)
            assert refused.status_code == 403
        file_core.clock.move(29 * 60)
        assert (await client.get("/ops")).url.path == "/ops"
        file_core.clock.move(31 * 60)
        assert (await client.get("/ops")).url.path == "/ops/sign-in"


async def test_queue_shows_what_waits_also_of_an_edge_that_is_silent(
    file_core: Any, edges: Edges
) -> None:
    """Depth, oldest and money by edge; of one that does not answer what its sibling holds."""
    edges.waiting["east"] = [file_core.intent(f"e{n}", amount_cents=1000) for n in range(3)]
    file_core.clock.move(90)
    async with console(file_core, edges) as client:
        headers = file_core.operator()
        seen = (await client.get("/ops/v1/overview", headers=headers)).json()
        assert (seen["pending"], seen["amount"], seen["oldest_seconds"]) == (3, 3000, 90.0)
        edges.silent = {"east"}
        seen = (await client.get("/ops/v1/overview", headers=headers)).json()
        east = next(edge for edge in seen["edges"] if edge["node_id"] == "east")
        assert (east["answers"], east["pending"], east["amount"]) == (False, 3, 3000)
        assert east["mode"] == "recovering"
        await sign_in(file_core, client)
        page = (await client.get("/ops")).text
        assert "3 payments waiting, $30.00" in page
        assert "Does not answer" in page


async def test_dry_run_predicts_what_the_drain_then_does(file_core: Any, edges: Edges) -> None:
    """Posted, rejected and under review, to the cent and by payment; and nothing of the dry run stays."""
    poison = file_core.intent("poison", account_id="A-1002", amount_cents=666, method_id="pm-1002")
    edges.waiting["east"] = [
        file_core.intent("good", amount_cents=1234),
        file_core.intent("expired", method_id="pm-old"),
        file_core.intent("closed", account_id=CLOSED, method_id="pm-1003"),
        poison,
    ]
    edges.waiting["west"] = [file_core.intent("good", amount_cents=99, edge="west")]
    with file_core.open() as store, store.transaction() as tx:
        # Nothing can be published of an account whose customer has no row: the intake fails on it every time.
        tx.connection.execute(
            "CREATE TRIGGER poison BEFORE INSERT ON payments"
            " WHEN NEW.amount_cents = 666 AND NEW.state = 'posted'"
            " BEGIN SELECT raise(ABORT, 'poison'); END"
        )
    intents = [*edges.waiting["east"], *edges.waiting["west"]]
    async with console(file_core, edges) as client:
        asked = await client.post(
            "/ops/v1/rehearsal", json={"operator": "Ada"}, headers=file_core.operator()
        )
        assert asked.status_code == 200, asked.text
        predicted = {
            (each["intent_id"], each["fingerprint"]): (each["state"], each["reason"])
            for each in asked.json()["predictions"]
        }
        with file_core.open() as store:
            (count,) = store.connection.execute("SELECT count(*) FROM inbox").fetchone()
            (failing,) = store.connection.execute("SELECT count(*) FROM intake_failures").fetchone()
        assert (count, failing) == (0, 0)
        real: dict[tuple[str, str], tuple[str, str]] = {}
        for _ in range(3):
            left = [each for each in intents if (each.intent_id, each.fingerprint) not in real]
            answer = await file_core.deliver(client, *left, drain=True)
            real |= {
                (each.intent_id, each.fingerprint): (each.state, each.reason)
                for each in answer.outcomes
            }
    assert predicted == real
    assert sorted(state for state, _ in real.values()) == [
        "dead_letter",
        "posted",
        "rejected",
        "rejected",
        "rejected",
    ]
    posted = next(each for each in asked.json()["sums"] if each["state"] == "posted")
    assert (posted["count"], posted["amount"]) == (1, 1234)


async def dead_letter(core: Any, *, charge_id: str = "") -> Intent:
    """Have the intake fail on a payment until it is under review, then heal it; charged by its edge with an id."""
    intent = core.intent("poison", amount_cents=4200)
    if charge_id:
        capture = Capture(state="captured", charge_id=charge_id)
        unsigned = msgspec.structs.replace(intent, kind="captured", capture=capture)
        intent = Signer(core.configs["east"].signing_key).sign(unsigned)

    def fail(*_: object) -> Any:
        raise ZeroDivisionError

    with core.open() as store:
        for _ in range(ServerSettings().attempts_max):
            Intake(store, ServerSettings(), process=fail).take([intent], delivered_by="east")
    return cast("Intent", intent)


async def test_case_is_retried_through_the_console_once(file_core: Any, edges: Edges) -> None:
    """Checked on a second page; sent twice it is done once; the books, the edges and the log agree."""
    async with console(file_core, edges) as client:
        intent = await dead_letter(file_core)
        csrf = await sign_in(file_core, client)
        listed = (await client.get("/ops/cases")).text
        number = re.search(r"/ops/cases/(C-[0-9A-Z-]+)", listed)
        assert number is not None
        form = {"csrf": csrf, "action": "retry", "reason": "the fault is mended"}
        review = await client.post(f"/ops/cases/{number[1]}/review", data=form, headers=HOME)
        assert "$42.00" in review.text
        fields = hidden(review.text)
        await client.post(f"/ops/cases/{number[1]}", data=fields, headers=HOME)
        done = await client.post(f"/ops/cases/{number[1]}", data=fields, headers=HOME)
        assert done.status_code == 200
        assert "posted" in done.text
        repeated = await file_core.deliver(client, intent, drain=True)
        record = (
            await client.get(f"/intents/{intent.intent_id}", headers=file_core.operator())
        ).json()
    assert [outcome.state for outcome in repeated.outcomes] == ["posted"]
    assert record["state"] == "posted"
    with file_core.open() as store:
        actions = [line.action for line in read_log(store.connection, limit=9)]
        entries = store.connection.execute(
            "SELECT sum(amount_cents) FROM ledger_entries WHERE account_id = ?", (ACCOUNT,)
        ).fetchone()
        report = reconcile([journal_of(intent)], read_books(store.connection))
    assert actions == ["case.retry"]
    assert entries == (8000 - 4200,)
    assert (report.result, report.differences) == ("equal", [])


def journal_of(intent: Intent) -> Journal:
    """Return the journal of the edge that was told of a case."""
    item = RecordedIntent(position=1, source="own", intent=intent, state="offered")
    return Journal(node_id="east", incarnation="east-journal", own=[item], last_ordinal=1)


async def test_case_is_rejected_for_good(file_core: Any, edges: Edges) -> None:
    """With a typed reason; after that nothing can be done to it, and nothing was posted."""
    headers = file_core.operator()
    async with console(file_core, edges) as client:
        intent = await dead_letter(file_core)
        (case,) = (await client.get("/ops/v1/cases", headers=headers)).json()
        address = f"/ops/v1/cases/{case['case_number']}"
        body = {"operator": "Ada", "reason": "a duplicate by phone", "action": "refund"}
        refused = await client.post(address, json=body, headers=headers)
        assert refused.status_code == 409
        assert "No money was taken" in refused.json()["detail"]
        body |= {"action": "reject", "rejection": "refused_by_operator"}
        done = await client.post(address, json=body, headers=headers)
        assert done.json()["detail"] == {"result": "rejected", "told": "refused_by_operator"}
        again = await client.post(address, json=body | {"action": "retry"}, headers=headers)
        assert (again.status_code, again.json()["detail"]) == (
            409,
            f"Case {case['case_number']} is resolved: rejected.",
        )
        assert (await client.get("/ops/v1/cases", headers=headers)).json() == []
        unknown = await client.post("/ops/v1/cases/C-0", json=body, headers=headers)
        assert unknown.status_code == 404
        repeated = await file_core.deliver(client, intent)
    assert [(each.state, each.reason) for each in repeated.outcomes] == [
        ("rejected", "refused_by_operator")
    ]


async def test_case_of_captured_money_is_given_back(file_core: Any, edges: Edges) -> None:
    """It cannot just be rejected; a refund is owed once, also when the edge brings the payment again."""
    headers = file_core.operator()
    async with console(file_core, edges) as client:
        intent = await dead_letter(file_core, charge_id="ch_1")
        await file_core.deliver(client, intent)
        with file_core.open() as store:
            assert read_refunds(store.connection) == []
        (case,) = (await client.get("/ops/v1/cases", headers=headers)).json()
        address = f"/ops/v1/cases/{case['case_number']}"
        body = {"operator": "Ada", "reason": "the account moved", "action": "reject"}
        refused = await client.post(address, json=body, headers=headers)
        assert (refused.status_code, refused.json()["detail"]) == (
            409,
            "Money was taken for this payment: refund it.",
        )
        done = await client.post(address, json=body | {"action": "refund"}, headers=headers)
        assert done.json()["detail"] == {"result": "rejected"}
        await file_core.deliver(client, intent)
    with file_core.open() as store:
        owed = [
            (each.charge_id, each.amount_cents, each.state)
            for each in read_refunds(store.connection)
        ]
    assert owed == [("ch_1", 4200, "due")]


async def test_captured_case_that_is_retried_is_posted_and_keeps_its_money(
    file_core: Any, edges: Edges
) -> None:
    """Posted once, and nothing is given back, however often the edge brings it."""
    headers = file_core.operator()
    async with console(file_core, edges) as client:
        intent = await dead_letter(file_core, charge_id="ch_1")
        await file_core.deliver(client, intent)
        (case,) = (await client.get("/ops/v1/cases", headers=headers)).json()
        body = {"operator": "Ada", "reason": "mended", "action": "retry"}
        done = await client.post(f"/ops/v1/cases/{case['case_number']}", json=body, headers=headers)
        assert done.json()["detail"] == {"result": "posted"}
        answer = await file_core.deliver(client, intent)
    assert [each.state for each in answer.outcomes] == ["posted"]
    with file_core.open() as store:
        assert read_refunds(store.connection) == []


async def test_retry_that_fails_again_leaves_the_case_open(file_core: Any, edges: Edges) -> None:
    """The log names what it failed with; the case can be retried later."""
    headers = file_core.operator()
    with file_core.open() as store, store.transaction() as tx:
        tx.connection.execute(
            "CREATE TRIGGER poison BEFORE INSERT ON ledger_transactions"
            " BEGIN SELECT raise(ABORT, 'poison'); END"
        )
    async with console(file_core, edges) as client:
        await dead_letter(file_core)
        (case,) = (await client.get("/ops/v1/cases", headers=headers)).json()
        body = {"operator": "Ada", "reason": "try", "action": "retry"}
        address = f"/ops/v1/cases/{case['case_number']}"
        done = await client.post(address, json=body, headers=headers)
        assert done.json()["detail"] == {"result": "open", "error": "IntegrityError"}
        assert len((await client.get("/ops/v1/cases", headers=headers)).json()) == 1


async def test_order_is_checked_then_given_and_written_down(file_core: Any, edges: Edges) -> None:
    """Holding through the pages holds the drain; what is missing is asked for; the log is whole and says who."""
    async with console(file_core, edges) as client:
        csrf = await sign_in(file_core, client)
        form = {"csrf": csrf, "edge": "east", "held": "yes", "pace": "", "reason": " "}
        asked = await client.post("/ops/drain/review", data=form, headers=HOME)
        assert (asked.status_code, "Please say why." in asked.text) == (422, True)
        wrong = await client.post(
            "/ops/drain/review", data=form | {"pace": "0", "reason": "x"}, headers=HOME
        )
        assert wrong.status_code == 422
        review = await client.post(
            "/ops/drain/review", data=form | {"reason": "its clock"}, headers=HOME
        )
        fields = hidden(review.text)
        await client.post("/ops/drain", data=fields, headers=HOME)
        shown = await client.post("/ops/drain", data=fields, headers=HOME)
        assert "held" in shown.text
        assert (await file_core.deliver(client, file_core.intent(), drain=True)).held
        nobody = await client.post(
            "/ops/drain", data=fields | {"edge": "est", "key": "2"}, headers=HOME
        )
        assert nobody.status_code == 404
        audit = (await client.get("/ops/audit")).text
        assert "Whole" in audit
        assert "Ada (console)" in audit
        with file_core.open() as store:
            store.connection.execute("DROP TRIGGER audit_log_no_update")
            with store.transaction() as tx:
                tx.connection.execute("UPDATE audit_log SET operator = 'Bob'")
        assert "Broken at line 1" in (await client.get("/ops/audit")).text
        assert "The audit log is broken" in (await client.get("/ops")).text
    with file_core.open() as store, store.reading() as connection:
        assert verify_log(connection, store.keys.public_key).broken_at == 1
        assert [line.subject for line in read_log(connection, limit=9)] == ["east"]


async def test_reconciliation_by_day_and_outage_down_to_each_payment(
    file_core: Any, edges: Edges
) -> None:
    """Accepted is the sum of its parts; signed; the page leads to each payment, the CSV has them all."""
    began = file_core.clock.now()
    before = file_core.intent("before", accepted_at=began - timedelta(minutes=5), amount_cents=100)
    within = [
        file_core.intent("good", accepted_at=began + timedelta(seconds=1), amount_cents=2000),
        file_core.intent("bad", accepted_at=began + timedelta(seconds=2), method_id="pm-old"),
        file_core.intent("waits", accepted_at=began + timedelta(seconds=3), amount_cents=7),
    ]
    edges.waiting["east"] = [before, *within]
    edges.outages = [Outage(began)]
    file_core.clock.move(60)
    async with console(file_core, edges) as client:
        await file_core.deliver(client, before, *within[:2])
        csrf = await sign_in(file_core, client)
        assert "No report was made" in (await client.get("/ops/reconciliation")).text
        page = await client.post("/ops/reconciliation", data={"csrf": csrf}, headers=HOME)
        assert "Not complete" in page.text
        assert "3 / $45.07" in page.text
        link = re.search(r'href="(/ops/reconciliation/payments[?][^"]*outage[^"]*)"', page.text)
        assert link is not None
        payments = (await client.get(link[1].replace("&amp;", "&"))).text
        assert all(intent.intent_id in payments for intent in within)
        assert before.intent_id not in payments
        file = await client.get("/ops/reconciliation/payments.csv")
        made = await client.post("/ops/v1/reconciliation", headers=file_core.operator())
    assert file.headers["content-type"].startswith("text/csv")
    assert len(file.text.split("\r\n")) == 1 + 4 + 1
    report = msgspec.json.decode(made.content, type=Report)
    groups = {group.outage: group for group in report.groups}
    assert (groups[None].accepted_amount, groups[None].posted_amount) == (100, 100)
    outage = groups[began]
    assert (outage.accepted, outage.posted, outage.rejected, outage.pending) == (3, 1, 1, 1)
    assert outage.accepted_amount == 2000 + 2500 + 7
    with file_core.open() as store:
        key = store.keys.public_key
    assert is_signed_report(report, key)
    assert not is_signed_report(msgspec.structs.replace(report, result="equal"), key)
    assert not is_signed_report(msgspec.structs.replace(report, signature="?"), key)

"""Intents reach the ledger once, or get a reason why not, whoever brings them and how often."""

import asyncio
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from cache_sync.documents import AccountBody, PaymentBody
from cache_sync.packed_bodies import unpack_body
from core_cis.decisions import Decision
from core_cis.intake import Intake, check_signatures
from core_cis.intent_kinds import decide
from core_cis.payment_judging import Standing
from core_cis.registry import Serving, edge_keys, revoke_edge, write_edge_config
from core_cis.settings import ServerSettings
from core_cis.store import CoreStore, Transaction
from core_cis.writer import Turn
from failover.intents import Intent, IntentBatch
from failover.signing import Signer, verify_outcome

ACCOUNT = "A-1001"


def document(store: CoreStore, kind: str, key: str, account_id: str = ACCOUNT) -> Any:
    """Read a published document's body."""
    row = store.connection.execute(
        "SELECT body FROM documents WHERE account_id = ? AND kind = ? AND key = ?",
        (account_id, kind, key),
    ).fetchone()
    assert row is not None, f"no {kind} document {key}"
    return unpack_body(row[0])


def count(store: CoreStore, table: str) -> int:
    """Count a table's rows."""
    return int(store.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - our names


async def test_posts_into_ledger_payment_and_documents_together(core: Any) -> None:
    """A payment lowers the balance, and its document stands at the position that the outcome names."""
    intent = core.intent(amount_cents=2500)
    async with core.serving() as client:
        (outcome,) = (await core.deliver(client, intent)).outcomes
    assert (outcome.state, outcome.value_date) == ("posted", date(2026, 3, 10))
    with core.open() as store:
        account = msgspec.json.decode(document(store, "account", ""), type=AccountBody)
        payment = msgspec.json.decode(
            document(store, "payment", intent.intent_id), type=PaymentBody
        )
        (seq,) = store.connection.execute(
            "SELECT seq FROM documents WHERE kind = 'payment'"
        ).fetchone()
    assert account.balance_cents == 5500
    assert (payment.state, payment.amount_cents, payment.method_label) == (
        "posted",
        2500,
        "Card ending 4242",
    )
    assert (payment.fingerprint, outcome.seq) == (intent.fingerprint, seq)


async def test_same_pair_gets_the_first_outcome(core: Any) -> None:
    """Repeated by the recorder, by its sibling and within one batch, an intent is posted once."""
    intent = core.intent()
    async with core.serving() as client:
        (first,) = (await core.deliver(client, intent)).outcomes
        core.clock.move(3600)
        again = await core.deliver(client, intent, intent, edge="west")
    assert again.outcomes == [first, first]
    with core.open() as store:
        assert count(store, "payments") == count(store, "inbox") == 1


async def test_forty_deliveries_at_once_post_once(core: Any) -> None:
    """Concurrency changes nothing: one payment, forty equal answers."""
    intent = core.intent()
    async with core.serving() as client:
        answers = await asyncio.gather(
            *(core.deliver(client, intent, edge=("east", "west")[n % 2]) for n in range(40))
        )
    assert len({answer.outcomes[0] for answer in answers}) == 1
    with core.open() as store:
        assert count(store, "payments") == 1


async def test_other_payment_under_the_same_id_is_rejected(core: Any) -> None:
    """Two cut-off edges took different payments under one key: one wins, the loser has its own row and document."""
    winner = core.intent("shared", amount_cents=2500, edge="east")
    loser = core.intent("shared", amount_cents=9900, edge="west")
    async with core.serving() as client:
        await core.deliver(client, winner)
        (outcome,) = (await core.deliver(client, loser, edge="west")).outcomes
        repeated = await core.deliver(client, loser, winner)
        record = (await client.get(f"/intents/{winner.intent_id}", headers=core.operator())).json()
        figures = (await client.get("/metrics")).text
    assert (outcome.state, outcome.reason) == ("rejected", "id_conflict")
    assert {one.fingerprint: one.state for one in repeated.outcomes} == {
        winner.fingerprint: "posted",
        loser.fingerprint: "rejected",
    }
    assert (record["state"], record["amount"], len(record["others"])) == ("posted", 2500, 1)
    assert 'ridethrough_core_alarms_total{alarm="id_conflict"} 1.0' in figures
    with core.open() as store:
        won = msgspec.json.decode(document(store, "payment", winner.intent_id), type=PaymentBody)
        key = f"{loser.intent_id}/{loser.fingerprint[:16]}"
        lost = msgspec.json.decode(document(store, "payment", key), type=PaymentBody)
    assert (won.state, lost.state, lost.payment_id) == ("posted", "rejected", winner.intent_id)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"account_id": "A-9999"}, "unknown_account"),
        ({"account_id": "A-1003", "method_id": "pm-1003"}, "account_closed"),
        ({"method_id": "pm-1002"}, "method_unknown"),
        ({"method_id": "pm-old"}, "method_expired"),
        ({"method_id": "pm-new"}, "method_unverified"),
        ({"amount_cents": 0}, "amount_out_of_range"),
        ({"amount_cents": -500}, "amount_out_of_range"),
        ({"amount_cents": 10**12}, "amount_out_of_range"),
        ({"currency": "EUR"}, "currency_mismatch"),
        ({"not_after": datetime(2026, 3, 10, 14, 59, tzinfo=UTC)}, "past_not_after"),
    ],
)
async def test_rejects_for_a_typed_reason(core: Any, changes: dict[str, Any], reason: str) -> None:
    """What the core does not take is final, says why, and moves no money."""
    intent = core.intent(**changes)
    async with core.serving() as client:
        (outcome,) = (await core.deliver(client, intent)).outcomes
    assert (outcome.state, outcome.reason, outcome.value_date) == ("rejected", reason, None)
    with core.open() as store:
        assert count(store, "ledger_transactions") == 1
        body = document(store, "payment", intent.intent_id, intent.account_id)
    assert msgspec.json.decode(body, type=PaymentBody).reason == reason


async def test_rejection_stays_final_when_its_reason_is_gone(core: Any) -> None:
    """A method that expires and is verified later does not turn a rejection into a payment."""
    intent = core.intent(method_id="pm-old")
    async with core.serving() as client:
        (first,) = (await core.deliver(client, intent)).outcomes
        with core.open() as store, store.transaction() as tx:
            tx.connection.execute("UPDATE payment_methods SET status = 'verified'")
        (second,) = (await core.deliver(client, intent)).outcomes
    assert first == second


async def test_value_date_is_the_day_of_acceptance(core: Any) -> None:
    """A payment accepted at 23:50 local time and drained two days later counts on its own day."""
    accepted_at = datetime(
        2026, 3, 9, 4, 50, tzinfo=UTC
    )  # 8 March, 23:50 in Chicago (DST since that morning)
    core.clock.move(2 * 86400)
    intent = core.intent(accepted_at=accepted_at)
    async with core.serving() as client:
        (outcome,) = (await core.deliver(client, intent)).outcomes
    assert outcome.value_date == date(2026, 3, 8)


@pytest.mark.parametrize(
    ("offset", "day"),
    [(timedelta(days=400), date(2026, 3, 10)), (timedelta(days=-400), date(2026, 2, 8))],
)
async def test_implausible_acceptance_is_clamped(core: Any, offset: timedelta, day: date) -> None:
    """A clock gone wild moves no value date further than the bounds, and the payment is flagged."""
    intent = core.intent(accepted_at=core.clock.now() + offset)
    async with core.serving() as client:
        (outcome,) = (await core.deliver(client, intent)).outcomes
    assert outcome.value_date == day
    with core.open() as store:
        assert store.connection.execute("SELECT value_date_clamped FROM payments").fetchone() == (
            1,
        )


@pytest.mark.parametrize("spoil", ["amount_cents", "account_id", "edge_id", "ordinal", "signature"])
async def test_unproven_intents_are_not_decided(core: Any, spoil: str) -> None:
    """What a registered edge did not sign gets no outcome, and does not hold up the rest of its batch."""
    forged = {
        "amount_cents": 1,
        "account_id": "A-1002",
        "edge_id": "west",
        "ordinal": 77,
        "signature": "AAAA",
    }
    bad = msgspec.structs.replace(core.intent("bad"), **{spoil: forged[spoil]})
    good = core.intent("good")
    async with core.serving() as client:
        answer = await core.deliver(client, bad, good)
        figures = (await client.get("/metrics")).text
    assert [outcome.intent_id for outcome in answer.outcomes] == [good.intent_id]
    assert 'ridethrough_core_alarms_total{alarm="refused_intent"} 1.0' in figures


async def test_id_must_follow_from_account_and_key(core: Any) -> None:
    """A signed intent whose id was minted otherwise is not decided: it could be paid again under its true id."""
    minted = msgspec.structs.replace(core.intent(), idempotency_key="another", signature="")
    signed = Signer(core.configs["east"].signing_key).sign(minted)
    async with core.serving() as client:
        assert (await core.deliver(client, signed)).outcomes == []


async def test_unknown_and_revoked_nodes_are_shown_the_door(core: Any) -> None:
    """A secret of nobody, and one of an edge that was expelled, open nothing."""
    with core.open() as store, store.transaction() as tx:
        revoke_edge(tx, "west")
    body = msgspec.msgpack.encode(IntentBatch([core.intent()]))
    async with core.serving() as client:
        for headers in ({}, {"Authorization": "Node nobody:x"}, core.node("west"), core.operator()):
            answer = await client.post("/intents", content=body, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["content-type"] == "application/problem+json"
    with core.open() as store:
        assert count(store, "inbox") == 0


async def test_revoked_edge_is_believed_for_what_it_accepted_before(core: Any) -> None:
    """A replaced edge's payment is posted when its sibling brings the copy; one from afterwards is not."""
    before = core.intent("before", edge="west")
    core.clock.move(60)
    with core.open() as store, store.transaction() as tx:
        revoke_edge(tx, "west")
    core.clock.move(60)
    after = core.intent("after", edge="west")
    async with core.serving() as client:
        answer = await core.deliver(client, before, after, edge="east")
    assert [outcome.intent_id for outcome in answer.outcomes] == [before.intent_id]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\xc1\x00broken", 400),
        (b"[]", 422),
        (msgspec.msgpack.encode([{"intents": 7}]), 422),
        (msgspec.msgpack.encode({"intents": [{"intent_id": "x"}]}), 422),
        (b"\x91" * 100_000, 422),
        (b"\x82\xa1x" + b"\x91" * 100_000 + b"\xc0\xa7intents\x90", 400),
        (b"x" * 3_000_000, 413),
    ],
)
async def test_broken_bodies_are_problems(core: Any, body: bytes, status: int) -> None:
    """Whatever is no batch is told so, as a problem detail, and changes nothing."""
    async with core.serving() as client:
        answer = await client.post("/intents", content=body, headers=core.node())
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_largest_batch_is_taken_and_a_larger_one_refused(core: Any) -> None:
    """500 intents are one transaction; 501 are a problem, and none of them is decided."""
    intents = [core.intent(f"k{number}", amount_cents=100 + number) for number in range(501)]
    async with core.serving() as client:
        answer = await client.post(
            "/intents",
            content=msgspec.msgpack.encode(IntentBatch(intents)),
            headers=core.node(),
        )
        assert answer.status_code == 413
        taken = await core.deliver(client, *intents[:500])
    assert {outcome.state for outcome in taken.outcomes} == {"posted"}
    with core.open() as store:
        (balance,) = store.connection.execute(
            "SELECT sum(amount_cents) FROM ledger_entries WHERE account_id = ?", (ACCOUNT,)
        ).fetchone()
        stamps = store.connection.execute(
            "SELECT count(DISTINCT decided_at) FROM payments"
        ).fetchone()
    assert balance == 8000 - sum(range(100, 600))
    assert stamps == (1,)


async def test_nothing_is_begun_for_a_caller_who_has_gone(core: Any) -> None:
    """A deadline that has passed before the batch's turn comes leaves nothing behind."""
    headers = core.node() | {"Ridethrough-Deadline-Ms": "900"}
    body = msgspec.msgpack.encode(IntentBatch([core.intent()]))
    async with core.serving() as client:
        answer = await deliver_late(client, core, body, headers)
    assert (answer.status_code, answer.json()["retry"]) == (503, "same")
    with core.open() as store:
        assert count(store, "inbox") == 0


async def deliver_late(
    client: httpx.AsyncClient, core: Any, body: bytes, headers: dict[str, str]
) -> httpx.Response:
    """Deliver while the writer is busy with something else, and let time pass meanwhile."""
    services = client._transport.app.state.services  # type: ignore[attr-defined]
    begun, free = threading.Event(), threading.Event()

    def hold(_: CoreStore) -> None:
        begun.set()
        free.wait(10)

    busy = asyncio.create_task(services.writer.run(hold, turn=Turn.TIME, within_seconds=10))
    await asyncio.to_thread(begun.wait, 10)
    waiting = asyncio.create_task(client.post("/intents", content=body, headers=headers))
    while not services.writer.waiting:  # noqa: ASYNC110 - the writer tells nobody
        await asyncio.sleep(0.01)
    core.clock.move(1)
    free.set()
    await busy
    return await waiting


async def test_drains_are_granted_a_pace(core: Any) -> None:
    """A drain learns how many more it may bring; a waiting customer's own payment says nothing of it."""
    async with core.serving() as client:
        drained = await core.deliver(client, core.intent("one"), drain=True)
        live = await core.deliver(client, core.intent("two"))
    assert drained.credits is not None
    assert drained.credits > 0
    assert live.credits is None


class Poison:
    """Decides as usual, but breaks on one key after having written something."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(
        self, tx: Transaction, intent: Intent, settings: ServerSettings, standing: Standing | None
    ) -> Decision:
        """Break, or decide."""
        if intent.idempotency_key == self.key:
            tx.connection.execute("UPDATE accounts SET status = 'closed'")
            raise ZeroDivisionError("poison")
        return decide(tx, intent, settings, standing)


def test_poison_parks_alone_and_ends_under_review(core: Any) -> None:
    """An intent that breaks its processing is undone alone, tried three times, then has a case number for good."""
    poison, good = core.intent("poison"), core.intent("good")
    later = [core.intent("later1"), core.intent("later2")]
    with core.open() as store:
        intake = Intake(store, ServerSettings(), Poison("poison"))
        first = intake.take([poison, good], delivered_by="east")
        assert [(one.intent_id, one.state) for one in first.outcomes] == [
            (good.intent_id, "posted")
        ]
        assert first.failed == 1
        second = intake.take([later[0], poison], delivered_by="west")
        assert [one.state for one in second.outcomes] == ["posted"]
        third = intake.take([poison, later[1]], delivered_by="east")
        assert [one.state for one in third.outcomes] == ["dead_letter", "posted"]
        assert third.outcomes[0].case_number.startswith("C-")
        # What broke it is repaired; final is final.
        repaired = Intake(store, ServerSettings()).take([poison], delivered_by="east")
        assert repaired.outcomes == [third.outcomes[0]]
        assert count(store, "intake_failures") == 0
        payment = msgspec.json.decode(
            document(store, "payment", poison.intent_id), type=PaymentBody
        )
    assert (payment.state, payment.case_number) == ("dead_letter", third.outcomes[0].case_number)


def test_what_breaks_is_logged_without_what_it_says(core: Any) -> None:
    """Its type and place: messages may hold what belongs to customers."""
    with core.open() as store, capture_logs() as logged:
        Intake(store, ServerSettings(), Poison("k")).take([core.intent("k")], delivered_by="east")
    (told,) = [event for event in logged if event.get("alarm") == "intake_failure"]
    assert told["error"] == "ZeroDivisionError"
    assert any("__call__" in frame for frame in told["frames"])
    assert "poison" not in str(logged)


def test_attempts_survive_a_restart(core: Any) -> None:
    """The counter is durable: three failures in three processes are three failures."""
    poison = core.intent("poison")
    states = []
    for _ in range(3):
        with core.open() as store:
            result = Intake(store, ServerSettings(), Poison("poison")).take(
                [poison], delivered_by="east"
            )
            states.append([one.state for one in result.outcomes])
    assert states == [[], [], ["dead_letter"]]


def test_edge_with_new_keys_is_believed_for_what_it_accepted_before(
    core: Any, tmp_path: Path
) -> None:
    """Its file was lost and written anew: what the lost keys signed until then is posted, and nothing after."""
    before = core.intent("before")
    core.clock.move(10)
    with core.open() as store:
        with store.transaction() as tx:
            serving = Serving(core_url="http://127.0.0.1", port=1, peer_port=2)
            write_edge_config(
                tx, "east", serving, tmp_path / "new.json", keys=store.keys, force=True
            )
        core.clock.move(10)
        proven, refused = check_signatures(
            [before, core.intent("after")], edge_keys(store.connection)
        )
    assert proven == [before]
    assert [reason for _, reason in refused] == ["bad_signature"]


def test_absurd_amount_is_refused_before_it_reaches_a_column(core: Any) -> None:
    """An amount that no column holds, though signed, is nobody's payment."""
    with core.open() as store:
        proven, refused = check_signatures(
            [core.intent(amount_cents=2**63)], edge_keys(store.connection)
        )
    assert (proven, [reason for _, reason in refused]) == ([], ["absurd_amount"])


async def test_operators_read_the_ledger(core: Any) -> None:
    """The ledger's answer has one entry a transaction, the payment negative and named by its intent."""
    intent = core.intent(amount_cents=2500)
    async with core.serving() as client:
        await core.deliver(client, intent)
        ledger = (await client.get(f"/accounts/{ACCOUNT}/ledger", headers=core.operator())).json()
        refused = await client.get(f"/accounts/{ACCOUNT}/ledger", headers=core.node())
        missing = await client.get("/accounts/A-9999/ledger", headers=core.operator())
    assert ledger["balance"] == 5500
    assert [entry["amount"] for entry in ledger["entries"]] == [8000, -2500]
    assert ledger["entries"][1]["intent_id"] == intent.intent_id
    assert ledger["entries"][1]["value_date"] == "2026-03-10"
    assert (refused.status_code, missing.status_code) == (401, 404)


async def test_what_was_decided_is_signed_for_whoever_passes_it_on(core: Any) -> None:
    """With the key that every edge has in its file; one at a time and many at once."""
    intents = [core.intent(f"key-{number}", amount_cents=100 + number) for number in range(6)]
    key = core.configs["west"].core_public_key
    async with core.serving() as client:
        (first,) = (await core.deliver(client, intents[0])).outcomes
        outcomes = (await core.deliver(client, *intents)).outcomes
    assert len(outcomes) == len(intents)
    assert all(verify_outcome(outcome, key) for outcome in (first, *outcomes))
    assert not verify_outcome(msgspec.structs.replace(first, state="rejected"), key)

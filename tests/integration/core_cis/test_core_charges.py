"""The core charges what was promised, posts or gives back what was captured, each once, whatever the processor does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from chaos.processor import sign_event
from core_cis.books import read_books
from core_cis.charge_records import read_charges, read_refunds
from core_cis.reconcile import reconcile
from core_cis.settings import ProcessorSettings, ServerSettings
from core_cis.settlement import read_settlement
from failover.intents import Capture, Intent, Outcome
from failover.processor import Captured
from failover.signing import Signer
from tests.integration.core_cis.conftest import CLOSED_ACCOUNT, Core, SetClock, make_core
from tests.integration.processor_world import (
    SECONDS,
    SECRET,
    SimulatedProcessor,
    charge,
    simulated,
)

HOOK_SECRET = "whsec_test"
TOKEN = "tok_1"


class PacedClock(SetClock):
    """A set clock whose waits end soon, so that what repeats in the background goes on."""

    async def sleep(self, seconds: float) -> None:
        """Wait a moment."""
        await asyncio.sleep(min(seconds, 0.02))


@pytest.fixture
def paid_core(core: Core) -> Core:
    """Return a core, in a file and on a server, whose background work goes on."""
    core.clock = PacedClock(core.clock.moment)
    return core


def settings(processor: SimulatedProcessor, **changes: float) -> ServerSettings:
    """Make a core charge through the simulator."""
    made = ProcessorSettings(
        url=processor.url, secret=SECRET, webhook_secret=HOOK_SECRET, refund_seconds=0.02
    )
    return ServerSettings(processor=msgspec.structs.replace(made, **changes))


@asynccontextmanager
async def charging(
    core: Core, **changes: float
) -> AsyncIterator[tuple[SimulatedProcessor, httpx.AsyncClient]]:
    """Run a simulator and a core that charges through it."""
    async with simulated() as processor:
        await processor.at(core.clock.moment)
        async with core.serving(settings(processor, **changes)) as client:
            yield processor, client


def captured(core: Core, intent: Intent, capture: Capture | None) -> Intent:
    """Have the edge sign that it charged, or was about to."""
    changed = msgspec.structs.replace(intent, kind="captured", signature="")
    if capture is not None:
        changed = msgspec.structs.replace(changed, capture=capture)
    return Signer(core.configs[intent.edge_id].signing_key).sign(changed)


async def refunded(core: Core, count: int) -> None:
    """Wait until so many refunds are made."""
    for _ in range(1000):
        with core.open() as store:
            if [each.state for each in read_refunds(store.connection)] == ["done"] * count:
                return
        await asyncio.sleep(0.02)
    raise AssertionError("not given back")


async def decided(core: Core, client: httpx.AsyncClient, intent: Intent) -> Outcome:
    """Deliver until the core decides; nothing but time passes in between."""
    for _ in range(200):
        outcomes = (await core.deliver(client, intent)).outcomes
        if outcomes:
            return outcomes[0]
        await asyncio.sleep(0.05)
    raise AssertionError("not decided")


def result(core: Core) -> str:
    """Reconcile the books with themselves."""
    with core.open() as store:
        report = reconcile([], read_books(store.connection))
    return f"{report.result} {[one.kind for one in report.differences]}"


async def test_a_promise_is_charged_under_its_id_and_posted(paid_core: Core) -> None:
    """One charge with the intent's id, one posting, however often it is delivered."""
    intent = paid_core.intent()
    async with charging(paid_core) as (processor, client):
        for _ in range(3):
            (outcome,) = (await paid_core.deliver(client, intent)).outcomes
            assert outcome.state == "posted"
        (made,) = await processor.charges(intent.intent_id)
        assert (made["amount"], made["payment_method"]) == (2500, TOKEN)
    assert result(paid_core) == "equal []"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("insufficient_funds", "declined_insufficient_funds"),
        ("lost_card", "declined"),
    ],
)
async def test_a_bank_that_says_no_rejects(paid_core: Core, said: str, reason: str) -> None:
    """The reason is typed and final, and nothing is in the ledger."""
    intent = paid_core.intent()
    async with charging(paid_core) as (processor, client):
        await processor.order("decline", method=TOKEN, code=said)
        (outcome,) = (await paid_core.deliver(client, intent)).outcomes
        assert (outcome.state, outcome.reason) == ("rejected", reason)
        await processor.order("decline", method=TOKEN, code="")
        (again,) = (await paid_core.deliver(client, intent)).outcomes
        assert again.reason == reason
    assert result(paid_core) == "equal []"


async def test_what_the_books_refuse_is_not_charged(paid_core: Core) -> None:
    """A closed account or an expired method is rejected without a call."""
    closed = paid_core.intent("k1", account_id=CLOSED_ACCOUNT, method_id=f"pm-{CLOSED_ACCOUNT[2:]}")
    expired = paid_core.intent("k2", method_id="pm-old")
    async with charging(paid_core) as (processor, client):
        outcomes = (await paid_core.deliver(client, closed, expired)).outcomes
        assert {one.reason for one in outcomes} == {"account_closed", "method_expired"}
        assert await processor.charges(closed.intent_id) == []
        assert await processor.charges(expired.intent_id) == []


@pytest.mark.parametrize("kind", ["reset_after", "error_after"])
async def test_an_answer_lost_after_the_charge_is_asked_for(paid_core: Core, kind: str) -> None:
    """The money was taken; the core finds that out by asking and posts it. One charge."""
    intent = paid_core.intent()
    async with charging(paid_core) as (processor, client):
        await processor.order("fault", kind=kind)
        assert (await paid_core.deliver(client, intent)).outcomes == []
        (outcome,) = (await paid_core.deliver(client, intent)).outcomes
        assert outcome.state == "posted"
        assert len(await processor.charges(intent.intent_id)) == 1


async def test_a_call_that_never_arrived_is_sent_again_under_its_key(paid_core: Core) -> None:
    """Only long after the attempt, when the processor knows nothing of it, and within its memory of keys."""
    intent = paid_core.intent()
    async with charging(paid_core, resend_seconds=60) as (processor, client):
        await processor.order("fault", kind="reset_before")
        assert (await paid_core.deliver(client, intent)).outcomes == []
        assert (await paid_core.deliver(client, intent)).outcomes == []
        assert await processor.charges(intent.intent_id) == []
        paid_core.clock.move(61)
        (outcome,) = (await paid_core.deliver(client, intent)).outcomes
        assert outcome.state == "posted"
        assert len(await processor.charges(intent.intent_id)) == 1


async def test_of_two_begun_under_one_id_one_is_charged_and_both_are_decided(
    paid_core: Core,
) -> None:
    """Two edges took two sums under one id while the processor was away: one is charged, the other a conflict."""
    first, second = paid_core.intent("k1"), paid_core.intent("k1", amount_cents=900)
    async with charging(paid_core, resend_seconds=60) as (processor, client):
        await processor.order("fault", kind="reset_before", count=2)
        assert (await paid_core.deliver(client, first)).outcomes == []
        assert (await paid_core.deliver(client, second)).outcomes == []
        paid_core.clock.move(61)
        posted = await decided(paid_core, client, first)
        lost = await decided(paid_core, client, second)
        assert (posted.state, lost.state, lost.reason) == ("posted", "rejected", "id_conflict")
        (made,) = await processor.charges(first.intent_id)
        assert made["amount"] == first.amount_cents
    assert result(paid_core) == "equal []"


async def test_past_the_horizon_a_person_decides(paid_core: Core) -> None:
    """A call of which nobody can tell any more is under review with a case number, and is never sent again."""
    intent = paid_core.intent()
    async with charging(paid_core) as (processor, client):
        await processor.order("fault", kind="reset_before")
        assert (await paid_core.deliver(client, intent)).outcomes == []
        paid_core.clock.move(30 * 3600)
        await processor.order("clock", advance_seconds=30 * 3600)
        (outcome,) = (await paid_core.deliver(client, intent)).outcomes
        assert (outcome.state, outcome.reason) == ("dead_letter", "under_review")
        assert outcome.case_number
        assert await processor.charges(intent.intent_id) == []
    assert result(paid_core) == "different ['charge_under_review']"


async def test_past_the_horizon_what_was_charged_is_found_and_posted(paid_core: Core) -> None:
    """Timed out, 30 hours away, keys forgotten: asking finds the charge. One charge, one posting."""
    intent = paid_core.intent()
    async with charging(paid_core) as (processor, client):
        await processor.order("fault", kind="reset_after")
        assert (await paid_core.deliver(client, intent)).outcomes == []
        paid_core.clock.move(30 * 3600)
        await processor.order("clock", advance_seconds=30 * 3600)
        (outcome,) = (await paid_core.deliver(client, intent)).outcomes
        assert outcome.state == "posted"
        assert len(await processor.charges(intent.intent_id)) == 1


async def test_a_restarted_core_asks_about_what_it_began(paid_core: Core) -> None:
    """The attempt was in the books before the call: the next process asks instead of charging."""
    intent = paid_core.intent()
    async with simulated() as processor:
        await processor.at(paid_core.clock.moment)
        async with paid_core.serving(settings(processor)) as client:
            await processor.order("fault", kind="reset_after")
            assert (await paid_core.deliver(client, intent)).outcomes == []
        async with paid_core.serving(settings(processor)) as client:
            (outcome,) = (await paid_core.deliver(client, intent)).outcomes
        assert outcome.state == "posted"
        assert len(await processor.charges(intent.intent_id)) == 1


async def test_many_deliveries_at_once_charge_once(paid_core: Core) -> None:
    """Two holders that bring the same payment while it is being charged get one outcome of one charge."""
    intent = paid_core.intent()
    async with charging(paid_core) as (processor, client):
        answers = await asyncio.gather(
            *(
                paid_core.deliver(client, intent, edge=("east", "west")[n % 2], drain=n % 3 == 0)
                for n in range(12)
            )
        )
        states = {one.state for answer in answers for one in answer.outcomes}
        assert states == {"posted"}
        assert len(await processor.charges(intent.intent_id)) == 1


async def test_what_an_edge_captured_is_posted_and_not_charged(paid_core: Core) -> None:
    """The edge's signed word is enough; the processor is not called."""
    intent = paid_core.intent()
    async with charging(paid_core) as (processor, client):
        made = await processor.adapter.charge(
            charge(intent.intent_id, 2500, TOKEN), deadline_seconds=SECONDS
        )
        assert isinstance(made, Captured)
        signed = captured(paid_core, intent, Capture(state="captured", charge_id=made.charge_id))
        for _ in range(2):
            (outcome,) = (await paid_core.deliver(client, signed)).outcomes
            assert outcome.state == "posted"
        assert len(await processor.charges(intent.intent_id)) == 1
    with paid_core.open() as store:
        (row,) = read_charges(store.connection)
    assert (row.kind, row.state, row.charge_id) == ("captured", "captured", made.charge_id)


async def test_a_charge_that_nobody_signed_is_refused(paid_core: Core) -> None:
    """Whoever adds a charge to an intent that an edge signed without one is not believed."""
    intent = captured(paid_core, paid_core.intent(), None)
    forged = msgspec.structs.replace(intent, capture=Capture(state="captured", charge_id="ch_x"))
    async with charging(paid_core) as (_, client):
        assert (await paid_core.deliver(client, forged)).outcomes == []


async def test_captured_for_a_closed_account_is_given_back_once(paid_core: Core) -> None:
    """Rejected with a reason, refunded under a key of its own, and reconciled with the processor's file."""
    intent = paid_core.intent(account_id=CLOSED_ACCOUNT, method_id=f"pm-{CLOSED_ACCOUNT[2:]}")
    async with charging(paid_core) as (processor, client):
        made = await processor.adapter.charge(
            charge(intent.intent_id, 2500, "tok_3"), deadline_seconds=SECONDS
        )
        assert isinstance(made, Captured)
        await processor.order("fault", kind="reset_after")
        signed = captured(paid_core, intent, Capture(state="captured", charge_id=made.charge_id))
        (outcome,) = (await paid_core.deliver(client, signed)).outcomes
        assert (outcome.state, outcome.reason) == ("rejected", "refund_account_closed")
        await refunded(paid_core, 1)
        path = paid_core.data_dir.parent / "settlement.jsonl"
        path.write_text(await processor.settlement())
    lines = read_settlement(path)
    assert [line.amount_cents for line in lines] == [2500, -2500]
    with paid_core.open() as store:
        report = reconcile([], read_books(store.connection), settlement=lines)
    assert (report.result, report.differences) == ("equal", [])


async def test_captured_after_the_core_decided_is_given_back(paid_core: Core) -> None:
    """A charge that the core hears of when it has rejected the payment already is owed to the customer."""
    intent = paid_core.intent()
    async with charging(paid_core, capture_seconds=60) as (processor, client):
        unsure = captured(paid_core, intent, None)
        assert (await paid_core.deliver(client, unsure)).outcomes == []
        paid_core.clock.move(61)
        (outcome,) = (await paid_core.deliver(client, unsure)).outcomes
        assert (outcome.state, outcome.reason) == ("rejected", "not_captured")
        made = await processor.adapter.charge(
            charge(intent.intent_id, 2500, TOKEN), deadline_seconds=SECONDS
        )
        assert isinstance(made, Captured)
        late = captured(paid_core, intent, Capture(state="captured", charge_id=made.charge_id))
        await paid_core.deliver(client, late)
        await refunded(paid_core, 1)


@pytest.mark.parametrize("said", ["captured", "declined"])
async def test_the_core_asks_what_a_dead_edge_could_not_tell(paid_core: Core, said: str) -> None:
    """The witness brings the payment without the processor's answer: the core asks for it by the intent's id."""
    intent = paid_core.intent()
    async with charging(paid_core) as (processor, client):
        if said == "declined":
            await processor.order("decline", method=TOKEN, code="expired_card")
        await processor.adapter.charge(
            charge(intent.intent_id, 2500, TOKEN), deadline_seconds=SECONDS
        )
        (outcome,) = (
            await paid_core.deliver(client, captured(paid_core, intent, None), edge="west")
        ).outcomes
        expected = ("posted", "") if said == "captured" else ("rejected", "declined_expired")
        assert (outcome.state, outcome.reason) == expected
        assert len(await processor.charges(intent.intent_id)) == 1


async def test_two_edges_that_charge_different_sums_give_one_back(paid_core: Core) -> None:
    """One id, two payments: the processor took one of them. The other is a conflict, and no money is kept twice."""
    first = paid_core.intent("shared", amount_cents=2500, edge="east")
    other = paid_core.intent("shared", amount_cents=9900, edge="west")
    async with charging(paid_core) as (processor, client):
        made = await processor.adapter.charge(
            charge(first.intent_id, 2500, TOKEN), deadline_seconds=SECONDS
        )
        assert isinstance(made, Captured)
        outcome = await decided(paid_core, client, other)
        assert (outcome.state, outcome.reason) == ("rejected", "id_conflict")
        signed = captured(paid_core, first, Capture(state="captured", charge_id=made.charge_id))
        (lost,) = (await paid_core.deliver(client, signed)).outcomes
        assert lost.reason == "id_conflict"
        await refunded(paid_core, 1)
    assert result(paid_core) == "equal []"


async def hook(client: httpx.AsyncClient, core: Core, event: object, secret: str) -> int:
    """Tell the core an event as the processor does."""
    payload = msgspec.json.encode(event)
    header = sign_event(secret, payload, int(core.clock.moment.timestamp()))
    answer = await client.post(
        "/processor/events", content=payload, headers={"Stripe-Signature": header}
    )
    return answer.status_code


async def test_events_answer_what_is_waited_for_once(paid_core: Core) -> None:
    """A signed event ends the wait for a charge; told twice, late or forged it changes nothing."""
    intent = paid_core.intent()
    async with charging(paid_core) as (processor, client):
        await processor.order("fault", kind="reset_after")
        assert (await paid_core.deliver(client, intent)).outcomes == []
        (made,) = await processor.charges(intent.intent_id)
        event = {"id": "evt_1", "type": "charge.succeeded", "data": {"object": made}}
        assert await hook(client, paid_core, event, "whsec_wrong") == 400
        for _ in range(3):
            assert await hook(client, paid_core, event, HOOK_SECRET) == 200
        with paid_core.open() as store:
            (row,) = read_charges(store.connection)
        assert (row.state, row.charge_id) == ("captured", made["id"])
        (outcome,) = (await paid_core.deliver(client, intent)).outcomes
        assert outcome.state == "posted"
        assert await hook(client, paid_core, event, HOOK_SECRET) == 200
    assert result(paid_core) == "equal []"


async def test_without_a_processor_a_promise_is_collected_elsewhere(core: Any) -> None:
    """As ever: it is posted at once. What an edge was to capture waits for that edge's word."""
    promise = core.intent("k1")
    unsure = captured(core, core.intent("k2"), None)
    async with core.serving() as client:
        outcomes = (await core.deliver(client, promise, unsure)).outcomes
        assert [one.intent_id for one in outcomes] == [promise.intent_id]
        told = captured(core, unsure, Capture(state="nothing"))
        (outcome,) = (await core.deliver(client, told)).outcomes
        assert (outcome.state, outcome.reason) == ("rejected", "not_captured")


def test_values_dates_of_captured_money(tmp_path: Any) -> None:
    """What was captured counts on the day it was accepted, 30 hours before it was posted."""
    core = make_core(tmp_path / "core")

    async def story() -> None:
        intent = core.intent(accepted_at=core.clock.moment - timedelta(hours=30))
        signed = captured(core, intent, Capture(state="captured", charge_id="ch_1"))
        async with core.serving() as client:
            (outcome,) = (await core.deliver(client, signed)).outcomes
        assert (outcome.state, str(outcome.value_date)) == ("posted", "2026-03-09")

    asyncio.run(story())

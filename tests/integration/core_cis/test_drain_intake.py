"""What a drain brings to the core: in parts between customers' payments, held when its turn does not come."""

import asyncio
import threading
from typing import Any

import httpx
import msgspec
import pytest

from core_cis.store import CoreStore
from core_cis.writer import Turn
from failover.intents import IntentBatch, OutcomeBatch


def services_of(client: httpx.AsyncClient) -> Any:
    """Return the services of the application that a client asks."""
    return client._transport.app.state.services  # type: ignore[attr-defined]


def posted(core: Any) -> list[str]:
    """List what was decided."""
    with core.open() as store:
        return [row[0] for row in store.connection.execute("SELECT intent_id FROM inbox")]


async def test_a_drain_whose_turn_does_not_come_is_asked_to_come_again(core: Any) -> None:
    """Others go first: nothing was done, which is no refusal, as it would look like trouble of the core."""
    begun, free = threading.Event(), threading.Event()

    def hold(_: CoreStore) -> None:
        begun.set()
        free.wait(30)

    body = msgspec.msgpack.encode(IntentBatch([core.intent(str(number)) for number in range(3)]))
    headers = core.node() | {"Ridethrough-Deadline-Ms": "500"}
    async with core.serving() as client:
        services = services_of(client)
        before = services.intake.pacing.credits
        holding = asyncio.create_task(services.writer.run(hold, turn=Turn.TIME, within_seconds=30))
        await asyncio.to_thread(begun.wait, 30)
        told = await client.post(
            "/intents", params={"drain": "true"}, content=body, headers=headers
        )
        free.set()
        await holding
        answer = msgspec.msgpack.decode(told.content, type=OutcomeBatch)
        after = services.intake.pacing.credits
    assert told.status_code == 200
    assert (answer.outcomes, answer.held, answer.held_last) == ([], True, 3)
    assert answer.retry_after_seconds == pytest.approx(1.0)
    assert after < before
    assert posted(core) == []


async def test_customers_come_between_the_parts_of_a_drain(core: Any) -> None:
    """A batch is several transactions; whoever waits when one of them ends goes before the next."""
    intents = [core.intent(str(number), amount_cents=100) for number in range(12)]
    async with core.serving() as client:
        services = services_of(client)
        order: list[str] = []
        decide = services.intake._decide

        async def noting(part: Any, delivered_by: str, turn: Turn, until: float) -> Any:
            decided = await decide(part, delivered_by, turn, until)
            order.append(turn.name)
            if turn is Turn.DRAIN and "LIVE" not in order:
                await core.deliver(client, core.intent("customer", amount_cents=200))
            return decided

        services.intake._decide = noting
        answer = await core.deliver(client, *intents, drain=True)
    assert order[:3] == ["DRAIN", "LIVE", "DRAIN"]
    assert {outcome.state for outcome in answer.outcomes} == {"posted"}
    assert (len(answer.outcomes), answer.held) == (12, False)
    assert len(posted(core)) == 13


async def test_what_the_time_does_not_reach_for_is_left_for_later(core: Any) -> None:
    """The answer tells what was decided, in time; the rest, at the end of the batch, is held and brought again."""
    intents = [core.intent(str(number), amount_cents=100) for number in range(12)]
    async with core.serving() as client:
        services = services_of(client)
        part = services.intake.pacing.part

        def slow_part(now: float) -> int:
            core.clock.move(5)
            return int(part(now))

        services.intake.pacing.part = slow_part
        first = await core.deliver(client, *intents, drain=True)
        services.intake.pacing.part = part
        rest = intents[len(intents) - first.held_last :]
        core.clock.move(5)
        second = await core.deliver(client, *rest, drain=True)
    assert 0 < first.held_last < 12
    done = [intent.intent_id for intent in intents[: -first.held_last]]
    assert [outcome.intent_id for outcome in first.outcomes] == done
    assert second.held_last == 0
    assert sorted(posted(core)) == sorted(intent.intent_id for intent in intents)


async def test_what_nobody_provably_recorded_is_not_held(core: Any) -> None:
    """It was looked at: an edge that brings it again and again is to set it aside, and not to wait for the pace."""
    forged = msgspec.structs.replace(core.intent("forged"), signature="forged")
    async with core.serving() as client:
        services = services_of(client)
        services.intake.pacing.turn = lambda _: 3
        intents = [forged, *(core.intent(str(number)) for number in range(5))]
        answer = await core.deliver(client, *intents, drain=True)
    assert answer.held_last == 3
    assert [outcome.intent_id for outcome in answer.outcomes] == [
        intent.intent_id for intent in intents[1:3]
    ]


async def test_a_customer_who_is_turned_away_halves_the_pace(core: Any) -> None:
    """Nothing is slower than no answer."""
    begun, free = threading.Event(), threading.Event()

    def hold(_: CoreStore) -> None:
        begun.set()
        free.wait(30)

    body = msgspec.msgpack.encode(IntentBatch([core.intent()]))
    headers = core.node() | {"Ridethrough-Deadline-Ms": "300"}
    async with core.serving() as client:
        services = services_of(client)
        before = services.intake.pacing.credits
        holding = asyncio.create_task(services.writer.run(hold, turn=Turn.TIME, within_seconds=30))
        await asyncio.to_thread(begun.wait, 30)
        told = await client.post("/intents", content=body, headers=headers)
        free.set()
        await holding
        after = services.intake.pacing.credits
    assert told.status_code == 503
    assert after == before // 2

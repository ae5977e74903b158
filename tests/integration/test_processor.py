"""The adapter against the simulator, over real sockets: every answer, every fault, keys and their horizon."""

import httpx
import msgspec
import pytest

from chaos.processor_books import SettlementLine
from failover.processor import (
    Captured,
    Declined,
    KeyTaken,
    Nothing,
    Refunded,
    RefundRefused,
    Unknown,
    refund_key,
)
from failover.stripe_processor import StripeProcessor
from tests.integration.processor_world import SECONDS, charge, simulated, since


async def test_a_charge_is_made_once_under_its_key() -> None:
    """The same key again gets the first answer; the charge is found by its reference."""
    async with simulated() as processor:
        first = await processor.adapter.charge(charge("k1"), deadline_seconds=SECONDS)
        again = await processor.adapter.charge(charge("k1"), deadline_seconds=SECONDS)
        found = await processor.adapter.find(
            "k1", token="pm_card", since=since(), deadline_seconds=SECONDS
        )
        assert isinstance(first, Captured)
        assert first == again == found
        assert (first.amount_cents, first.currency) == (5000, "USD")
        assert len(await processor.charges("k1")) == 1


async def test_a_key_with_other_content_does_nothing() -> None:
    """Another amount under a known key is neither charged nor taken for declined."""
    async with simulated() as processor:
        await processor.adapter.charge(charge("k1"), deadline_seconds=SECONDS)
        other = await processor.adapter.charge(charge("k1", 9900), deadline_seconds=SECONDS)
        assert other == KeyTaken()
        assert len(await processor.charges("k1")) == 1


async def test_past_the_horizon_a_key_charges_again_and_asking_does_not() -> None:
    """The trap that everything else avoids: a forgotten key charges twice. Asking moves nothing, ever."""
    async with simulated() as processor:
        await processor.adapter.charge(charge("k1"), deadline_seconds=SECONDS)
        await processor.order("clock", advance_seconds=30 * 3600)
        found = await processor.adapter.find(
            "k1", token=None, since=since(), deadline_seconds=SECONDS
        )
        assert isinstance(found, Captured)
        assert len(await processor.charges("k1")) == 1
        await processor.adapter.charge(charge("k1"), deadline_seconds=SECONDS)
        assert len(await processor.charges("k1")) == 2


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("insufficient_funds", "insufficient_funds"),
        ("expired_card", "expired"),
        ("authentication_required", "needs_confirmation"),
        ("lost_card", "declined"),
    ],
)
async def test_declines_are_typed_and_stored(said: str, code: str) -> None:
    """A bank's no stays a no under its key, also after the bank would say yes."""
    async with simulated() as processor:
        await processor.order("decline", method="pm_card", code=said)
        assert await processor.adapter.charge(charge("k1"), deadline_seconds=SECONDS) == Declined(
            code  # type: ignore[arg-type]
        )
        await processor.order("decline", method="pm_card", code="")
        again = await processor.adapter.charge(charge("k1"), deadline_seconds=SECONDS)
        assert again == Declined(code)  # type: ignore[arg-type]
        found = await processor.adapter.find(
            "k1", token=None, since=since(), deadline_seconds=SECONDS
        )
        assert isinstance(found, Declined)


@pytest.mark.parametrize(
    ("kind", "done"),
    [("reset_before", 0), ("reset_after", 1), ("error_before", 0), ("error_after", 1)],
)
async def test_a_fault_is_unknown_and_asking_resolves_it(kind: str, done: int) -> None:
    """Whether it was done before the line was cut only the processor knows, and it tells."""
    async with simulated() as processor:
        await processor.order("fault", kind=kind)
        answer = await processor.adapter.charge(charge("k1"), deadline_seconds=SECONDS)
        assert isinstance(answer, Unknown)
        assert answer.sent
        found = await processor.adapter.find(
            "k1", token=None, since=since(), deadline_seconds=SECONDS
        )
        assert isinstance(found, Captured if done else Nothing)


async def test_an_error_is_stored_under_its_key_too() -> None:
    """After a stored 500 the same key brings the 500 again and charges nothing."""
    async with simulated() as processor:
        await processor.order("fault", kind="error_before")
        for _ in range(2):
            answer = await processor.adapter.charge(charge("k1"), deadline_seconds=SECONDS)
            assert isinstance(answer, Unknown)
        assert await processor.charges("k1") == []


async def test_a_slow_answer_is_unknown_at_the_deadline() -> None:
    """The deadline is total, and the charge is there all the same."""
    async with simulated() as processor:
        await processor.order("fault", kind="slow", seconds=30)
        answer = await processor.adapter.charge(charge("k1"), deadline_seconds=0.3)
        assert isinstance(answer, Unknown)
        assert answer.sent
        assert len(await processor.charges("k1")) == 1


async def test_nobody_there_is_not_sent() -> None:
    """With no connection nothing was sent, so nothing was charged."""
    adapter = StripeProcessor("http://127.0.0.1:1", "sk")
    answer = await adapter.charge(charge("k1"), deadline_seconds=SECONDS)
    await adapter.close()
    assert isinstance(answer, Unknown)
    assert not answer.sent


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"status": "succeeded", "latest_charge": "ch_1"}',
        b'{"status": "succeeded", "latest_charge": "ch_1", "amount": "x", "currency": "usd"}',
        b'{"data": [{"status": "succeeded", "metadata": {"intent_id": "k1"}}]}',
        b'{"data": [{"status": "succeeded", "metadata": {"intent_id": "k1"}, "amount": null}]}',
        b'{"has_more": true}',
    ],
)
async def test_half_an_answer_is_no_answer(body: bytes) -> None:
    """Whatever a processor, or something on the way to it, answers: nothing raises, and nothing is taken for money."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    adapter = StripeProcessor("http://processor.test", "sk", transport=transport)
    answer = await adapter.charge(charge("k1"), deadline_seconds=SECONDS)
    assert isinstance(answer, Unknown)
    found = await adapter.find("k1", token=None, since=since(), deadline_seconds=SECONDS)
    assert isinstance(found, Unknown)
    given = await adapter.find_refund("ch_1", deadline_seconds=SECONDS)
    assert isinstance(given, Nothing if b'"data"' in body else Unknown)
    refund = await adapter.refund("ch_1", 1, key="r", deadline_seconds=SECONDS)
    assert isinstance(refund, Unknown)
    await adapter.close()


async def test_a_wrong_secret_declines_nobody() -> None:
    """A key of ours that is not valid is our trouble, not a no of the customer's bank."""
    async with simulated() as processor:
        adapter = StripeProcessor(processor.url, "sk_wrong")
        answer = await adapter.charge(charge("k1"), deadline_seconds=SECONDS)
        await adapter.close()
        assert isinstance(answer, Unknown)


async def test_a_charge_is_given_back_once() -> None:
    """A refund repeats under its key, is found by its charge, and is never made twice past the horizon."""
    async with simulated() as processor:
        made = await processor.adapter.charge(charge("k1"), deadline_seconds=SECONDS)
        assert isinstance(made, Captured)
        assert (
            await processor.adapter.find_refund(made.charge_id, deadline_seconds=SECONDS)
            == Nothing()
        )
        key = refund_key("k1")
        first = await processor.adapter.refund(
            made.charge_id, 5000, key=key, deadline_seconds=SECONDS
        )
        again = await processor.adapter.refund(
            made.charge_id, 5000, key=key, deadline_seconds=SECONDS
        )
        assert isinstance(first, Refunded)
        assert first == again
        await processor.order("clock", advance_seconds=30 * 3600)
        late = await processor.adapter.refund(
            made.charge_id, 5000, key=key, deadline_seconds=SECONDS
        )
        assert isinstance(late, Unknown)
        found = await processor.adapter.find_refund(made.charge_id, deadline_seconds=SECONDS)
        assert found == first
        lines = [
            msgspec.json.decode(line, type=SettlementLine)
            for line in (await processor.settlement()).splitlines()
        ]
        assert [line.amount_cents for line in lines] == [5000, -5000]
        assert {line.reference for line in lines} == {"k1"}


async def test_what_was_never_charged_cannot_be_given_back() -> None:
    """A refund of an unknown charge is refused for good."""
    async with simulated() as processor:
        answer = await processor.adapter.refund("ch_x", 1, key="r", deadline_seconds=SECONDS)
        assert answer == RefundRefused("resource_missing")


async def test_a_search_goes_through_all_pages() -> None:
    """A charge is found behind more than one page of others."""
    async with simulated() as processor:
        await processor.adapter.charge(charge("first"), deadline_seconds=SECONDS)
        for number in range(120):
            await processor.adapter.charge(charge(f"k{number}"), deadline_seconds=SECONDS)
        found = await processor.adapter.find(
            "first", token=None, since=since(), deadline_seconds=SECONDS
        )
        assert isinstance(found, Captured)


async def test_pages_of_a_browser_order_no_faults() -> None:
    """A web page can reach loopback ports too; it names its origin."""
    async with simulated() as processor, httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            f"{processor.url}/control/fault",
            json={"kind": "slow"},
            headers={"Origin": "https://example.com"},
        )
        assert answer.status_code == 403

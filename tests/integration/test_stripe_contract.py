"""
The adapter against localstripe, somebody else's reading of Stripe's API.

It knows no idempotency keys, so what a key does is tested against our own simulator; and it would listen on every
interface, so it is served on the loopback one by hand.
"""

import contextlib
import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx
import pytest

from failover.processor import (
    Captured,
    Charge,
    Declined,
    Nothing,
    Refunded,
    RefundRefused,
    refund_key,
)
from failover.stripe_processor import StripeProcessor
from tests.integration.processor_world import SECONDS, since

SECRET = "sk_test_12345"
SERVE = (
    "import sys; from aiohttp import web; from localstripe.server import app;"
    " web.run_app(app, host='127.0.0.1', port=int(sys.argv[1]), print=None)"
)
GOOD, NO_MONEY = "4242424242424242", "4000000000000341"

Saving = Callable[[str], Awaitable[str]]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("localstripe") is None, reason="needs localstripe"
)


@pytest.fixture(scope="module")
def stripe_url() -> Iterator[str]:
    """Serve localstripe on a loopback port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(port)], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{url}/v1/charges", auth=(SECRET, ""), trust_env=False)
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
async def adapter(stripe_url: str) -> AsyncIterator[StripeProcessor]:
    """Return the adapter under test."""
    made = StripeProcessor(stripe_url, SECRET)
    yield made
    await made.close()


@pytest.fixture
def save(stripe_url: str) -> Saving:
    """Save a card as a customer's browser does at the processor's own form; returns the token."""

    async def saved(number: str) -> str:
        async with httpx.AsyncClient(
            base_url=stripe_url, trust_env=False, auth=(SECRET, "")
        ) as client:
            customer = (await client.post("/v1/customers", data={"email": "a@example.com"})).json()
            card = {
                "type": "card",
                "card[number]": number,
                "card[exp_month]": "12",
                "card[exp_year]": "2060",
                "card[cvc]": "123",
            }
            method = (await client.post("/v1/payment_methods", data=card)).json()
            answer = await client.post(
                f"/v1/payment_methods/{method['id']}/attach", data={"customer": customer["id"]}
            )
            assert answer.status_code == 200, answer.text
        return f"{customer['id']}/{method['id']}"

    return saved


async def test_a_charge_is_made_and_found(adapter: StripeProcessor, save: Saving) -> None:
    """What was charged is found again by the intent's id; what was not is nothing."""
    token = await save(GOOD)
    made = await adapter.charge(
        Charge(key="k1", amount_cents=5056, currency="USD", token=token), deadline_seconds=SECONDS
    )
    assert isinstance(made, Captured)
    assert (made.amount_cents, made.currency) == (5056, "USD")
    for narrowed in (token, None):
        found = await adapter.find("k1", token=narrowed, since=since(), deadline_seconds=SECONDS)
        assert found == made
        other = await adapter.find("k2", token=narrowed, since=since(), deadline_seconds=SECONDS)
        assert other == Nothing()


async def test_a_decline_is_a_decline(adapter: StripeProcessor, save: Saving) -> None:
    """A card whose charges are declined takes no money, and asking says the same."""
    token = await save(NO_MONEY)
    answer = await adapter.charge(
        Charge(key="k3", amount_cents=100, currency="USD", token=token), deadline_seconds=SECONDS
    )
    assert isinstance(answer, Declined)
    found = await adapter.find("k3", token=token, since=since(), deadline_seconds=SECONDS)
    assert isinstance(found, Declined)


async def test_an_unknown_method_is_unusable(adapter: StripeProcessor) -> None:
    """A token that the processor does not know cannot be charged."""
    answer = await adapter.charge(
        Charge(key="k4", amount_cents=100, currency="USD", token="pm_unknown"),
        deadline_seconds=SECONDS,
    )
    assert answer == Declined("method_unusable")


async def test_a_charge_is_given_back_and_found(adapter: StripeProcessor, save: Saving) -> None:
    """A refund is made and found by its charge."""
    made = await adapter.charge(
        Charge(key="k5", amount_cents=900, currency="USD", token=await save(GOOD)),
        deadline_seconds=SECONDS,
    )
    assert isinstance(made, Captured)
    before = await adapter.find_refund(made.charge_id, deadline_seconds=SECONDS)
    assert before == Nothing()
    given = await adapter.refund(
        made.charge_id, 900, key=refund_key("k5"), deadline_seconds=SECONDS
    )
    assert isinstance(given, Refunded)
    assert await adapter.find_refund(made.charge_id, deadline_seconds=SECONDS) == given


async def test_an_unknown_charge_cannot_be_given_back(adapter: StripeProcessor) -> None:
    """A refund of what was never charged is refused."""
    answer = await adapter.refund("ch_unknown", 1, key="r", deadline_seconds=SECONDS)
    assert isinstance(answer, RefundRefused)

"""Payment processors for tests: our simulator in this process, on a real socket."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx

from chaos.processor import HORIZON_SECONDS, ProcessorOptions, ProcessorSimulator
from failover.processor import Charge, PaymentProcessor
from failover.stripe_processor import StripeProcessor

SECRET = "sk_test_simulated"
SECONDS = 10.0


def since() -> datetime:
    """Return an instant before every attempt of a test."""
    return datetime.fromtimestamp(time.time() - 60, UTC)


def charge(key: str, amount_cents: int = 5000, token: str = "pm_card") -> Charge:
    """Make a charge."""
    return Charge(key=key, amount_cents=amount_cents, currency="USD", token=token)


class SimulatedProcessor:
    """A running simulator: the adapter that calls it, and its control."""

    def __init__(self, url: str, adapter: StripeProcessor) -> None:
        self.url = url
        self.adapter: PaymentProcessor = adapter

    async def order(self, what: str, **body: object) -> None:
        """Order a fault, a decline or time."""
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{self.url}/control/{what}", json=body)
            assert answer.status_code == 200, answer.text

    async def at(self, moment: datetime) -> None:
        """Set the processor's clock to the one that a test runs by."""
        await self.order("clock", advance_seconds=moment.timestamp() - time.time())

    async def charges(self, key: str) -> list[dict[str, object]]:
        """List what was done under one reference."""
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{self.url}/control/charges/{key}")
            return list(answer.json()["charges"])

    async def settlement(self) -> str:
        """Read the settlement file."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{self.url}/control/settlement")).text


@contextlib.asynccontextmanager
async def simulated(
    *, horizon_seconds: float = HORIZON_SECONDS, webhook_url: str = "", webhook_secret: str = ""
) -> AsyncIterator[SimulatedProcessor]:
    """Run a simulator while the block runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.0)
    port = listener.getsockname()[1]
    options = ProcessorOptions(
        port=port,
        secret=SECRET,
        horizon_seconds=horizon_seconds,
        webhook_url=webhook_url,
        webhook_secret=webhook_secret,
    )
    stop = asyncio.Event()
    serving = asyncio.create_task(ProcessorSimulator(options).serve(listener, stop))
    url = f"http://127.0.0.1:{port}"
    adapter = StripeProcessor(url, SECRET)
    try:
        yield SimulatedProcessor(url, adapter)
    finally:
        await adapter.close()
        stop.set()
        await serving

"""
A core that also commits at a steady rate by itself, and notes when each commit was done.

Everything about it is the product's: the application, the writer's thread, the feed. Only who commits is not: commits
that came over HTTP would measure the intake too, and nobody could tell from outside when they were done. With every
SIGUSR1 it commits for a while and writes what it noted; it serves until SIGTERM.
"""

import asyncio
import itertools
import signal
import sys
import time
from pathlib import Path

import msgspec

from cache_sync.clock import SystemClock
from cache_sync.documents import PAYMENT
from chaos.bench.population import PAYMENTS, Population
from core_cis.app import create_app, in_front
from core_cis.services import CoreServices
from core_cis.settings import ServerSettings
from core_cis.store import CoreStore
from core_cis.writer import Turn
from failover.http_server import open_socket, serve
from failover.logs import configure_logs

_WRITER_SECONDS = 10.0


class Committed(msgspec.Struct, frozen=True, array_like=True):
    """One commit: the seq that it ended at, and the monotonic clock when it was done."""

    seq: int
    done_ns: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do: ``commits`` of one document each, ``rate`` a second, over so many accounts; where to note it."""

    data: str
    port: int
    rate: int
    commits: int
    accounts: int
    notes: str


async def _commit_one(
    services: CoreServices, population: Population, account: int, ordinal: int
) -> Committed:
    change = population.payment(account, ordinal)

    def work(store: CoreStore) -> Committed:
        with store.transaction() as tx:
            tx.publish_encoded(*change.name, change.body, change.version)
        seq = tx.position(change.name.account_id, PAYMENT, change.name.key).seq
        return Committed(seq, time.monotonic_ns())

    committed = await services.writer.run(work, turn=Turn.LIVE, within_seconds=_WRITER_SECONDS)
    services.feeds.notify()
    return committed


async def _commit(
    services: CoreServices, population: Population, plan: Plan, first: int
) -> list[Committed]:
    done = []
    begun = time.monotonic()
    for number in range(first, first + plan.commits):
        due = begun + (number - first) / plan.rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        # Payments that the population has not got yet: what is known already is not published again.
        ordinal = PAYMENTS + number // plan.accounts
        done.append(await _commit_one(services, population, number % plan.accounts, ordinal))
    return done


def _keep(notes: Path, committed: list[Committed]) -> None:
    """Put the notes in their place, whole."""
    beside = notes.with_name(f"{notes.name}.new")
    beside.write_bytes(msgspec.json.encode(committed))
    beside.replace(notes)


async def _run(plan: Plan) -> None:
    configure_logs("core")
    stop, go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, go.set)
    app = create_app(Path(plan.data), SystemClock(), ServerSettings())

    population = Population()

    async def when_told() -> None:
        for first in itertools.count(0, plan.commits):
            await go.wait()
            go.clear()
            _keep(Path(plan.notes), await _commit(app.state.services, population, plan, first))

    with open_socket("127.0.0.1", plan.port) as listener:
        committing = asyncio.create_task(when_told())
        try:
            await serve(in_front(app), listener, stop=stop)
        finally:
            committing.cancel()


def main() -> None:
    """Run as ``python -m chaos.bench.committing_core PLAN``."""
    asyncio.run(_run(msgspec.json.decode(sys.argv[1], type=Plan)))


if __name__ == "__main__":
    main()

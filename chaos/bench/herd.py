"""
Customers who pay while a great queue drains into a core that has a third of its capacity, against the same without it.

The queue is an edge's journal, written by the product's own writer before the edge starts, as an outage would have left
it. Until the drain is let go on (`core drain resume`) customers pay through another edge at a steady rate: the quiet
value. The same customers then go on until the queue is empty, and every queued payment must be in the ledger once.
"""

import asyncio
import os
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from cache_sync import sqlite
from chaos.bench.asking import Payments
from chaos.bench.figures import Figure, Goal, Result, percentile
from chaos.bench.fleet import BenchFleet
from chaos.bench.http_load import Tally, paced
from chaos.bench.setting import Setting
from chaos.bench.slowing import slowed
from chaos.errors import FleetError
from chaos.fleet import Fleet
from chaos.process import python_module
from edge_portal.settings import load_settings
from failover.intents import fingerprint, intent_id
from failover.journal import Journal, JournalBounds
from failover.journal_changes import Draft, Offers, Recorded
from failover.signing import Signer
from failover.standin import Limits

SHARE: Final = 1 / 3
_RECORDED_AT_ONCE: Final = 256
_WITHOUT_LIMITS: Final = Limits(
    account_day_count=10**9, account_day_cents=10**12, edge_outstanding_cents=10**12
)
_NOBODY_YET: Final = Offers(witness=None, core=True, core_only_until=None)
_COMMAND_SECONDS: Final = 120
_DRAIN_SECONDS_MAX: Final = 3600.0
_POSTED: Final = """
SELECT count(*), count(DISTINCT idempotency_key) FROM ledger_transactions
WHERE source = 'intent' AND idempotency_key IN (SELECT intent_id FROM inbox WHERE edge_id = ? AND state = 'posted')
"""


class _Method(NamedTuple):
    account_id: str
    method_id: str


def bench_herd(setting: Setting) -> Result:
    """Queue payments, measure the quiet core, then the draining one, and count what was posted."""
    sizes = setting.sizes
    made = BenchFleet(
        setting.part("fleet"), sizes.fleet_accounts, setting.tell, edges=2, demo_data=True
    )
    for name in made.fleet.edges:
        made.without_limits(name)
        made.without_proxy(name)
    live, waking = made.fleet.edges
    methods = _methods(made.fleet)
    setting.tell(f"  {sizes.queued} payments into the journal of {waking} ...")
    asyncio.run(_queue(made.fleet, waking, methods, sizes.queued))
    _order(made.fleet, "hold")
    with made.running() as fleet, slowed(fleet.core.pid, SHARE):
        payments = _payments(fleet, live, methods)
        _measure(fleet, live, payments, sizes.payment_rate, sizes.seconds)
        setting.tell("  quiet ...")
        quiet = _measure(fleet, live, payments, sizes.payment_rate, sizes.quiet_seconds)
        setting.tell("  draining ...")
        _order(fleet, "resume")
        begun = time.monotonic()
        draining = Tally(seconds=[], errors={})
        while time.monotonic() - begun < _DRAIN_SECONDS_MAX and _waiting(fleet, waking):
            window = _measure(fleet, live, payments, sizes.payment_rate, sizes.window_seconds)
            draining.add(window)
        seconds = time.monotonic() - begun
    posted = _posted(fleet, waking)
    if posted != (sizes.queued, sizes.queued):
        raise FleetError(f"{sizes.queued} payments were queued, {posted[0]} posted")
    return _result(quiet, draining, sizes.queued, seconds)


def _result(quiet: Tally, draining: Tally, queued: int, seconds: float) -> Result:
    return Result(
        bench="herd",
        figures=[
            Figure(
                name="a customer's payment while the queue drains, 99th percentile",
                unit="ms",
                ours=1000 * percentile(draining.seconds, 0.99),
                reference=1000 * percentile(quiet.seconds, 0.99),
                compared_with="no queue, same core",
                goal=Goal("at most", 2.0),
            ),
            Figure(
                name="customers' payments that failed while the queue drained",
                unit="answers",
                ours=float(draining.failed),
                goal=Goal("at most", 0.0, "figure"),
            ),
            Figure(
                name=f"{queued} queued payments, each posted once",
                unit="a second",
                ours=queued / seconds,
            ),
        ],
        notes=[
            f"the core had {SHARE:.2f} of its time; queue empty after {seconds:.0f} s",
            *(
                f"{name}: p50/p99/max ms "
                + "/".join(f"{1000 * percentile(tally.seconds, at):.1f}" for at in (0.5, 0.99, 1.0))
                + f" of {tally.answered} payments"
                for name, tally in (("quiet", quiet), ("draining", draining))
            ),
        ],
    )


# -- the queue ---------------------------------------------------------------------------------------------------------


def _methods(fleet: Fleet) -> list[_Method]:
    connection = sqlite.connect(fleet.core_data / "core.db", synchronous="NORMAL", read_only=True)
    try:
        rows = connection.execute(
            "SELECT account_id, method_id FROM payment_methods WHERE status = 'verified'"
        ).fetchall()
    finally:
        connection.close()
    return [_Method(*row) for row in rows]


async def _queue(fleet: Fleet, name: str, methods: Sequence[_Method], count: int) -> None:
    """Record payments in the journal of an edge that does not run."""
    settings = load_settings(fleet.edge_config(name), fleet.edge_data(name))
    journal = Journal.open(
        settings.paths.journal,
        node_id=name,
        signer=Signer(settings.config.signing_key),
        bounds=JournalBounds(pending_max=count),
        keys=settings.file_keys,
    )
    began = datetime.now(UTC) - timedelta(hours=1)
    try:
        for begin in range(0, count, _RECORDED_AT_ONCE):
            numbers = range(begin, min(begin + _RECORDED_AT_ONCE, count))
            recordings = await asyncio.gather(
                *(
                    journal.record(
                        _draft(methods[number % len(methods)], number, began),
                        _NOBODY_YET,
                        limits=_WITHOUT_LIMITS,
                        edge_share_known=True,
                    )
                    for number in numbers
                )
            )
            if not all(isinstance(each, Recorded) for each in recordings):
                raise FleetError("the journal did not take the queue")
    finally:
        journal.close()


def _draft(method: _Method, number: int, began: datetime) -> Draft:
    key, amount = f"queued-{number}", 100 + number % 900
    return Draft(
        intent_id=intent_id(method.account_id, key),
        fingerprint=fingerprint(
            account_id=method.account_id,
            type_="payment",
            amount_cents=amount,
            currency="USD",
            method_id=method.method_id,
        ),
        account_id=method.account_id,
        idempotency_key=key,
        amount_cents=amount,
        currency="USD",
        method_id=method.method_id,
        method_verified=True,
        accepted_at=began + timedelta(milliseconds=20 * number),
        snapshot_age_seconds=1.0,
    )


# -- the fleet ---------------------------------------------------------------------------------------------------------


def _order(fleet: Fleet, what: str) -> None:
    """Give an operator's order to the drain."""
    done = subprocess.run(
        python_module(
            "core_cis", "drain", what, "--data", str(fleet.core_data), "--reason", "benchmark"
        ),
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
        env={**os.environ, "RIDETHROUGH_OPERATOR": "benchmark"},
    )
    if done.returncode:
        raise FleetError(f"no order to the drain: {done.stderr.strip()}")


def _payments(fleet: Fleet, name: str, methods: Sequence[_Method]) -> Payments:
    """Sign customers in, as many as pay."""
    by_account = {method.account_id: method.method_id for method in methods}
    tokens, paid_with = [], []
    with httpx.Client(base_url=fleet.edge_url(name), timeout=60, trust_env=False) as client:
        for customer in [one for one in fleet.customers if one.account_id in by_account][:20]:
            form = {"email": customer.email, "password": customer.password}
            answer = client.post("/api/v1/session", json=form)
            if answer.is_error:
                raise FleetError(f"a sign-in was answered {answer.status_code}")
            tokens.append(answer.json()["token"])
            paid_with.append(by_account[customer.account_id])
    return Payments(tokens, paid_with, "live")


def _measure(fleet: Fleet, name: str, payments: Payments, rate: int, seconds: float) -> Tally:
    calls = iter(payments.next, None)
    return asyncio.run(paced(fleet.edge_url(name), calls, rate=rate, seconds=seconds))


def _waiting(fleet: Fleet, name: str) -> int:
    status = httpx.get(f"{fleet.edge_url(name)}/status", timeout=30, trust_env=False).json()
    return int(status["queue"]["pending"])


def _posted(fleet: Fleet, name: str) -> tuple[int, int]:
    """Count the ledger's transactions of an edge's payments, and how many payments they are of."""
    path: Path = fleet.core_data / "core.db"
    connection = sqlite.connect(path, synchronous="NORMAL", read_only=True)
    try:
        row = connection.execute(_POSTED, (name,)).fetchone()
    finally:
        connection.close()
    return int(row[0]), int(row[1])

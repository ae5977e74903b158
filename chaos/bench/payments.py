"""
Payments accepted over HTTP while the core is away, on the disks of two edges, against what one disk can commit.

A payment is answered "accepted" when it is durable at the edge that was asked and at its witness. The reference is one
row a transaction into an SQLite file beside theirs, synchronous FULL, as fast as it goes. Both edges of the fleet lie
on this machine's disk: two machines would have a disk, and two cores, each.
"""

import asyncio
import time
from pathlib import Path
from typing import Final

import httpx
import msgspec

from cache_sync.sqlite import connect, write
from chaos.bench.asking import Payments
from chaos.bench.figures import Figure, Goal, Result, percentile
from chaos.bench.fleet import BenchFleet, takes_payments_alone, wait_status
from chaos.bench.http_load import Tally, closed_loop
from chaos.bench.population import method_of
from chaos.bench.setting import Setting
from chaos.errors import FleetError
from chaos.fleet import Fleet

_ROW: Final = b"x" * 400
_ACCEPTED: Final = 202
_GOALS: Final = {1: 0.25, 32: 2.0}


def bench_payments(setting: Setting) -> Result:
    """Measure the disk, the fleet with one and with 32 payments waiting, and the disk again."""
    seconds = setting.sizes.seconds
    made = BenchFleet(setting.part("fleet"), setting.sizes.fleet_accounts, setting.tell, edges=2)
    for name in made.fleet.edges:
        made.without_limits(name)
        made.peers_directly(name)
    disk = [_bare_rate(setting.folder / "bare-1.db", seconds / 2)]
    tallies: dict[int, Tally] = {}
    with made.running() as fleet:
        name = next(iter(fleet.edges))
        payments = Payments(made.tokens(name), [method_of(n) for n in range(made.accounts)])
        fleet.core.kill()
        wait_status(fleet, name, takes_payments_alone)
        url = fleet.edge_url(name)
        for waiting in _GOALS:
            tally = asyncio.run(closed_loop(url, payments.next, waiting=waiting, seconds=seconds))
            if tally.failed or not tally.answered:
                raise FleetError(f"payments failed: {tally.errors}")
            tallies[waiting] = tally
        _check_accepted(fleet, name, made)
    disk.append(_bare_rate(setting.folder / "bare-2.db", seconds / 2))
    reference = sum(disk) / len(disk)
    return Result(
        bench="payments",
        figures=[
            Figure(
                name=f"payments accepted on two disks, {waiting} waiting",
                unit="a second",
                ours=tallies[waiting].rate,
                reference=reference,
                compared_with="single-row FULL commits",
                goal=Goal("at least", goal),
            )
            for waiting, goal in _GOALS.items()
        ],
        notes=[
            f"{waiting} waiting: latency p50/p99 ms "
            + "/".join(f"{1000 * percentile(tally.seconds, share):.1f}" for share in (0.5, 0.99))
            for waiting, tally in tallies.items()
        ],
    )


def _bare_rate(path: Path, seconds: float) -> float:
    connection = connect(path, synchronous="FULL")
    try:
        connection.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, content BLOB) STRICT")
        number, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            with write(connection):
                connection.execute("INSERT INTO row (content) VALUES (?)", (_ROW,))
            number += 1
        return number / (time.perf_counter() - begun)
    finally:
        connection.close()


def _check_accepted(fleet: Fleet, name: str, made: BenchFleet) -> None:
    """Make sure by one more payment that what was measured were acceptances with a second copy."""
    payments = Payments(made.tokens(name), [method_of(n) for n in range(made.accounts)], "last")
    (answer,) = asyncio.run(_answers(fleet.edge_url(name), payments))
    if answer.status_code != _ACCEPTED or not msgspec.json.decode(answer.content)["durable"]:
        raise FleetError(f"a payment was answered {answer.status_code}, not accepted")


async def _answers(url: str, payments: Payments) -> list[httpx.Response]:
    form = payments.form()
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        return [
            await client.post(
                f"{url}/api/v1/payments", content=form.body, headers=dict(form.headers)
            )
        ]

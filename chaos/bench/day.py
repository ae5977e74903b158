"""
An edge's memory over a day without the core: after the day's arrivals, against after half of them.

The hours' arrivals come one after the other, at a pace that the machine can keep: payments, and customers who ask for
their account or their newest bill. Time itself is not turned. What an edge takes lies in its journal on the disk; its
processes may keep what they need to go on, not what has been.
"""

import asyncio
from collections.abc import Iterator
from itertools import chain, cycle
from typing import Final

from chaos.bench.asking import Payments, account_asks, as_call, page_asks
from chaos.bench.figures import Figure, Goal, Result, percentile
from chaos.bench.fleet import BenchFleet, takes_payments_alone, wait_status
from chaos.bench.http_load import Call, Tally, paced
from chaos.bench.population import method_of
from chaos.bench.process_facts import anonymous_megabytes, children_of
from chaos.bench.setting import Setting
from chaos.fleet import Fleet

HOURS: Final = 24
_PAYMENTS_A_SECOND: Final = 160
_READS_A_SECOND: Final = 500
_HALF: Final = HOURS // 2
_GROWTH_MAX: Final = 1.1
# So many that none of them pays more often than a customer might.
_ACCOUNTS_FACTOR: Final = 10


def bench_day(setting: Setting) -> Result:
    """Let a day's customers arrive at one of two edges, and look at its and its witness's processes every hour."""
    accounts = setting.sizes.fleet_accounts * _ACCOUNTS_FACTOR
    made = BenchFleet(setting.part("fleet"), accounts, setting.tell, edges=2)
    for name in made.fleet.edges:
        made.without_limits(name)
        made.peers_directly(name)
    asked, witness = made.fleet.edges
    hours: list[dict[str, float]] = []
    paid, read = _nothing(), _nothing()
    with made.running() as fleet:
        payments = Payments(made.tokens(asked), [method_of(n) for n in range(made.accounts)])
        reads = _reads(made, asked)
        fleet.core.kill()
        wait_status(fleet, asked, takes_payments_alone)
        for hour in range(HOURS):
            _arrive(fleet, asked, payments, reads, setting, paid, read)
            hours.append(_memory(fleet, asked, witness))
            setting.tell(f"  hour {hour + 1}: {_told(hours[-1])}")
    return Result(
        bench="day",
        figures=[
            *(
                Figure(
                    name=f"anonymous memory of the {name} after a day",
                    unit="MB",
                    ours=hours[-1][name],
                    reference=hours[_HALF - 1][name],
                    compared_with="after half of it",
                    goal=Goal("at most", _GROWTH_MAX),
                )
                for name in hours[-1]
            ),
            Figure(
                name="arrivals that were not answered well",
                unit="answers",
                ours=float(paid.failed + read.failed),
                goal=Goal("at most", 0.0, "figure"),
            ),
        ],
        notes=[
            f"{paid.answered} payments accepted, p99 {1000 * percentile(paid.seconds, 0.99):.0f} ms",
            f"{read.answered} accounts and pages, p99 {1000 * percentile(read.seconds, 0.99):.0f} ms",
            *(f"hour {hour}: {_told(hours[hour - 1])}" for hour in (1, _HALF // 2, _HALF, HOURS)),
        ],
    )


def _nothing() -> Tally:
    return Tally(seconds=[], errors={})


def _reads(made: BenchFleet, name: str) -> Iterator[Call]:
    tokens = made.tokens(name)
    asks = zip(account_asks(tokens), page_asks(tokens, made.accounts), strict=True)
    return cycle([as_call(one) for one in chain.from_iterable(asks)])


def _arrive(
    fleet: Fleet,
    name: str,
    payments: Payments,
    reads: Iterator[Call],
    setting: Setting,
    paid: Tally,
    read: Tally,
) -> None:
    """Let an hour's customers come, and add to what was answered so far."""
    parts = (
        (paid, iter(payments.next, None), _PAYMENTS_A_SECOND, setting.sizes.hour_payments),
        (read, reads, _READS_A_SECOND, setting.sizes.hour_reads),
    )
    for tally, calls, rate, number in parts:
        tally.add(asyncio.run(paced(fleet.edge_url(name), calls, rate=rate, seconds=number / rate)))


def _memory(fleet: Fleet, asked: str, witness: str) -> dict[str, float]:
    """Look at the processes that a payment goes through, and the one that shows pages."""
    looked = {
        "agent": (asked, "agent"),
        "witness": (witness, "agent"),
        "worker": (asked, "worker"),
    }
    return {
        name: max(map(anonymous_megabytes, children_of(fleet.edges[edge].pid, role)), default=0.0)
        for name, (edge, role) in looked.items()
    }


def _told(memory: dict[str, float]) -> str:
    return ", ".join(f"{name} {megabytes:.1f} MB" for name, megabytes in memory.items())

"""
Customers while the core is dead, frozen or cut off, at a steady rate, against the same customers with the core up.

Half of them ask for their account, half for their newest bill's page, and with each fault the accounts are others that
nobody has asked for before.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator
from itertools import chain, cycle
from typing import Final

import httpx

from chaos.bench.asking import account_asks, as_call, page_asks
from chaos.bench.figures import Figure, Goal, Result, percentile
from chaos.bench.fleet import BenchFleet, wait_status
from chaos.bench.http_load import Call, Tally, paced
from chaos.bench.setting import Setting
from chaos.errors import FleetError
from chaos.fleet import Fleet

SLOW_SECONDS: Final = 0.25
_TTL_SECONDS: Final = 600
_FAULTS: Final = ("dead", "frozen", "cut off")


def bench_outage(setting: Setting) -> Result:
    """Measure with the core up, then through each fault from its first moment on."""
    sizes = setting.sizes
    made = BenchFleet(setting.part("fleet"), sizes.fleet_accounts, setting.tell)
    (name,) = made.fleet.edges
    figures: list[Figure] = []
    notes = []
    with made.running() as fleet:
        groups = _groups(made, name)
        url = fleet.edge_url(name)
        _wait_up(fleet, name)

        def measure(calls: Iterator[Call]) -> Tally:
            return asyncio.run(paced(url, calls, rate=sizes.rate, seconds=sizes.outage_seconds))

        up = measure(cycle(groups[0]))
        notes.append(f"core up: p50/p99 ms {_latencies(up)}, {up.failed} errors")
        for fault, own in zip(_FAULTS, groups[1:], strict=True):
            setting.tell(f"  core {fault} ...")
            heal = _break(fleet, name, fault)
            try:
                # First those whom nobody has asked for, then all in turn.
                down = measure(chain(own, cycle([*groups[0], *own])))
            finally:
                heal()
            figures += _figures(fault, up, down)
            notes.append(f"core {fault}: p50/p99 ms {_latencies(down)}, errors {down.errors or 0}")
            _wait_up(fleet, name)
    notes.append(f"{sizes.rate} requests a second for {sizes.outage_seconds:g} s each")
    return Result(bench="outage", figures=figures, notes=notes)


def _groups(made: BenchFleet, name: str) -> list[list[Call]]:
    """Part the customers: one group for the core up, one for each fault."""
    tokens = made.tokens(name)
    asks = zip(account_asks(tokens), page_asks(tokens, made.accounts), strict=True)
    calls = [[as_call(one) for one in pair] for pair in asks]
    parts = len(_FAULTS) + 1
    return [list(chain.from_iterable(calls[part::parts])) for part in range(parts)]


def _figures(fault: str, up: Tally, down: Tally) -> list[Figure]:
    return [
        Figure(
            name=f"core {fault}: errors, never-seen accounts included",
            unit="answers",
            ours=float(down.failed),
            goal=Goal("at most", 0.0, "figure"),
        ),
        Figure(
            name=f"core {fault}: answers over 250 ms",
            unit="answers",
            ours=float(down.slower_than(SLOW_SECONDS)),
            goal=Goal("at most", 0.0, "figure"),
        ),
        Figure(
            name=f"core {fault}: good answers",
            unit="req/s",
            ours=down.rate,
            reference=up.rate,
            compared_with="core up",
            goal=Goal("at least", 0.95),
        ),
    ]


def _latencies(tally: Tally) -> str:
    return "/".join(f"{1000 * percentile(tally.seconds, share):.1f}" for share in (0.5, 0.99))


def _break(fleet: Fleet, name: str, fault: str) -> Callable[[], None]:
    """Begin a fault; returns what ends it."""
    if fault == "dead":
        fleet.core.kill()
        return fleet.core.start
    if fault == "frozen":
        fleet.core.send(signal.SIGSTOP)
        return lambda: fleet.core.send(signal.SIGCONT)
    control = f"{fleet.core_proxy(name)}/fault"
    order = {"kind": "cut", "ttl_seconds": _TTL_SECONDS}
    _checked(httpx.post(control, json=order, timeout=10, trust_env=False))
    return lambda: _checked(httpx.delete(control, timeout=10, trust_env=False))


def _checked(answer: httpx.Response) -> None:
    if answer.is_error:
        raise FleetError(f"the fault proxy answered {answer.status_code}")


def _wait_up(fleet: Fleet, name: str) -> None:
    wait_status(fleet, name, lambda status: status["mode"] != "degraded")

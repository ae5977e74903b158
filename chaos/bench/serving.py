"""
Serving customers: the account as JSON and a bill's page, sign-in checked, against constants and a cache.

Every server has one core and the load generator another. The constants are the portal's own bytes, so that all send
the same. A run against an application of one function shows what server and generator allow.
"""

import contextlib
import time
from collections.abc import Iterator
from random import Random
from typing import Final

import httpx

from chaos.bench.asking import account_asks, page_asks
from chaos.bench.figures import Figure, Goal, Result
from chaos.bench.fleet import BenchFleet
from chaos.bench.setting import Setting
from chaos.bench.wrk import Ask, Load, cores, find_program, load, on_server_core
from chaos.errors import FleetError
from chaos.fleet_plan import free_ports
from chaos.process import FleetProcess, python_module, wait_answering

JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"
# More than a worker keeps pages of: with each of them the page is made anew.
SESSIONS_UNKNOWN: Final = 6000
_READY_SECONDS: Final = 60.0
_VCL: Final = """vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "%d"; }
"""


def bench_serving(setting: Setting) -> Result:
    """Measure the portal first, then each reference alone on the same core."""
    if find_program("wrk") is None:
        return Result(bench="serving", figures=[], not_run=["serving: needs wrk"])
    ports = free_ports(Random(time.monotonic_ns()))
    with on_server_core():
        made = BenchFleet(setting.part("fleet"), setting.sizes.fleet_accounts, setting.tell)
        (name,) = made.fleet.edges
        with made.running() as fleet:
            url = fleet.edge_url(name)
            tokens = made.tokens(name)
            accounts, pages = account_asks(tokens), page_asks(tokens, made.accounts)
            json_body, html_body = _content(url, accounts[0]), _content(url, pages[0])
            unknown = made.tokens(name, sessions=max(1, SESSIONS_UNKNOWN // made.accounts))
            account = _measured(setting, url, accounts, "account JSON")
            page = _measured(setting, url, pages, "bill page")
            rendered = _measured(
                setting, url, page_asks(unknown, made.accounts), "bill page, each time anew"
            )
    constants = {
        kind: _constant(setting, next(ports), *kind, body)
        for kind, body in {
            ("asgi", JSON): json_body,
            ("litestar", JSON): json_body,
            ("litestar", HTML): html_body,
        }.items()
    }
    hit = _varnish(setting, next(ports), next(ports), json_body)
    figures = _figures(account, page, rendered, constants, hit)
    not_run = [] if hit else ["the comparison with a cache hit: needs varnish"]
    if cores()[0] == cores()[1]:
        not_run.append("a core of its own for wrk: this machine has one")
    return Result(
        bench="serving",
        figures=figures,
        notes=[
            f"{len(json_body)} bytes of JSON, {len(html_body)} of HTML, {made.accounts} accounts in turn",
            f"account: latency p50/p99 ms {account.p50_ms:.1f}/{account.p99_ms:.1f}",
            f"page: latency p50/p99 ms {page.p50_ms:.1f}/{page.p99_ms:.1f}",
        ],
        not_run=not_run,
    )


def _figures(
    account: Load,
    page: Load,
    rendered: Load,
    constants: dict[tuple[str, str], Load],
    hit: Load | None,
) -> list[Figure]:
    def figure(name: str, ours: Load, other: Load, against: str, goal: Goal | None) -> Figure:
        return Figure(
            name=name,
            unit="req/s",
            ours=ours.rate,
            reference=other.rate,
            compared_with=against,
            goal=goal,
        )

    json_constant, html_constant = constants["litestar", JSON], constants["litestar", HTML]
    figures = [
        figure(
            "account JSON, sign-in checked",
            account,
            json_constant,
            "Litestar constant, path parameter",
            Goal("at least", 0.85),
        ),
        figure(
            "bill page, sign-in checked",
            page,
            html_constant,
            "Litestar constant of the same size",
            Goal("at least", 0.6),
        ),
        figure("bill page, kept", page, rendered, "made anew each time", Goal("at least", 5.0)),
    ]
    if hit:
        figures.append(
            figure(
                "account JSON, beside a cache", account, hit, "Varnish hit", Goal("at least", 0.5)
            )
        )
    bare = constants["asgi", JSON]
    figures.append(
        figure("what the generator can ask: one function", bare, json_constant, "Litestar", None)
    )
    return figures


def _content(url: str, ask: Ask) -> bytes:
    answer = httpx.get(
        f"{url}{ask.path}", headers={ask.header: ask.value}, timeout=10, trust_env=False
    )
    if answer.status_code != httpx.codes.OK:
        raise FleetError(f"{ask.path} answered {answer.status_code}")
    return answer.content


def _measured(setting: Setting, url: str, asks: list[Ask], what: str) -> Load:
    setting.tell(f"  {what} ...")
    seconds = setting.sizes.seconds
    load(url, asks, seconds=seconds / 4, folder=setting.folder)
    found = load(url, asks, seconds=seconds, folder=setting.folder)
    if found.errors or not found.requests:
        raise FleetError(f"{what}: {found.errors} errors in {found.requests} requests")
    return found


@contextlib.contextmanager
def _server(setting: Setting, name: str, command: list[str], url: str) -> Iterator[None]:
    process = FleetProcess(name, command, setting.folder / f"{name.replace(' ', '-')}.log")
    with on_server_core():
        process.start()
    try:
        wait_answering(process, url, seconds=_READY_SECONDS)
        yield
    finally:
        process.kill()


@contextlib.contextmanager
def _reference(
    setting: Setting, port: int, kind: str, media_type: str, body: bytes
) -> Iterator[str]:
    content = setting.folder / "constant.bin"
    content.write_bytes(body)
    command = python_module(
        "chaos.bench.reference_server", kind, str(port), str(content), media_type
    )
    url = f"http://127.0.0.1:{port}"
    with _server(setting, f"reference {kind}", command, f"{url}/constant/1"):
        yield url


def _constant(setting: Setting, port: int, kind: str, media_type: str, body: bytes) -> Load:
    asks = [Ask(f"/constant/{number}") for number in range(200)]
    with _reference(setting, port, kind, media_type, body) as url:
        return _measured(setting, url, asks, f"{kind} constant, {media_type.partition(';')[0]}")


def _varnish(setting: Setting, port: int, backend_port: int, body: bytes) -> Load | None:
    program = find_program("varnishd")
    if program is None:
        return None
    folder = setting.part("varnish")
    vcl = folder / "bench.vcl"
    vcl.write_text(_VCL % backend_port, encoding="ascii")
    # It drops its rights, and reads its configuration without them.
    for path in (folder, folder.parent):
        path.chmod(0o755)
    vcl.chmod(0o644)
    command = [program, "-F", "-a", f"127.0.0.1:{port}", "-f", str(vcl), "-s", "malloc,64m"]
    command += ["-n", str(folder / "work")]
    asks = [Ask(f"/constant/{number}") for number in range(200)]
    with _reference(setting, backend_port, "asgi", JSON, body):
        url = f"http://127.0.0.1:{port}"
        with _server(setting, "varnish", command, f"{url}/constant/1"):
            return _measured(setting, url, asks, "Varnish hit")

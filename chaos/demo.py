"""``ridethrough demo``: a core and edges as real processes behind fault proxies, with a page to play an outage on."""

import asyncio
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

from chaos.fleet import Fleet, FleetOptions
from chaos.folder_locks import holder
from chaos.play import PlayPage, create_play_app
from chaos.proxy_control import HOST
from failover.http_server import open_socket, serve

DEFAULT_DATA = Path("ridethrough-demo")
LOGINS_SHOWN = 3


def run_demo(data: Path, options: FleetOptions, say: Callable[[str], None]) -> None:
    """
    Run the demo until Ctrl-C or SIGTERM; afterwards no process is left. Call it from the main thread.

    Raises:
        FleetError: It could not be prepared or started.
    """
    # From the first moment a SIGTERM ends it as a Ctrl-C does: through `finally`.
    signal.signal(signal.SIGTERM, _interrupt)
    fleet = Fleet(data, options)
    try:
        fleet.prepare()
        page = PlayPage(fleet)
        fleet.play_url = page.url
        say("Starting the core and its edges ...")
        fleet.start()
        _tell(fleet, say)
        asyncio.run(_serve_until_stopped(fleet, page))
    except KeyboardInterrupt:
        pass
    finally:
        # A second Ctrl-C must not leave processes behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if fleet.prepared:
            say("Stopping ...")
            fleet.stop()
            say(_left_running(fleet))


def _left_running(fleet: Fleet) -> str:
    """Say what runs on the demo's folders still: what others started by the commands in its file is not ours to end."""
    locks = [fleet.core_data / "core.lock", *sorted(fleet.data.glob("edges/*/data/edge.lock"))]
    others = [
        f"{lock.parent} (process {pid})" for lock in locks if (pid := holder(lock)) is not None
    ]
    if not others:
        return "Stopped; nothing is left running."
    return "Stopped. Still running, because somebody else started it: " + ", ".join(others)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


async def _serve_until_stopped(fleet: Fleet, page: PlayPage) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = open_socket(HOST, fleet.plan.play_port)
    try:
        await page.watch(serve(create_play_app(page), listener, stop=stop))
    finally:
        listener.close()


def _tell(fleet: Fleet, say: Callable[[str], None]) -> None:
    lines = ["", "Ridethrough is running."]
    lines += [f"  {name:<8} {fleet.edge_url(name)}" for name in fleet.edges]
    lines += ["", "Sign in at any edge with:"]
    lines += [
        f"  {customer.email}  {customer.password}" for customer in fleet.customers[:LOGINS_SHOWN]
    ]
    lines += [
        f"  (all {len(fleet.customers)} are in {fleet.file})",
        "",
        "Play an outage: kill, freeze or cut off the core and watch both edges:",
        f"  {fleet.play_url}",
        "",
        "Watch the payments drain, hold them, reconcile them (core.operator_token of fleet.json lets you in):",
        f"  {fleet.core_url}/ops",
        "",
        "Run the drill against it from another terminal:",
        f"  ./ridethrough drill run core-blackout --fleet {shlex.quote(str(fleet.file))}",
        "",
        "Ctrl-C stops everything.",
    ]
    for line in lines:
        say(line)

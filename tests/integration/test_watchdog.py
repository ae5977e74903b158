"""A drill's faults outlive neither the drill nor their lease: each kind, with a runner that is really killed."""

import contextlib
import http.server
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import httpx
import msgspec
import pytest

from cache_sync.sql import DatabaseError
from cache_sync.sqlite import connect
from chaos.errors import ControlError
from chaos.fleet_plan import free_ports
from chaos.process import descendants, process_state, python_module
from chaos.proxy_control import ProxiesPlan, ProxyPlan, control_url
from chaos.small_disk import SMALL_DISK_BYTES, lacks_small_disks, on_small_disk, seen_by
from chaos.watchdog import Watchdog
from chaos.watchdog_orders import (
    Damage,
    Destroy,
    Fill,
    Freeze,
    Kill,
    Order,
    Poison,
    RefuseWrites,
    Skew,
    Weaken,
)

PATIENCE_SECONDS = 60.0
LEASE_SECONDS = 1.0
LONG_SECONDS = 3600.0
POISONED = "somebody's account"
KINDS = {"kill", "freeze", "refuse_writes", "skew", "poison", "damage"}
CONTENT = bytes(range(256)) * 40
# Takes every fault that it is given, says so, and does nothing any more.
RUNNER = """
import asyncio, sys
import msgspec
from chaos.drills.link_faults import LinkLease
from chaos.faults import Cut
from chaos.watchdog import Watchdog
from chaos.watchdog_orders import Order

async def main():
    seconds, orders, link = float(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]
    async with Watchdog(seconds) as watchdog:
        for order in msgspec.json.decode(orders, type=list[Order]):
            await watchdog.take(order)
        await LinkLease([link], Cut(ttl_seconds=3.0)).renew()
        print("taken", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def wait_until(what: str, holds: Callable[[], bool]) -> None:
    """Wait until something holds; a busy machine gets all the time it needs."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.02)


class Demo:
    """A page that is asked to start what was killed, and keeps how often it was."""

    def __init__(self) -> None:
        demo = self

        class Page(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                demo.asked += 1
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.asked = 0
        self._server = http.server.HTTPServer(("127.0.0.1", 0), Page)
        self.url = f"http://127.0.0.1:{self._server.server_port}/core"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


class Victims:
    """Processes and files to break, a demo to ask for healing, and the proxy of a link."""

    def __init__(self, folder: Path, link: str) -> None:
        self.link = link
        self._open = contextlib.ExitStack()
        self.demo = Demo()
        self._open.callback(self.demo.close)
        self.killed, self.frozen, self.limited, self.weak = (self._sleeper() for _ in range(4))
        self.clock = folder / "clock"
        self.clock.write_text("+0\n")
        self.folder = folder / "data"
        self.folder.mkdir()
        (self.folder / "file").touch()
        self.file = folder / "snapshot"
        self.file.write_bytes(CONTENT)
        self.ballast: Path | None = None
        if not lacks_small_disks(folder):
            disk = folder / "disk"
            disk.mkdir()
            pid = self._start(on_small_disk(["sleep", "1000"], disk))
            wait_until("the disk is there", lambda: _size(seen_by(pid, disk)) == SMALL_DISK_BYTES)
            self.ballast = seen_by(pid, disk) / "ballast"
        self.books = folder / "core.db"
        with contextlib.closing(connect(self.books, synchronous="FULL")) as books:
            books.execute("CREATE TABLE ledger_entries (account_id TEXT)")
        wait_until("the children are there", lambda: bool(descendants(self.frozen)))

    def _start(self, command: list[str]) -> int:
        process = subprocess.Popen(command, start_new_session=True)
        self._open.callback(process.wait)
        self._open.callback(_end, process.pid)
        return process.pid

    def _sleeper(self) -> int:
        """Start a process with one under it, as a supervisor has."""
        return self._start(["sh", "-c", "sleep 1000 & wait"])

    @property
    def orders(self) -> list[Order]:
        """One fault of every kind that a watchdog knows."""
        full = [Fill(file=str(self.ballast), bytes_max=SMALL_DISK_BYTES)] if self.ballast else []
        return [
            *full,
            Kill(pid=self.killed, heal_url=self.demo.url),
            Freeze(pid=self.frozen, family=True),
            RefuseWrites(pid=self.limited),
            Weaken(pid=self.weak, share=0.1),
            Skew(file=str(self.clock), by="+2h"),
            Poison(database=str(self.books), account_id=POISONED),
            Damage(files=[str(self.file)], how="truncate"),
        ]

    @property
    def broken(self) -> dict[str, bool]:
        """Which kinds of fault are in force."""
        family = [self.frozen, *descendants(self.frozen)]
        limits = {
            resource.prlimit(pid, resource.RLIMIT_FSIZE)[0]
            for pid in [self.limited, *descendants(self.limited)]
        }
        return {
            "kill": process_state(self.killed) == "Z" and not self.demo.asked,
            "freeze": all(process_state(pid) == "T" for pid in family),
            "refuse_writes": limits == {0},
            "weaken": process_state(self.weak) == "T",
            "skew": self.clock.read_text() == "+2h\n",
            "poison": not self._can_post(),
            "damage": self.file.exists() and self.file.read_bytes() != CONTENT,
            "fill": self.ballast is not None and shutil.disk_usage(self.ballast.parent).free == 0,
            "link": httpx.get(f"{self.link}/fault", trust_env=False).json()["fault"] is not None,
        }

    @property
    def has_folder(self) -> bool:
        """Whether the folder of one of them is there."""
        return self.folder.exists()

    def suffers(self, kind: str) -> bool:
        """Whether a kind of fault is in force."""
        return self.broken[kind]

    def _can_post(self) -> bool:
        with contextlib.closing(connect(self.books, synchronous="FULL")) as books:
            books.execute("INSERT INTO ledger_entries VALUES ('somebody else')")
            try:
                books.execute("INSERT INTO ledger_entries VALUES (?)", (POISONED,))
            except DatabaseError:
                return False
        return True

    def close(self) -> None:
        """End them all."""
        self._open.close()


def _size(folder: Path) -> int:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).total
    return 0


def _answers(link: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{link}/fault", trust_env=False).is_success
    return False


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a fault proxy before nothing; return where it takes orders."""
    ports = free_ports(Random(os.getpid()))
    plan = ProxiesPlan(
        control_port=next(ports),
        proxies=[ProxyPlan(port=next(ports), target_port=next(ports), links=["link"])],
    )
    file = tmp_path_factory.mktemp("proxies") / "proxies.json"
    file.write_bytes(msgspec.json.encode(plan))
    with subprocess.Popen(python_module("chaos", "proxies", "--plan", str(file))) as process:
        url = control_url(plan.control_port, "link")
        try:
            wait_until("the proxy answers", lambda: _answers(url))
            yield url
        finally:
            process.kill()


@pytest.fixture
def victims(tmp_path: Path, link: str) -> Iterator[Victims]:
    """Start what is to be broken."""
    made = Victims(tmp_path, link)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(
    ("lease_seconds", "number"),
    [(LONG_SECONDS, signal.SIGKILL), (LEASE_SECONDS, signal.SIGSTOP)],
    ids=["killed", "hanging"],
)
def test_nothing_stays_broken_without_its_runner(
    victims: Victims, lease_seconds: float, number: signal.Signals
) -> None:
    """
    A runner takes a fault of every kind. Killed with -9 it leaves none, long before the leases end; one that hangs
    loses each with its lease. Its watchdog goes when it has healed everything.
    """
    orders = msgspec.json.encode(victims.orders).decode()
    with subprocess.Popen(
        [sys.executable, "-P", "-c", RUNNER, str(lease_seconds), orders, victims.link],
        stdout=subprocess.PIPE,
    ) as runner:
        try:
            assert runner.stdout is not None
            assert runner.stdout.readline() == b"taken\n"
            if number == signal.SIGKILL:
                # The proxy's own lease is short, and not the watchdog's.
                kinds = KINDS | ({"fill"} if victims.ballast else set())
                assert {kind for kind, broken in victims.broken.items() if broken} >= kinds
            (watchdog,) = descendants(runner.pid)
            os.kill(runner.pid, number)
            wait_until("all healed", lambda: not any(victims.broken.values()))
            assert victims.demo.asked >= 1
        finally:
            runner.kill()
    wait_until("the watchdog has gone", lambda: process_state(watchdog) in {"", "Z"})
    assert not any(victims.broken.values())


@pytest.fixture
def gone() -> int:
    """Return the number of a process that has ended."""
    command = [sys.executable, "-S", "-c", "import os; print(os.getpid())"]
    return int(subprocess.run(command, capture_output=True, check=True).stdout)


async def test_a_watchdog_takes_renews_heals_and_refuses(
    victims: Victims, gone: int, tmp_path: Path
) -> None:
    """One watchdog through a drill, in the order in which the functions below tell it."""
    async with Watchdog(LONG_SECONDS) as watchdog:
        await refuses_what_it_cannot_take(watchdog, gone, tmp_path)
        await counts_each_renewal_anew(watchdog, victims)
        await flips_a_bit_and_puts_it_back(watchdog, victims)
        lease = await watchdog.take(RefuseWrites(pid=victims.limited))
        assert victims.suffers("refuse_writes")
        await lease.heal()
        assert not victims.suffers("refuse_writes")
        await watchdog.take(Skew(file=str(victims.clock), by="-26h"))
        assert victims.clock.read_text() == "-26h\n"
        await destroys_a_disk_with_its_process(watchdog, victims)
    # What it still held it heals when it goes.
    assert victims.clock.read_text() == "+0\n"


async def refuses_what_it_cannot_take(watchdog: Watchdog, gone: int, folder: Path) -> None:
    """There is no such process, or a disk is too large to be filled by mistake: the drill hears why."""
    for order in (Kill(pid=gone), Freeze(pid=gone), Weaken(pid=gone, share=0.5)):
        with pytest.raises(ControlError, match=str(gone)):
            await watchdog.take(order)
    with pytest.raises(ControlError, match="free"):
        await watchdog.take(Fill(file=str(folder / "ballast"), bytes_max=1))
    assert not (folder / "ballast").exists()


async def counts_each_renewal_anew(watchdog: Watchdog, victims: Victims) -> None:
    """Renewed for a moment only, a fault ends after that moment; then it can be healed again, and not renewed."""
    lease = await watchdog.take(Freeze(pid=victims.frozen))
    assert process_state(victims.frozen) == "T"
    watchdog.ttl_seconds = 0.05
    await lease.renew()
    wait_until("it goes on", lambda: process_state(victims.frozen) != "T")
    watchdog.ttl_seconds = LONG_SECONDS
    await lease.heal()
    with pytest.raises(ControlError, match="healed already"):
        await lease.renew()


async def flips_a_bit_and_puts_it_back(watchdog: Watchdog, victims: Victims) -> None:
    """One bit in the middle is another; a file that went meanwhile is not brought back."""
    order = Damage(files=[str(victims.file)], how="flip")
    lease = await watchdog.take(order)
    damaged = victims.file.read_bytes()
    differing = [place for place in range(len(CONTENT)) if damaged[place] != CONTENT[place]]
    assert differing == [len(CONTENT) // 2]
    await lease.heal()
    assert victims.file.read_bytes() == CONTENT
    lease = await watchdog.take(order)
    victims.file.unlink()
    await lease.heal()
    assert not victims.file.exists()


async def destroys_a_disk_with_its_process(watchdog: Watchdog, victims: Victims) -> None:
    """Process, children and folder are gone; what starts it again is run when the fault is healed."""
    family = [victims.frozen, *descendants(victims.frozen)]
    started: list[bool] = []
    order = Destroy(pid=victims.frozen, folder=str(victims.folder))
    lease = await watchdog.take(order, after=lambda: started.append(True))
    assert {process_state(pid) for pid in family} <= {"", "Z"}
    assert not victims.has_folder
    assert not started
    await lease.heal()
    assert started == [True]

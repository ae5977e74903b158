"""The drill finds what is planted in a running system, and nothing where nothing is wrong."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from cache_sync.clock import SystemClock
from cache_sync.sqlite import connect, write
from chaos.fleet_file import FleetFile, read_fleet_file
from chaos.report import Report
from core_cis.bookkeeping import post
from core_cis.domain.ledger import Entry, LedgerTransaction
from core_cis.store import CoreStore

DRILL_SECONDS = 400
STEP_SECONDS = 200
BROWSER_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


class Drill:
    """Drills started from the command line with a fleet of their own; with one name a single one."""

    def __init__(
        self, folder: Path, environment: dict[str, str], *names: str, accounts: int = 16
    ) -> None:
        self.data = folder / "fleet"
        self.json = folder / "out.json"
        self.page = folder / "report" / "report.html"
        self._said = folder / "said.txt"
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "chaos", "drill", "run"),
                    *(names or ("core-blackout",)),
                    *("--data", str(self.data), "--accounts", str(accounts), "--hold", "12"),
                    *("--seed", "3", "--normal-min-seconds", "2"),
                    *("--json", str(self.json), "--report", str(self.page.parent)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**os.environ, **environment},
                cwd="/",
            )

    @property
    def said(self) -> str:
        """What it printed so far."""
        return self._said.read_text(encoding="utf-8")

    def wait_step(self, words: str) -> None:
        """Wait until it has said that it is at a step."""
        until = time.monotonic() + STEP_SECONDS
        while words not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < until, self.said
            time.sleep(0.05)

    def stop(self) -> None:
        """End it if it still runs, as Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=STEP_SECONDS)

    def finish(self) -> tuple[int, set[str]]:
        """Wait for its end; returns the exit status and the invariants that were broken."""
        status = self.process.wait(timeout=DRILL_SECONDS)
        assert self.json.exists(), self.said
        report = msgspec.json.decode(self.json.read_bytes(), type=Report)
        assert report.passed == (status == 0)
        page = self.page.read_text(encoding="utf-8")
        assert (">Broken<" in page) == (status != 0)
        return status, {finding.id for finding in report.findings if not finding.held}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Drill]]:
    """Start drills that end with the test, however it ends."""
    started: list[Drill] = []

    def start_one(environment: dict[str, str]) -> Drill:
        started.append(Drill(tmp_path, environment))
        return started[-1]

    yield start_one
    for drill in started:
        drill.stop()


Start = Callable[[dict[str, str]], Drill]


class Figures(msgspec.Struct):
    """What `--json` says of each of several drills."""

    drill: str
    not_run: str
    page: str
    report: Report


class Passed:
    """Two drills on one healthy fleet that have ended."""

    def __init__(self, drill: Drill) -> None:
        drill.wait_step("Core killed")
        self.fleet_file = drill.data / "fleet-1" / "fleet.json"
        self.core_pid = read_fleet_file(self.fleet_file).core.pid
        self.drill = drill
        self.status = drill.process.wait(timeout=DRILL_SECONDS)
        assert drill.json.exists(), drill.said
        listed = msgspec.json.decode(drill.json.read_bytes(), type=list[Figures])
        self.figures = {one.drill: one for one in listed}


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passed]:
    """Run two drills of a healthy fleet once."""
    folder = tmp_path_factory.mktemp("healthy")
    drill = Drill(folder, {}, "core-blackout", "edge-killed", accounts=12)
    try:
        yield Passed(drill)
    finally:
        drill.stop()


def test_a_healthy_fleet_passes(passed: Passed) -> None:
    """Exit 0, every invariant of both drills held, one fleet for both, the reports written, and no process left."""
    drill = passed.drill
    assert passed.status == 0, drill.said
    assert "2 passed, 0 failed, 0 not run" in drill.said
    assert not Path(f"/proc/{passed.core_pid}").exists()
    assert not passed.fleet_file.exists()
    assert [path.name for path in drill.data.iterdir()] == ["fleet-1"]
    for one in passed.figures.values():
        assert [found.id for found in one.report.findings if not found.held] == [], drill.said
        assert ">Broken<" not in Path(one.page).read_text(encoding="utf-8")
    away = passed.figures["edge-killed"].report.measures
    assert away.phases[1].turned_away > 0
    assert away.phases[1].failed == 0
    report = passed.figures["core-blackout"].report
    for edge in report.measures.edges:
        assert edge.degraded_after_fault is not None
        assert edge.queue_max > 0
    assert report.measures.phases[1].accepted > 0
    assert report.measures.phases[1].untouched_accounts > 0


@pytest.mark.browser
@pytest.mark.parametrize(("name", "width"), [("core-blackout", 320), ("edge-killed", 1280)])
def test_the_report_can_be_read_by_everybody(
    passed: Passed, chromium: str, name: str, width: int
) -> None:
    """The page opens from a file, fits the screen, asks nobody for anything, and axe finds no violation."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_ARGUMENTS)
        page = browser.new_page(viewport={"width": width, "height": 900})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        address = Path(passed.figures[name].page).as_uri()
        page.goto(address)
        assert asked == [address]
        assert "No customer lost a payment." in page.inner_text("h1")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert Axe().run(page).response["violations"] == []
        browser.close()


def plant_second_posting(data: Path) -> None:
    """Write a second posting of a payment of this drill into the books of the dead core."""
    with CoreStore.open(data / "core", SystemClock()) as store, store.transaction() as tx:
        account_id, payment_id, cents = tx.connection.execute(
            "SELECT e.account_id, t.payment_id, e.amount_cents FROM ledger_transactions t"
            " JOIN ledger_entries e USING (transaction_id)"
            " WHERE t.payment_id IS NOT NULL AND e.account_id IS NOT NULL"
            " ORDER BY t.transaction_id DESC LIMIT 1"
        ).fetchone()
        kept = tx.connection.execute(
            "SELECT e.ledger_account, e.amount_cents, e.account_id FROM ledger_entries e"
            " JOIN ledger_transactions t USING (transaction_id) WHERE t.payment_id = ?",
            (payment_id,),
        ).fetchall()
        assert cents < 0
        assert account_id
        again = LedgerTransaction(
            source="intent",
            idempotency_key="planted",
            kind="payment",
            description="Planted",
            value_date=(tx.stamp - timedelta(hours=12)).date(),
            entries=tuple(Entry(*row) for row in kept),
            payment_id=payment_id,
        )
        assert not post(tx, again).repeated


def forget_one(journal: Path) -> str:
    """Delete the payment accepted last, with all that counts it, from its edge's journal: no hole gives it away."""
    connection = connect(journal, synchronous="FULL")
    with write(connection):
        ordinal, intent, cents = connection.execute(
            "SELECT ordinal, intent_id, amount_cents FROM intents JOIN offers USING (ordinal)"
            " WHERE state = 'offered' AND confirmed > 0 ORDER BY ordinal DESC LIMIT 1"
        ).fetchone()
        connection.execute("DELETE FROM offers WHERE ordinal = ?", (ordinal,))
        connection.execute("DELETE FROM intents WHERE ordinal = ?", (ordinal,))
        connection.execute(
            "UPDATE journal SET pending = pending - 1, outstanding_cents = outstanding_cents - ?,"
            " last_ordinal = last_ordinal - 1 WHERE last_ordinal = ?",
            (cents, ordinal),
        )
    connection.close()
    return str(intent)


def wait_accepted(data: Path) -> None:
    """Wait until the first edge knows that the core is away and holds a payment with a second copy."""
    edge = read_fleet_file(data / "fleet.json").edges[0]
    until = time.monotonic() + STEP_SECONDS
    while True:
        status = httpx.get(f"{edge.url}/status", trust_env=False).json()
        connection = connect(Path(edge.data) / "journal" / "journal.db", synchronous="FULL")
        held = connection.execute(
            "SELECT 1 FROM intents JOIN offers USING (ordinal) WHERE state = 'offered' AND confirmed > 0"
        ).fetchone()
        connection.close()
        if status["mode"] == "degraded" and held:
            return
        assert time.monotonic() < until, status
        time.sleep(0.1)


def plant_lost_payment(data: Path) -> None:
    """Delete an accepted payment from its edge's journal and from the copy, as if both disks had forgotten it."""
    fleet: FleetFile = read_fleet_file(data / "fleet.json")
    agents = []
    for edge in fleet.edges:
        listed = httpx.get(f"{edge.url}/status", trust_env=False).json()["processes"]
        agents += [one["pid"] for one in listed if one["name"] == "agent"]
    for pid in agents:
        os.kill(pid, signal.SIGSTOP)
    journals = [Path(edge.data) / "journal" / "journal.db" for edge in fleet.edges]
    doomed = forget_one(journals[0])
    for journal in journals[1:]:
        connection = connect(journal, synchronous="FULL")
        with write(connection):
            connection.execute("DELETE FROM copies WHERE intent_id = ?", (doomed,))
        connection.close()
    for pid in agents:
        os.kill(pid, signal.SIGKILL)


def test_violations_of_the_books_are_found(start: Start) -> None:
    """Planted while the core is dead; the drill ends with another status than 0 and names both."""
    drill = start({})
    drill.wait_step("Core killed")
    wait_accepted(drill.data)
    plant_second_posting(drill.data)
    plant_lost_payment(drill.data)
    status, broken = drill.finish()
    assert status == 1
    assert {"posted-once", "nothing-lost"} <= broken, drill.said


def test_an_edge_that_claims_to_be_fresher_is_found(
    start: Start, tmp_path: Path, checkout: Path
) -> None:
    """A fleet run from a copy in which answers claim to be two seconds younger does not pass."""
    copy = tmp_path / "patched"
    for package in ("cache_sync", "chaos", "core_cis", "edge_portal", "failover"):
        shutil.copytree(
            checkout / package, copy / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    labels = copy / "edge_portal" / "cookies.py"
    honest = "str(math.ceil(freshness.age_seconds))"
    text = labels.read_text(encoding="utf-8")
    assert honest in text
    labels.write_text(
        text.replace(honest, "str(max(0, math.ceil(freshness.age_seconds) - 2))"), encoding="utf-8"
    )
    status, broken = start({"PYTHONPATH": str(copy)}).finish()
    assert status == 1
    assert "age-true" in broken


def test_a_drill_needs_a_fleet(tmp_path: Path) -> None:
    """Without a fleet to break the drill ends with 2 and says why."""
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "chaos", "drill", "run", "core-blackout"),
            *("--fleet", str(tmp_path / "fleet.json")),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "is a demo running there?" in done.stderr

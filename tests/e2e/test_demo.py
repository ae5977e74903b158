"""The demo as a visitor starts it: it serves, can be broken and healed from its page, and leaves nothing behind."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from chaos.fleet_file import FleetFile, read_fleet_file
from chaos.process import process_state

READY_SECONDS = 120
SOON_SECONDS = 60


def wait_for(what: Callable[[], bool], seconds: float, said: str) -> None:
    """Wait until something is so, with a deadline that no healthy run comes near."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, f"not within {seconds:g} s: {said}"
        time.sleep(0.1)


def processes_of(data: Path) -> list[int]:
    """List the processes that name this data folder in their command line, the demo's own among them."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if str(data).encode() in command and process_state(int(folder.name)) != "Z":
            found.append(int(folder.name))
    return found


class Demo:
    """A demo started from the command line."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.output = data.with_name("demo output.txt")
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "chaos", "demo", "--data", str(data)),
                    *("--normal-min-seconds", "2"),
                    *(() if data.exists() else ("--accounts", "8", "--edges", "2")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
            )
        wait_for(self.told, READY_SECONDS, "the demo tells where it is")

    def told(self) -> bool:
        """Whether it has said that it is ready; fails when it ended instead."""
        said = self.output.read_text(encoding="utf-8")
        assert self.process.poll() is None, said
        return "Ctrl-C stops everything." in said and (self.data / "fleet.json").exists()

    @property
    def fleet(self) -> FleetFile:
        """Return what ``fleet.json`` says now."""
        return read_fleet_file(self.data / "fleet.json")

    def state(self) -> dict[str, Any]:
        """Return what the page "Play an outage" shows."""
        found: dict[str, Any] = httpx.get(f"{self.fleet.play_url}/state", trust_env=False).json()
        return found

    def shows(self, core: str, mode: str) -> bool:
        """Whether the page shows the core and every edge like this."""
        state = self.state()
        return state["core"] == core and {edge["mode"] for edge in state["edges"]} == {mode}

    def press(self, action: str) -> httpx.Response:
        """Press a button as a browser without scripts does."""
        return httpx.post(
            f"{self.fleet.play_url}/core",
            data={"action": action},
            headers={"Origin": self.fleet.play_url.partition("/play/")[0]},
            trust_env=False,
        )

    def end(self, number: int) -> int:
        """End it with a signal, wait until nothing of it is left, and return its exit status."""
        self.process.send_signal(number)
        status = self.process.wait(timeout=SOON_SECONDS)
        wait_for(lambda: processes_of(self.data) == [], SOON_SECONDS, "no process is left")
        return status


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Start a demo in a folder with a space in its name."""
    started = Demo(tmp_path_factory.mktemp("a demo") / "its data")
    yield started
    if started.process.poll() is None:
        started.end(signal.SIGINT)


def account(url: str, token: str) -> httpx.Response:
    """Read an account at an edge."""
    return httpx.get(
        f"{url}/api/v1/account", headers={"Authorization": f"Bearer {token}"}, trust_env=False
    )


def watched(fleet_file: Path) -> str:
    """Look at a fleet once, as in a terminal."""
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "chaos", "drill", "watch", "--once"),
            *("--fleet", str(fleet_file)),
        ],
        capture_output=True,
        text=True,
        timeout=SOON_SECONDS,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_edges_show_the_same_bill(demo: Demo) -> None:
    """Customers of the fleet file sign in at either edge and see the same statement and a saved method."""
    for customer in demo.fleet.customers:
        seen = []
        for edge in demo.fleet.edges:
            body = {"email": customer.email, "password": customer.password}
            signed_in = httpx.post(f"{edge.url}/api/v1/session", json=body, trust_env=False)
            shown = account(edge.url, signed_in.json()["token"]).json()
            assert shown["account_id"] == customer.account_id
            assert any(method["status"] == "verified" for method in shown["payment_methods"])
            latest = httpx.get(
                f"{edge.url}/api/v1/statements/{shown['latest_statement_id']}",
                headers={"Authorization": f"Bearer {signed_in.json()['token']}"},
                trust_env=False,
            )
            seen.append(latest.json())
        assert seen[0] == seen[1]
        assert seen[0]["lines"]


def test_the_fleet_file_is_private_and_complete(demo: Demo) -> None:
    """Only its owner reads it; every process, proxy and customer is in it."""
    assert stat.S_IMODE((demo.data / "fleet.json").stat().st_mode) == 0o600
    fleet = demo.fleet
    assert len(fleet.customers) == 8
    assert [edge.name for edge in fleet.edges] == ["edge-1", "edge-2"]
    for pid in [fleet.core.pid, *(edge.pid for edge in fleet.edges)]:
        assert process_state(pid) in {"R", "S"}
    for edge in fleet.edges:
        assert Path(edge.data).is_dir()
        for proxy in (edge.proxy, edge.peer_proxy):
            assert httpx.get(f"{proxy}/fault", trust_env=False).json()["fault"] is None
    ledger = httpx.get(
        f"{fleet.core.url}/accounts/{fleet.customers[0].account_id}/ledger",
        headers={"Authorization": f"Bearer {fleet.core.operator_token}"},
        trust_env=False,
    )
    assert ledger.json()["entries"]


@pytest.mark.parametrize(
    ("action", "core"), [("kill", "killed"), ("freeze", "frozen"), ("cut", "cut")]
)
def test_the_page_takes_the_core_away_and_brings_it_back(
    demo: Demo, action: str, core: str
) -> None:
    """Each button does what it says, both edges ride through, and one button heals it."""
    wait_for(partial(demo.shows, "running", "normal"), SOON_SECONDS, "all is well")
    pressed = demo.press(action)
    assert pressed.status_code == 303
    assert demo.fleet.play_url.endswith(pressed.headers["location"])
    wait_for(partial(demo.shows, core, "degraded"), SOON_SECONDS, f"the core is {core}")
    page = httpx.get(demo.fleet.play_url, trust_env=False)
    assert page.status_code == 200
    assert "Both edges ride through." in page.text
    seen = watched(demo.data / "fleet.json")
    assert seen.count("Riding through") == len(demo.fleet.edges)
    assert ("cut, heals in" in seen) is (action == "cut")
    assert ("does not answer" in seen) is (action != "cut")
    assert demo.press("heal").status_code == 303
    wait_for(partial(demo.shows, "running", "normal"), SOON_SECONDS, "all is well again")


@pytest.mark.browser
def test_the_page_lives_in_a_browser(demo: Demo, chromium: str) -> None:
    """With scripts the page follows by itself; it fits a phone, and axe finds no violation in either state."""
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        context = browser.new_context(viewport={"width": 320, "height": 900})
        page = context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.goto(demo.fleet.play_url)
        checked = browser.new_context(bypass_csp=True).new_page()
        for press, headline in (
            ("Kill the core", "The core is dead. Both edges ride through."),
            ("Start the core again", "Everything is live."),
        ):
            page.get_by_role("button", name=press).click()
            expect(page.locator("#headline")).to_have_text(headline, timeout=SOON_SECONDS * 1000)
            assert page.evaluate("document.documentElement.scrollWidth") <= 320
            checked.goto(demo.fleet.play_url)
            assert Axe().run(checked).response["violations"] == []
        assert wrong == []
        browser.close()


def test_the_page_is_for_those_who_have_its_address(demo: Demo) -> None:
    """Another token finds nothing, another site's page may not press, an unknown button does nothing."""
    url = demo.fleet.play_url
    assert httpx.get(f"{url}x", trust_env=False).status_code == 404
    foreign = httpx.post(
        f"{url}/core",
        data={"action": "kill"},
        headers={"Origin": "http://evil.example"},
        trust_env=False,
    )
    assert foreign.status_code == 403
    assert demo.press("explode").status_code == 422
    assert demo.state()["core"] == "running"


def test_a_process_is_started_again_by_its_command(demo: Demo) -> None:
    """The argv in the fleet file works from any folder with next to no environment; nobody else starts it."""
    core = demo.fleet.core
    os.kill(core.pid, signal.SIGKILL)
    wait_for(partial(demo.shows, "killed", "degraded"), SOON_SECONDS, "the page says so")
    again = subprocess.Popen(
        core.command, cwd="/", env={"PATH": "/usr/bin:/bin"}, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(partial(demo.shows, "running", "normal"), SOON_SECONDS, "the core is back")
        assert again.poll() is None
    finally:
        again.terminate()
        again.wait(timeout=SOON_SECONDS)
    assert demo.press("heal").status_code == 303
    wait_for(partial(demo.shows, "running", "normal"), SOON_SECONDS, "the demo started its own")


def test_a_fleet_that_is_not_there_is_not_watched(tmp_path: Path) -> None:
    """The answer names the file."""
    command = [sys.executable, "-P", "-m", "chaos", "drill", "watch", "--fleet"]
    done = subprocess.run(
        [*command, str(tmp_path / "none.json")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "none.json" in done.stderr


def test_two_demos_cannot_share_a_folder(demo: Demo) -> None:
    """The second one says so and leaves the first one alone."""
    second = subprocess.run(
        [sys.executable, "-P", "-m", "chaos", "demo", "--data", str(demo.data)],
        capture_output=True,
        text=True,
        timeout=SOON_SECONDS,
        check=False,
    )
    assert second.returncode == 2
    assert "a fleet is running on" in second.stderr
    assert demo.state()["core"] == "running"


def test_nothing_is_left_after_the_end(demo: Demo) -> None:
    """After Ctrl-C, and after `kill -9` of a second start on the same data, no process is left."""
    customers = demo.fleet.customers
    assert demo.end(signal.SIGINT) == 0
    assert not (demo.data / "fleet.json").exists()
    again = Demo(demo.data)
    assert again.fleet.customers == customers
    assert len(processes_of(demo.data)) >= 10
    assert again.end(signal.SIGKILL) == -signal.SIGKILL

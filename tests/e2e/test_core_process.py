"""The core as a real process: it serves, it is killed, it comes back with everything it promised."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cache_sync.clock import SystemClock
from core_cis.keys import load_keys
from core_cis.publishing import publish_account
from core_cis.store import CoreStore
from failover.intents import Intent, IntentBatch, OutcomeBatch, fingerprint, intent_id
from failover.node_config import EdgeConfig, read_config
from failover.signing import Signer
from failover.web import authorization_header

ACCOUNT = "A-7771234"
READY_SECONDS = 30
Start = Callable[[], "CoreProcess"]


class CoreProcess:
    """One run of `core serve`."""

    def __init__(self, checkout: Path, data_dir: Path, port: int, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "core_cis", "serve"),
                    *(
                        "--data",
                        str(data_dir),
                        "--port",
                        str(port),
                        "--timezone",
                        "America/Chicago",
                    ),
                ],
                cwd=checkout,
                stderr=stderr,
            )

    def wait_until_ready(self) -> "CoreProcess":
        """Wait for the first answer."""
        for _ in range(READY_SECONDS * 20):
            try:
                if httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200:
                    return self
            except httpx.TransportError:
                assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(f"not ready: {self.log.read_text()}")

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Return a folder whose name has a space."""
    return tmp_path / "core data"


@pytest.fixture
def start(checkout: Path, data_dir: Path, tmp_path: Path) -> Iterator[Start]:
    """Return a way to start the core on one port, as often as one likes; all are killed at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started: list[CoreProcess] = []

    def again() -> CoreProcess:
        started.append(CoreProcess(checkout, data_dir, port, tmp_path / "core.log"))
        return started[-1]

    yield again
    for core in started:
        if core.process.poll() is None:
            core.process.kill()
            core.process.wait(timeout=30)


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the core to its end."""
    return subprocess.run(
        [sys.executable, "-m", "core_cis", *arguments],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def edge(checkout: Path, data_dir: Path, tmp_path: Path) -> EdgeConfig:
    """Register an edge by the command line and return what its configuration says."""
    made = run(checkout, "init", "--data", str(data_dir), "--timezone", "America/Chicago")
    assert made.returncode == 0, made.stderr
    data = ["--data", str(data_dir)]
    run(checkout, "edges", "add", "east", *data, "--peer-url", "http://127.0.0.1:1")
    out = tmp_path / "east.json"
    run(
        checkout,
        *("edges", "config", "east", *data, "--core-url", "http://127.0.0.1:2"),
        *("--port", "1", "--peer-port", "2", "--out", str(out)),
    )
    assert out.stat().st_mode & 0o777 == 0o600
    with CoreStore.open(data_dir, SystemClock()) as store, store.transaction() as tx:
        tx.connection.execute(
            "INSERT INTO customers (customer_id, name, email, email_key, verifier)"
            " VALUES ('C-1', 'Ada', 'ada@example.org', 'ada@example.org', 'x')"
        )
        tx.connection.execute(
            "INSERT INTO accounts (account_id, customer_id) VALUES (?, 'C-1')", (ACCOUNT,)
        )
        tx.connection.execute(
            "INSERT INTO payment_methods (method_id, account_id, token, type, label, status)"
            " VALUES ('pm', ?, 'tok', 'card', 'Card', 'verified')",
            (ACCOUNT,),
        )
        publish_account(tx, ACCOUNT)
    return read_config(out)


def make_intent(edge: EdgeConfig, key: str, ordinal: int) -> Intent:
    """Record an intent as the edge would."""
    print_ = fingerprint(
        account_id=ACCOUNT, type_="payment", amount_cents=1500, currency="USD", method_id="pm"
    )
    return Signer(edge.signing_key).sign(
        Intent(
            intent_id=intent_id(ACCOUNT, key),
            fingerprint=print_,
            account_id=ACCOUNT,
            amount_cents=1500,
            currency="USD",
            method_id="pm",
            idempotency_key=key,
            accepted_at=datetime.now(UTC),
            edge_id="east",
            incarnation="journal",
            ordinal=ordinal,
        )
    )


def deliver(core: CoreProcess, edge: EdgeConfig, *intents: Intent) -> OutcomeBatch:
    """Deliver intents and read the answer."""
    answer = httpx.post(
        f"{core.url}/intents",
        content=msgspec.msgpack.encode(IntentBatch(list(intents))),
        headers={"Authorization": authorization_header("east", edge.node_secret)},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    return msgspec.msgpack.decode(answer.content, type=OutcomeBatch)


def probe(core: CoreProcess, edge: EdgeConfig) -> dict[str, Any]:
    """Ask how the core is."""
    headers = {"Authorization": authorization_header("east", edge.node_secret)}
    answer = httpx.get(f"{core.url}/probe", headers=headers, trust_env=False)
    found: dict[str, Any] = answer.json()
    return found


def test_answer_given_is_kept_through_a_kill(
    checkout: Path, data_dir: Path, start: Start, edge: EdgeConfig
) -> None:
    """What was answered before kill -9 is there afterwards, is not done again, and core time did not go back."""
    core = start().wait_until_ready()
    intents = [make_intent(edge, f"key-{number}", number) for number in range(1, 21)]
    before = deliver(core, edge, *intents)
    last = probe(core, edge)
    assert core.end(signal.SIGKILL) == -signal.SIGKILL
    core = start().wait_until_ready()
    assert deliver(core, edge, *intents) == before
    assert probe(core, edge)["as_of"] > last["as_of"]
    assert probe(core, edge)["head"] == last["head"]
    ledger = json.loads(run(checkout, "ledger", ACCOUNT, "--data", str(data_dir), "--json").stdout)
    assert (ledger["balance"], len(ledger["entries"])) == (-30_000, 20)


def test_sigterm_ends_it_cleanly(start: Start, edge: EdgeConfig) -> None:
    """SIGTERM finishes what is in flight and exits with 0; so does Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGINT):
        core = start().wait_until_ready()
        deliver(core, edge, make_intent(edge, "key", 1))
        assert core.end(number) == 0


def test_second_server_of_a_folder_is_refused(
    checkout: Path, data_dir: Path, start: Start, edge: EdgeConfig
) -> None:
    """Only one process serves a folder; commands beside it work."""
    core = start().wait_until_ready()
    second = run(checkout, "serve", "--data", str(data_dir), "--port", "0")
    assert second.returncode == 1
    assert "another process serves the core" in second.stderr
    added = run(
        checkout,
        "edges",
        "add",
        "west",
        "--data",
        str(data_dir),
        "--peer-url",
        "http://127.0.0.1:1",
    )
    assert added.returncode == 0
    headers = {"Authorization": f"Bearer {load_keys(data_dir).operator_token}"}
    status = httpx.get(f"{core.url}/status", headers=headers, trust_env=False).json()
    assert [known["node_id"] for known in status["edges"]] == ["east", "west"]


def test_logs_are_json_without_personal_data(start: Start, edge: EdgeConfig) -> None:
    """Every line on standard error is JSON; no account, name, address or secret is in it."""
    core = start().wait_until_ready()
    forged = msgspec.structs.replace(make_intent(edge, "key", 1), amount_cents=1)
    assert deliver(core, edge, forged).outcomes == []
    httpx.get(f"{core.url}/accounts/{ACCOUNT}/ledger", trust_env=False)
    httpx.get(f"{core.url}/feed/0", headers={"Authorization": "Node east:wrong"}, trust_env=False)
    assert core.end(signal.SIGTERM) == 0
    lines = core.log.read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert {"serving", "stopped"} <= {event["event"] for event in events}
    assert any(event.get("alarm") == "refused_intent" for event in events)
    everything = "\n".join(lines)
    for secret in (ACCOUNT, "Ada", "ada@", edge.node_secret, load_keys_of(core)):
        assert secret not in everything


def load_keys_of(core: CoreProcess) -> str:
    """Read the operators' token of the core that wrote a log."""
    return load_keys(core.log.parent / "core data").operator_token


def test_commands_start_in_any_folder(checkout: Path, tmp_path: Path) -> None:
    """The environment names the data folder where the command line does not."""
    made = subprocess.run(
        [sys.executable, "-m", "core_cis", "init", "--utility-name", "Elsewhere Light"],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": str(checkout), "RIDETHROUGH_CORE_DATA": str(tmp_path / "x")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert "Elsewhere Light" in made.stdout
    assert (tmp_path / "x" / "core.db").exists()

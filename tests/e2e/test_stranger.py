"""A stranger's utility, from an empty folder to a customer who reads his bill at an edge, by real processes."""

import json
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

READY_SECONDS = 60
PASSWORD = "seven small boats"
CUSTOMERS = f"""customer_id,name,email,account_id,service_point_id,address,meter_id,tariff,method_id,method_type,\
method_label,method_token,initial_register_kwh,password
100,Noor Haddad,noor@example.org,7-100,SP-100,12 Weir Road,E-4711,peco-energy-co-r,pm-100,bank_account,\
Harbor Federal ending 0001,tok_a1,8000,{PASSWORD}
101,Jonas Weber,jonas@example.org,7-101,SP-101,14 Weir Road,E-4712,peco-energy-co-r,,,,,,
"""
Command = Callable[..., str]
Serve = Callable[..., None]


@pytest.fixture(scope="module")
def command(checkout: Path) -> Command:
    """Return a way to run a command of the core to its good end; what it wrote comes back."""

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "core_cis", *arguments],
            cwd=checkout,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that everything here lies in, with a name that shells stumble over."""
    return tmp_path_factory.mktemp("stranger's utility")


@pytest.fixture(scope="module")
def serve(checkout: Path, folder: Path) -> Iterator[Serve]:
    """Return a way to start `core serve` or `edge serve` and wait until it is ready; all end with the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(module: str, port: int, *arguments: str) -> None:
        log = folder / f"{module}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, "serve", "--port", str(port), *arguments],
                cwd=checkout,
                stdout=output,
                stderr=output,
            )
        processes.append(process)
        for _ in range(READY_SECONDS * 10):
            assert process.poll() is None, log.read_text()
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=5)
                if answer.status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"{module} is not ready: {log.read_text()}")

    yield start
    for process in reversed(processes):
        process.terminate()
    for process in reversed(processes):
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=20)


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Stranger(NamedTuple):
    """A stranger's utility in service."""

    data: tuple[str, str]
    report: Any
    api: str


@pytest.fixture(scope="module")
def stranger(command: Command, serve: Serve, shared_data: Path, folder: Path) -> Stranger:
    """Go from an empty folder to a served bill by the commands of the manual."""
    data = ("--data", str(folder / "core"))
    tariff = shared_data / "tariffs" / "peco-rate-r-residential.json"
    readings = shared_data / "greenbutton" / "openespi_test_usage_data.xml"
    customers, passwords = folder / "customers.csv", folder / "passwords.csv"
    customers.write_text(CUSTOMERS, encoding="utf-8")
    command("init", *data, "--utility-name", "Stranger Light", "--timezone", "America/New_York")
    command("import", "tariff", *data, "--effective-from", "2012-01-01", str(tariff))
    command(*("import", "customers", *data, "--initial-passwords", str(passwords), str(customers)))
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    command("import", "green-button", *data, "--service-point", "SP-100", str(readings))
    report = json.loads(command("bill", *data, "--through", "2012-03-14", "--json"))
    core_port, edge_port, peer_port = free_ports(3)
    config = folder / "north.json"
    command("edges", "add", "north", *data, "--peer-url", f"http://127.0.0.1:{peer_port}")
    command(
        *("edges", "config", "north", *data, "--core-url", f"http://127.0.0.1:{core_port}"),
        *("--port", str(edge_port), "--peer-port", str(peer_port), "--out", str(config)),
    )
    serve("core_cis", core_port, *data)
    serve("edge_portal", edge_port, "--config", str(config), "--data", str(folder / "north"))
    return Stranger(data, report, f"http://127.0.0.1:{edge_port}/api/v1")


def sign_in(api: str, email: str, password: str) -> httpx.Response:
    """Try to sign in."""
    body = {"email": email, "password": password}
    return httpx.post(f"{api}/session", json=body, trust_env=False, timeout=30)


def bearer(session: httpx.Response) -> dict[str, str]:
    """Write the header of somebody who signed in."""
    assert session.is_success, session.text
    return {"Authorization": f"Bearer {session.json()['token']}"}


def test_a_stranger_reads_his_bill_at_an_edge(stranger: Stranger) -> None:
    """Tariff, customers and a real fortnight went in; account, statement, usage and PDF come out at an edge."""
    (issued,) = stranger.report["issued"]
    assert stranger.report["refused"] == []
    assert [waiting["account_id"] for waiting in stranger.report["waiting"]] == ["7-101"]
    assert sign_in(stranger.api, "noor@example.org", "seven big boats").status_code == 401
    headers = bearer(sign_in(stranger.api, "Noor@Example.org", PASSWORD))
    with httpx.Client(trust_env=False, timeout=30, headers=headers) as visitor:
        account = visitor.get(f"{stranger.api}/account").json()
        assert account["account_id"] == "7-100"
        assert account["balance"] == account["billed_balance"] == issued["amount_due"]
        assert [method["id"] for method in account["payment_methods"]] == ["pm-100"]
        (listed,) = visitor.get(f"{stranger.api}/statements").json()["items"]
        assert (listed["id"], listed["total"]) == (issued["statement_id"], issued["total"])
        statement = visitor.get(f"{stranger.api}/statements/{listed['id']}").json()
        assert sum(line["amount"] for line in statement["lines"]) == issued["total"]
        usage = visitor.get(f"{stranger.api}/usage")
        assert (usage.status_code, "2012-03" in usage.text) == (200, True)
        pdf = visitor.get(f"{stranger.api}/statements/{listed['id']}/pdf")
        assert pdf.content.startswith(b"%PDF")


def test_a_customer_without_a_bill_signs_in(stranger: Stranger, folder: Path) -> None:
    """The password that was made for him works, and he owes nothing yet."""
    (made,) = (folder / "passwords.csv").read_text().splitlines()[1:]
    email, password = made.split(",")
    answer = httpx.get(
        f"{stranger.api}/account",
        headers=bearer(sign_in(stranger.api, email, password)),
        trust_env=False,
        timeout=30,
    ).json()
    assert (answer["account_id"], answer["balance"]) == ("7-101", 0)


def test_a_new_password_reaches_a_running_edge(
    stranger: Stranger, command: Command, folder: Path
) -> None:
    """Changed beside a serving core, a password works at the edge within seconds and the old one does not."""
    secret = folder / "secret"
    secret.write_text("eight small boats\n")
    options = (*stranger.data, "--password-file", str(secret))
    command("set-password", *options, "jonas@example.org")
    (made,) = (folder / "passwords.csv").read_text().splitlines()[1:]
    # The new one is tried only when the old one is known to be gone: wrong ones are rationed.
    for _ in range(100):
        if sign_in(stranger.api, *made.split(",")).status_code == 401:
            break
        time.sleep(0.2)
    assert sign_in(stranger.api, "jonas@example.org", "eight small boats").is_success
    assert sign_in(stranger.api, *made.split(",")).status_code == 401

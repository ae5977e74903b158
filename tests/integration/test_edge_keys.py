"""Edges whose files are encrypted: real processes started with the key, without it, with another, and rotated."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cache_sync.clock import SystemClock
from cache_sync.documents import ACCOUNT
from cache_sync.file_keys import is_plain, named_key, read_key_file, read_salt
from cache_sync.replica_reader import ReplicaReader
from edge_portal.file_check import keyed_files
from edge_portal.settings import EdgePaths
from tests.integration.edge_fleet import EdgeFleet, EdgeProcess, wait_until

PIECE_BYTES = 24


def edge_command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the edge to its end."""
    command = [sys.executable, "-P", "-m", "edge_portal", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[EdgeFleet]:
    """Return a core and two edges, of which only the core runs."""
    made = EdgeFleet(tmp_path, accounts=4, workers=1)
    made.start_core()
    yield made
    made.stop()


def new_key(folder: Path, name: str) -> Path:
    """Make a key file."""
    path = folder / name
    made = edge_command("key", path)
    assert made.returncode == 0, made.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    return path


def start(edge: EdgeProcess, key_file: Path) -> None:
    """Start an edge with a key; the environment names it, and its children must not need to look there."""
    os.environ["RIDETHROUGH_EDGE_KEY_FILE"] = str(key_file)
    try:
        edge.start()
    finally:
        del os.environ["RIDETHROUGH_EDGE_KEY_FILE"]


def contents(edge: EdgeProcess) -> dict[str, bytes]:
    """Read every file of an edge's folder that does not change with every look."""
    return {
        str(path.relative_to(edge.data)): path.read_bytes()
        for path in sorted(edge.data.rglob("*"))
        if path.is_file() and path.name != "edge.lock"
    }


def stored(edge: EdgeProcess, fleet: EdgeFleet) -> list[bytes]:
    """Cut a piece out of what a plain edge has stored of each customer's account: bodies lie there packed."""
    reader = ReplicaReader(EdgePaths(edge.data).snapshot, clock=SystemClock())
    try:
        with reader.read() as view:
            accounts = [
                view.document(customer["account_id"], ACCOUNT) for customer in fleet.customers
            ]
    finally:
        reader.close()
    bodies = [account.body for account in accounts if account is not None and account.body]
    assert len(bodies) == len(fleet.customers)
    return [body[len(body) // 2 :][:PIECE_BYTES] for body in bodies]


def personal(fleet: EdgeFleet) -> list[bytes]:
    """Name what customers are called and where they are written to, as the edge was sent it."""
    words = []
    for customer in fleet.customers:
        words.append(customer["email"].encode())
        words.append(customer["account_id"].encode())
    return words


def test_nothing_of_a_customer_can_be_read_and_the_key_is_needed(fleet: EdgeFleet) -> None:
    """In no file of the folder, while it serves and after it; without the key, or with another, nothing starts."""
    edge, other = fleet.edges
    other.start()
    key, wrong = new_key(fleet.folder, "one.key"), new_key(fleet.folder, "two.key")
    key_id = read_key_file(key).current_id
    start(edge, key)
    wait_until("normal", lambda: edge.mode() == "normal")
    customer = fleet.customer(0, edge)
    account = customer.client.get("/account").json()
    assert customer.pay(100).is_success
    status = edge.status()
    assert status["keys"] == {"held": [key_id], "journal": key_id}
    assert {shard["key"] for shard in status["shards"].values()} == {key_id}
    name = account["customer_name"] if "customer_name" in account else account["name"]
    running = contents(edge)
    assert edge.stop() == 0
    for files in (running, contents(edge)):
        assert any(path.endswith(".db") for path in files)
        for word in [*personal(fleet), name.encode(), *stored(other, fleet)]:
            found = [path for path, content in files.items() if word in content]
            assert found == [], word
    # The witness has no key: what it stores can be found, which shows what was looked for above.
    plain = b"".join(contents(other).values())
    assert all(piece in plain for piece in stored(other, fleet))
    assert all(customer["account_id"].encode() in plain for customer in fleet.customers)

    before = contents(edge)
    without = edge_command(*edge.command[4:])
    assert without.returncode == 1
    assert f"under key {key_id}, and no key was given" in without.stderr
    refused = edge_command(*edge.command[4:], "--key-file", wrong)
    assert refused.returncode == 1
    assert f"under key {key_id}, which {wrong} does not hold" in refused.stderr
    assert contents(edge) == before
    for command in ("status", "queue"):
        assert edge_command(command, "--data", edge.data).returncode == 1
        told = edge_command(command, "--data", edge.data, "--key-file", key)
        assert told.returncode == 0, told.stderr
    both = edge_command(
        *edge.command[4:], "--key-file", key, RIDETHROUGH_EDGE_KEYS=key.read_text().strip()
    )
    assert both.returncode == 1
    assert "are both given" in both.stderr

    start(edge, key)
    again = fleet.customer(0, edge).client.get("/account").json()
    assert again["payment_methods"] == account["payment_methods"]


def test_a_plain_edge_is_encrypted_and_its_key_rotated(fleet: EdgeFleet) -> None:
    """However often it is killed on the way, and payments that wait stay."""
    edge, other = fleet.edges
    edge.start()
    other.start()
    wait_until("normal", lambda: edge.mode() == "normal")
    customer = fleet.customer(0, edge)
    fleet.kill_core()
    assert customer.pay(100).is_success
    assert edge.stop() == 0
    queue = msgspec.json.decode(edge_command("queue", "--data", edge.data, "--json").stdout)
    assert len(queue["items"]) == 1

    first, second = new_key(fleet.folder, "one.key"), new_key(fleet.folder, "two.key")
    before = contents(edge)
    plain = edge_command(*edge.command[4:], "--key-file", first)
    assert plain.returncode == 1
    assert "edge rekey" in plain.stderr
    assert contents(edge) == before
    rotated = fleet.folder / "both.key"
    rotated.write_text(second.read_text() + first.read_text())
    rotated.chmod(0o600)
    for key_file in (first, rotated):
        keys = read_key_file(key_file)
        killed_until_done(edge, key_file)
        files = keyed_files(EdgePaths(edge.data))
        assert {named_key(read_salt(path)) for path in files} == {keys.current_id}
        told = edge_command("queue", "--data", edge.data, "--json", "--key-file", key_file)
        assert msgspec.json.decode(told.stdout) == queue
        done = edge_command("rekey", "--data", edge.data, "--key-file", key_file)
        for older in keys.ids[1:]:
            assert f"key {older} is needed no more" in done.stdout
    assert not any(is_plain(content[:16]) for content in contents(edge).values())

    start(edge, second)
    assert edge.status()["queue"]["pending"] == 1
    running = edge_command("rekey", "--data", edge.data, "--key-file", second)
    assert running.returncode == 1
    assert "in use" in running.stderr
    fleet.start_core()
    wait_until("drained", lambda: edge.status()["queue"]["pending"] == 0)
    assert len(fleet.posted(customer.account_id)) == 1


def killed_until_done(edge: EdgeProcess, key_file: Path) -> None:
    """Rekey, killed later each time; after every death each file is whole under a key that is held, or plain."""
    keys = read_key_file(key_file)
    command = [sys.executable, "-P", "-m", "edge_portal", "rekey", "--data", str(edge.data)]
    command += ["--key-file", str(key_file)]
    for lines in range(4):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            # Killed as soon as so many files are said to be done, in the midst of the next one.
            told = [process.stdout.readline() for _ in range(lines)]
            process.send_signal(signal.SIGKILL)
        reader = ReplicaReader(EdgePaths(edge.data).snapshot, clock=SystemClock(), keys=keys)
        for path in keyed_files(EdgePaths(edge.data)):
            salt = read_salt(path)
            assert is_plain(salt) or keys.find(named_key(salt) or "") is not None
        if not is_plain(read_salt(keyed_files(EdgePaths(edge.data))[1])):
            with reader.read() as view:
                assert view.live_rows() > 0
        reader.close()
        if told and "all files" in told[-1]:
            break
    done = edge_command("rekey", "--data", edge.data, "--key-file", key_file)
    assert done.returncode == 0, done.stderr

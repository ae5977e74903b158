"""``edge verify`` on a running edge: a byte that flipped on its disk is named, put right, and told to operators."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.sqlite import connect, write
from failover.node_config import read_config, write_config
from tests.integration.edge_fleet import EdgeFleet, EdgeProcess, wait_until


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeFleet]:
    """Run a core and one edge."""
    made = EdgeFleet(tmp_path_factory.mktemp("fleet"), names=("east",), workers=1)
    try:
        made.start_core()
        made.edges[0].start()
        yield made
    finally:
        made.stop()


def verify(edge: EdgeProcess, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """Run the command; return its exit code and its reports."""
    command = [sys.executable, "-P", "-m", "edge_portal", "verify", "--json", *options]
    command += ["--config", str(edge.config), "--data", str(edge.data)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, msgspec.json.decode(done.stdout)["items"]


def flip_a_balance(edge: EdgeProcess) -> str:
    """Change an account's document on the disk, as bad memory would; return the account."""
    current = SnapshotFolder(edge.data / "snapshot").current()
    assert current is not None
    connection = connect(current, synchronous="NORMAL")
    with write(connection):
        account_id, seq, body = connection.execute(
            "SELECT account_id, seq, body FROM documents WHERE kind = 'account' LIMIT 1"
        ).fetchone()
        spoilt = bytes([*body[:-3], body[-3] ^ 1, *body[-2:]])
        connection.execute("UPDATE documents SET body = ? WHERE seq = ?", (spoilt, seq))
    connection.close()
    return str(account_id)


def test_a_flipped_byte_is_named_put_right_and_told(fleet: EdgeFleet) -> None:
    """Equal exits with 0; a difference exits with 1 and names the document; a repair leaves both equal again."""
    edge = fleet.edges[0]
    assert verify(edge)[0] == 0
    account_id = flip_a_balance(edge)
    code, (report,) = verify(edge)
    named = [(one["account_id"], one["kind"], one["difference"]) for one in report["divergences"]]
    assert (code, named) == (1, [(account_id, "account", "damaged")])
    assert report["repaired_rows"] == 0
    code, (report,) = verify(edge, "--repair")
    assert (code, report["divergent_rows"], report["repaired_rows"]) == (1, 1, 1)
    assert verify(edge)[0] == 0
    told = edge.status()["verification"]
    assert (told["divergent_rows"], told["repaired_rows"], told["upstream"]) == (1, 1, "core")
    assert edge.ready()


def flip_on_the_disk(edge: EdgeProcess) -> str:
    """Flip a bit in a page of the file, below the database; return the account whose document lies there."""
    current = SnapshotFolder(edge.data / "snapshot").current()
    assert current is not None
    connection = connect(current, synchronous="NORMAL")
    account_id, body = connection.execute(
        "SELECT account_id, body FROM documents WHERE kind = 'account' ORDER BY seq LIMIT 1"
    ).fetchone()
    # What lies in the write-ahead log is not read from the page.
    wait_until(
        "in its page",
        lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0,
    )
    connection.close()
    content = current.read_bytes()
    # The end of a short body lies on one page together with its beginning.
    at = content.index(bytes(body)[-40:]) + 30
    handle = os.open(current, os.O_WRONLY)
    os.pwrite(handle, bytes([content[at] ^ 1]), at)
    os.close(handle)
    return str(account_id)


def test_a_flipped_page_of_a_running_edge_is_found_and_put_right_by_itself(
    fleet: EdgeFleet,
) -> None:
    """Nobody orders anything: the comparison in the background names it, repairs it and raises the alarm."""
    edge = fleet.edges[0]
    before = edge.config.read_bytes()
    edge.stop()
    often: Any = msgspec.structs.replace(read_config(edge.config), verify_hours=0.0005)
    write_config(edge.config, often, overwrite=True)
    try:
        edge.start()
        known = edge.status()["verification"]
        since = edge.log.stat().st_size
        account_id = flip_on_the_disk(edge)
        wait_until(
            "put right",
            lambda: edge.status()["verification"]["repaired_rows"] == known["repaired_rows"] + 1,
        )
        told = edge.status()["verification"]
        assert told["divergent_rows"] == known["divergent_rows"] + 1
        assert "1 rows differ, 1 repaired" in edge.log.read_bytes()[since:].decode()
        assert f'"{account_id}"' in (edge.data / "verifications.json").read_text()
        metrics = httpx.get(f"{edge.url}/metrics", trust_env=False).text
        assert (
            f"ridethrough_edge_verification_repaired_rows {float(told['repaired_rows'])}" in metrics
        )
        assert verify(edge)[0] == 0
        assert edge.ready()
    finally:
        edge.stop()
        edge.config.write_bytes(before)
        edge.start()


def test_without_a_core_nothing_is_called_equal(fleet: EdgeFleet) -> None:
    """Who cannot be asked is named; the edge goes on."""
    edge = fleet.edges[0]
    fleet.kill_core()
    code, (report,) = verify(edge)
    assert code == 1
    assert "core does not answer" in report["stopped"]
    fleet.start_core()
    wait_until("equal again", lambda: verify(edge)[0] == 0)

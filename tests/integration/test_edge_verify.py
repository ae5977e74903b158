"""``edge verify`` on a running edge: a byte that flipped on its disk is named, put right, and told to operators."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.sqlite import connect, write
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


def test_without_a_core_nothing_is_called_equal(fleet: EdgeFleet) -> None:
    """Who cannot be asked is named; the edge goes on."""
    edge = fleet.edges[0]
    fleet.kill_core()
    code, (report,) = verify(edge)
    assert code == 1
    assert "core does not answer" in report["stopped"]
    fleet.start_core()
    wait_until("equal again", lambda: verify(edge)[0] == 0)

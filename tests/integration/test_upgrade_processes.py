"""
Releases side by side, as real processes: an older edge under a newer core, a newer edge below the older one, and back.

Usage has two versions. `core` writes the one that operators order; `east` is of a release that reads the first only
(`tests.integration.older_edge`) and asks the core; `west` is of this release and asks nobody but `east`.
"""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest

from cache_sync.clock import SystemClock
from cache_sync.document_table import read_head
from cache_sync.packed_bodies import unpack_body
from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.sqlite import connect, write
from core_cis.domain.metering import empty_block
from core_cis.readings import store_blocks
from core_cis.store import CoreStore
from tests.integration.edge_fleet import EdgeFleet, EdgeProcess, wait_until

Row = tuple[str, str, str, int, int, bytes | None]
_ROWS = "SELECT account_id, kind, key, seq, version, body FROM documents ORDER BY seq"
# What no encoder of ours writes, in a kind and a version that no release knows.
STRANGE = b'{ "text":"caf\\u00e9",\n "n":1.50, "n":1.5, "\xc3\xa9":[ ] }'
UNKNOWN_VERSION = "unknown_version:usage:2"


class Upgrade(EdgeFleet):
    """A core and two edges, before anything was upgraded."""

    @property
    def east(self) -> EdgeProcess:
        """The edge of the older release."""
        return self.edges[0]

    @property
    def west(self) -> EdgeProcess:
        """The edge of this release, below the other."""
        return self.edges[1]

    def order(self, version: int, *options: str) -> subprocess.CompletedProcess[str]:
        """Have usage written in a version; the command may be refused."""
        command = [sys.executable, "-P", "-m", "core_cis", "bodies", "write", "usage", str(version)]
        command += ["--reason", "the fleet is upgraded", "--data", str(self.core_data), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def read_meter(self, account_id: str, days_ahead: int) -> str:
        """Store a day of readings of which the hours from 3 to 5 were estimated; return the day."""
        with CoreStore.open(self.core_data, SystemClock()) as store, store.transaction() as tx:
            point, meter = tx.connection.execute(
                "SELECT service_point_id, meter_id FROM meters JOIN service_points USING (service_point_id)"
                " WHERE account_id = ?",
                (account_id,),
            ).fetchone()
            day = tx.today + timedelta(days=days_ahead)
            block = empty_block(day, ZoneInfo(tx.utility.timezone), 3600)
            hours = range(len(block.wh))
            read = msgspec.structs.replace(
                block,
                wh=tuple(100 + hour for hour in hours),
                quality=tuple(8 if hour in {3, 4} else 17 for hour in hours),
            )
            store_blocks(tx, point, [read], meter_id=meter)
        return day.isoformat()

    def publish_strange(self, account_id: str) -> None:
        """Publish what only a later release knows: a kind, and fields of a body that may be ignored."""
        with CoreStore.open(self.core_data, SystemClock()) as store, store.transaction() as tx:
            (body,) = tx.connection.execute(
                "SELECT body FROM documents WHERE account_id = ? AND kind = 'account'",
                (account_id,),
            ).fetchone()
            more = unpack_body(body)[:-1] + b' , "later" : {"deep":[1.0,\t2]}, "later":null}'
            tx.publish_encoded(account_id, "account", "", more)
            tx.publish_encoded(account_id, "of a later release", "k", STRANGE, 7)

    def head(self) -> int:
        """Tell the core's newest seq."""
        with CoreStore.open(self.core_data, SystemClock()) as store:
            return read_head(store.connection, "0").head

    def core_rows(self) -> list[Row]:
        """Read what the core has published, byte for byte."""
        with CoreStore.open(self.core_data, SystemClock()) as store:
            return list(store.connection.execute(_ROWS).fetchall())

    def caught_up(self, edge: EdgeProcess) -> None:
        """Wait until an edge has everything."""
        head = self.head()
        wait_until(f"{edge.name} is at {head}", lambda: shard(edge)["cursor"] >= head)

    def core_status(self) -> dict[str, Any]:
        """Ask the core how it is."""
        secrets = msgspec.json.decode((self.core_data / "secrets.json").read_bytes())
        headers = {"Authorization": f"Bearer {secrets['operator_token']}"}
        told: dict[str, Any] = httpx.get(
            f"{self.core_url}/status", headers=headers, timeout=10, trust_env=False
        ).json()
        return told


def shard(edge: EdgeProcess) -> dict[str, Any]:
    """Ask where an edge stands."""
    told: dict[str, Any] = edge.status()["shards"]["0"]
    return told


def edge_rows(edge: EdgeProcess) -> list[Row]:
    """Read what an edge holds, byte for byte."""
    current = SnapshotFolder(edge.data / "snapshot").current()
    assert current is not None
    connection = connect(current, synchronous="NORMAL", read_only=True)
    try:
        return list(connection.execute(_ROWS).fetchall())
    finally:
        connection.close()


def day_of(fleet: Upgrade, edge: EdgeProcess, day: str) -> dict[str, Any] | None:
    """Ask an edge, as the first customer, for a day's usage."""
    answer = fleet.customer(0, edge).client.get("/usage")
    assert answer.status_code == 200, answer.text
    days = [found for month in answer.json()["items"] for found in month["days"]]
    return next((found for found in days if found["day"] == day), None)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgrade]:
    """Run a core that writes what it always wrote, the older edge, and the newer one below it."""
    upstreams = {"east": ["core"], "west": ["east"]}
    made = Upgrade(tmp_path_factory.mktemp("fleet"), upstreams=upstreams, workers=1)
    try:
        assert made.order(1).returncode == 0
        made.run_core("bodies", "republish", "usage")
        made.east.older = True
        made.start_core()
        for edge in made.edges:
            edge.start()
        yield made
    finally:
        made.stop()


def test_a_newer_edge_reads_what_an_older_core_writes(fleet: Upgrade) -> None:
    """The first version does not say which hours were estimated: none is shown as measured."""
    account_id = fleet.customers[0]["account_id"]
    day = fleet.read_meter(account_id, 1)
    fleet.caught_up(fleet.west)
    found = day_of(fleet, fleet.west, day)
    assert found is not None
    assert (found["estimated_wh"], found["hours"][3]) == (103 + 104, 103)
    assert found["estimated_hours"] == list(range(len(found["hours"])))
    assert {row[4] for row in edge_rows(fleet.west) if row[1] == "usage"} == {1}


def test_an_older_edge_hands_on_what_it_does_not_know_byte_for_byte(fleet: Upgrade) -> None:
    """It shows what it knows; what it does not know reaches the edge below, and a repair brings the same bytes."""
    account_id = fleet.customers[0]["account_id"]
    fleet.publish_strange(account_id)
    for edge in fleet.edges:
        fleet.caught_up(edge)
        assert edge_rows(edge) == fleet.core_rows()
        assert fleet.customer(0, edge).client.get("/account").status_code == 200
    strange = (account_id, "of a later release", "k")
    assert next(row[4:] for row in edge_rows(fleet.west) if row[:3] == strange) == (7, STRANGE)
    current = SnapshotFolder(fleet.west.data / "snapshot").current()
    assert current is not None
    connection = connect(current, synchronous="NORMAL")
    with write(connection):
        spoil = "UPDATE documents SET body = ? WHERE account_id = ? AND kind = ? AND key = ?"
        connection.execute(spoil, (STRANGE.replace(b"1.50", b"1.5"), *strange))
    connection.close()
    verify = ["verify", "--repair", "--config", str(fleet.west.config), "--data"]
    command = [sys.executable, "-P", "-m", "edge_portal", *verify, str(fleet.west.data)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    assert edge_rows(fleet.west) == fleet.core_rows()


def test_an_older_edge_serves_on_under_a_newer_version_and_loses_nothing_in_its_upgrade(
    fleet: Upgrade,
) -> None:
    """Refused at first, then forced: it stops by name, shows true dates, takes payments, and goes on when upgraded."""
    fleet.caught_up(fleet.west)
    account_id, built = fleet.customers[0]["account_id"], shard(fleet.west)["snapshots_built"]
    wait_until(
        "both edges have said what they read",
        lambda: all(edge["reads"] for edge in fleet.core_status()["edges"]),
    )
    refused = fleet.order(2)
    assert refused.returncode == 1
    assert "usage documents of version 2 are not read by east" in refused.stdout + refused.stderr
    assert fleet.order(2, "--force").returncode == 0
    held, committed = edge_rows(fleet.east), datetime.now(UTC)
    day = fleet.read_meter(account_id, 2)
    east = fleet.east
    wait_until("east stops", lambda: shard(east)["reason"] == UNKNOWN_VERSION)
    _check_stopped(fleet, committed, held)
    paid = fleet.customer(1, east).pay(250)
    assert paid.status_code in {201, 202}
    east.stop()
    east.start()
    wait_until("it says so again after a restart", lambda: shard(east)["reason"] == UNKNOWN_VERSION)
    _check_stopped(fleet, committed, held)
    east.stop()
    east.older = False
    east.start()
    for edge in fleet.edges:
        fleet.caught_up(edge)
        assert edge_rows(edge) == fleet.core_rows()
        found = day_of(fleet, edge, day)
        assert found is not None
        assert (found["estimated_hours"], found["hours"][3]) == ([3, 4], 103)
    assert shard(east)["snapshots_built"] == 0, "it went on from where it stopped"
    assert shard(fleet.west)["snapshots_built"] == built
    wait_until(
        "everybody reads what is written",
        lambda: fleet.core_status()["bodies"]["usage"]["unread_by"] == [],
    )
    customer = fleet.customers[1]["account_id"]
    wait_until("the payment is posted", lambda: len(fleet.posted(customer)) == 1)


def _check_stopped(fleet: Upgrade, committed: datetime, held: list[Row]) -> None:
    """Check that the older edge serves what it holds under its true date, and that everybody says so."""
    east = fleet.east
    told = shard(east)
    assert (told["phase"], told["reason"]) == ("stopped", UNKNOWN_VERSION)
    assert told["lag"] > 0
    assert told["head"] == fleet.head()
    assert datetime.fromisoformat(told["as_of"]) <= committed
    true_age = (datetime.now(UTC) - committed).total_seconds()
    answer = fleet.customer(0, east).client.get("/usage")
    assert answer.status_code == 200
    assert float(answer.headers["Age"]) >= int(true_age)
    assert datetime.fromisoformat(answer.headers["Ridethrough-As-Of"]) <= committed
    metrics = httpx.get(f"{east.url}/metrics", timeout=10, trust_env=False).text
    assert 'ridethrough_edge_shard_stopped{shard="0"} 1.0' in metrics
    assert edge_rows(east) == held
    assert fleet.core_status()["bodies"]["usage"]["unread_by"] == ["east"]
    assert datetime.fromisoformat(shard(fleet.west)["as_of"]) <= committed, "nobody below is newer"

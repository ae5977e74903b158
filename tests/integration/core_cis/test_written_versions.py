"""In which version bodies are written: ordered, refused while an edge cannot read it, watched after that."""

import json
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from click.testing import CliRunner

from cache_sync.body_versions import decode_version, write_versions
from cache_sync.documents import KNOWN_VERSIONS, USAGE, UsageBody
from core_cis.__main__ import main
from core_cis.domain.metering import IntervalBlock, empty_block
from core_cis.readings import store_blocks
from core_cis.republishing import republish
from core_cis.written_versions import read_written
from tests.integration.core_cis.conftest import ACCOUNT

ZONE = ZoneInfo("America/Chicago")
NEWEST = write_versions(KNOWN_VERSIONS)
FIRST = date(2026, 1, 30)


def run(core: Any, *arguments: str, code: int = 0) -> str:
    """Run a command of the core and return what it says."""
    result = CliRunner().invoke(main, [*arguments, "--data", str(core.data_dir)])
    assert result.exit_code == code, result.output
    return result.output


def order(core: Any, version: int, *options: str, code: int = 0) -> str:
    """Have usage written in a version."""
    return run(
        core, "bodies", "write", "usage", str(version), "--reason", "upgraded", *options, code=code
    )


def read_usage(core: Any, service_point_id: str, *days: date) -> None:
    """Store readings of some days: 100 Wh in every hour, of which the third was estimated."""
    blocks: list[IntervalBlock] = []
    for day in days:
        block = empty_block(day, ZONE, 3600)
        quality = tuple(8 if hour == 2 else 17 for hour in range(len(block.wh)))
        wh = (100,) * len(block.wh)
        blocks.append(msgspec.structs.replace(block, wh=wh, quality=quality))
    with core.open() as store, store.transaction() as tx:
        store_blocks(tx, service_point_id, blocks, meter_id=f"M-{service_point_id}")


def published(core: Any) -> dict[str, tuple[int, UsageBody]]:
    """Read the published months of usage, and in which version each stands."""
    with core.open() as store:
        rows = store.connection.execute(
            "SELECT key, version, body FROM documents WHERE kind = 'usage' AND body IS NOT NULL"
        ).fetchall()
    return {
        key: (version, decode_version(UsageBody, bytes(body), version))
        for key, version, body in rows
    }


async def say(core: Any, client: Any, edge: str, reads: str | None = NEWEST) -> None:
    """Probe as an edge that reads something, or as one of a release that does not say."""
    params = {} if reads is None else {"reads": reads}
    answer = await client.get("/probe", params=params, headers=core.node(edge))
    assert answer.status_code == 200


async def told(core: Any, client: Any) -> Any:
    """Have the core look at what edges read, and ask for its status."""
    await client._transport.app.state.services.edge_reads.step()
    return (await client.get("/status", headers=core.operator())).json()


@pytest.fixture
def metered(core: Any) -> Any:
    """Return the core with two service points."""
    with core.open() as store, store.transaction() as tx:
        for name in ("P-1", "P-2"):
            tx.connection.execute(
                "INSERT INTO service_points (service_point_id, account_id, address) VALUES (?, ?, '')",
                (name, ACCOUNT),
            )
            tx.connection.execute(
                "INSERT INTO meters (meter_id, service_point_id) VALUES (?, ?)", (f"M-{name}", name)
            )
    return core


def test_a_new_core_writes_the_newest_and_an_old_one_what_it_wrote(core: Any) -> None:
    """An upgrade alone changes nothing for edges: without an order the first version is written."""
    with core.open() as store:
        assert read_written(store.connection) == KNOWN_VERSIONS
        with store.transaction() as tx:
            tx.connection.execute("DELETE FROM written_versions")
        assert read_written(store.connection) == dict.fromkeys(KNOWN_VERSIONS, 1)


def test_an_order_holds_for_what_changes_and_republishing_for_the_rest(metered: Any) -> None:
    """Both versions say the same as far as they can; each document is written again once."""
    order(metered, 1)
    january, march = FIRST, FIRST + timedelta(days=40)
    read_usage(metered, "P-1", january, january + timedelta(days=1), march)
    assert {version for version, _ in published(metered).values()} == {1}
    order(metered, 2, "--force")
    read_usage(metered, "P-2", january)
    months = published(metered)
    assert {key: version for key, (version, _) in months.items()} == {
        "2026-01/P-1": 1,
        "2026-03/P-1": 1,
        "2026-01/P-2": 2,
    }
    assert months["2026-01/P-2"][1].days[0].estimated_hours == {2: 100}
    assert set(months["2026-01/P-1"][1].days[0].estimated_hours) == set(range(24))
    with metered.open() as store:
        assert republish(store, USAGE, batch=1) == 2
        assert republish(store, USAGE) == 0
    months = published(metered)
    assert {version for version, _ in months.values()} == {2}
    assert months["2026-03/P-1"][1].days[0].estimated_hours == {2: 100}
    order(metered, 1)
    assert "3 usage documents were written again" in run(metered, "bodies", "republish", "usage")
    assert {version for version, _ in published(metered).values()} == {1}
    assert "0 account documents" in run(metered, "bodies", "republish", "account")


async def test_a_version_that_an_edge_has_not_said_it_reads_is_refused(core: Any) -> None:
    """By name, until all active edges have said so; what they say is kept over a restart and when it changes."""
    order(core, 1)
    async with core.serving() as client:
        await say(core, client, "east")
        await told(core, client)
        assert "not read by west" in order(core, 2, code=1)
        await say(core, client, "west", "usage.1,account.1")
        await told(core, client)
        assert "not read by west" in order(core, 2, code=1)
        listed = json.loads(run(core, "bodies", "list", "--json"))
        usage = next(row for row in listed if row["kind"] == "usage")
        assert (usage["written"], usage["newest"]) == (1, 2)
        assert usage["cannot_read_newest"] == [{"node_id": "west", "reads": 1}]
        assert "edge west reads up to version 1 only, not 2" in run(core, "bodies", "list")
        await say(core, client, "west")
        await told(core, client)
    async with core.serving() as client:
        order(core, 2)
        await say(core, client, "west", None)
        status = await told(core, client)
    assert status["bodies"]["usage"] == {"written": 2, "newest": 2, "unread_by": ["west"]}
    reads = {edge["node_id"]: edge["reads"] for edge in status["edges"]}
    assert reads == {"east": dict(KNOWN_VERSIONS), "west": {}}
    assert "edge west has not said that it reads version 2" in run(core, "bodies", "list")
    with core.open() as store:
        assert read_written(store.connection)[USAGE] == 2


async def test_an_edge_that_cannot_read_what_is_written_is_an_alarm(
    core: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, with its name; a figure counts them; an expelled one counts no more."""
    async with core.serving() as client:
        await say(core, client, "east")
        await say(core, client, "west", "usage.1")
        await told(core, client)
        await say(core, client, "west", "usage.1")
        status = await told(core, client)
        assert status["bodies"]["usage"]["unread_by"] == ["west"]
        gauge = 'ridethrough_core_edges_not_reading{kind="usage"}'
        assert f"{gauge} 1.0" in (await client.get("/metrics")).text
        printed = capsys.readouterr()
        assert (printed.out + printed.err).count("unread_version") == 1
        run(core, "edges", "revoke", "west")
        status = await told(core, client)
        assert status["bodies"]["usage"]["unread_by"] == []
        assert f"{gauge} 0.0" in (await client.get("/metrics")).text


def test_orders_are_written_down_and_nonsense_is_refused(core: Any) -> None:
    """With the reason, and that it was forced; a version that there is not changes nothing."""
    assert "edge east has not said" in order(core, 2, "--force")
    assert "writes no usage documents of version 3, only 1 to 2" in order(core, 3, code=1)
    assert "Invalid value" in run(
        core, "bodies", "write", "usages", "1", "--reason", "typing", code=2
    )
    (line,) = json.loads(run(core, "audit", "list", "--json"))
    assert (line["action"], line["subject"], line["reason"]) == (
        "bodies.write",
        "usage",
        "upgraded",
    )
    assert line["detail"] == {"version": 2, "force": 1}

"""A core that hears what its edges hold for good, and forgets deletes by that, in a file and on a server."""

from typing import Any

import msgspec
from click.testing import CliRunner

from core_cis.__main__ import main
from core_cis.publishing import withdraw_credential
from core_cis.services import CoreServices
from core_cis.settings import ServerSettings

QUICK = ServerSettings(tombstone_hours=0.001, edge_away_days=2.0)
DAY_SECONDS = 86400.0


def services(client: Any) -> CoreServices:
    """Return the running core behind a client."""
    running: CoreServices = client._transport.app.state.services
    return running


class Sleeping:
    """Lets the set clock pass the pauses between two steps."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock

    async def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.clock.move(seconds)


def delete_something(core: Any) -> int:
    """Have the core publish a delete; return its seq."""
    with core.open() as store:
        with store.transaction() as tx:
            withdraw_credential(tx, "C-1")
        (seq,) = store.connection.execute(
            "SELECT max(seq) FROM documents WHERE body IS NULL"
        ).fetchone()
    return int(seq)


async def told(core: Any, client: Any) -> dict[str, Any]:
    """Look twice, long enough after one another, and ask for the floor."""
    await services(client).floors.step()
    core.clock.move(10)
    await services(client).floors.step()
    status = (await client.get("/status", headers=core.operator())).json()
    floor: dict[str, Any] = status["floors"][0]
    return floor


async def say(core: Any, client: Any, edge: str, *places: str) -> None:
    """Probe as an edge that holds something for good."""
    answer = await client.get("/probe", params={"kept": ",".join(places)}, headers=core.node(edge))
    assert answer.status_code == 200


async def test_deletes_are_forgotten_when_all_edges_have_them(core: Any) -> None:
    """While one has not said so they stay, and it is named; an edge below the floor is told to begin anew."""
    core.clock.sleep = Sleeping(core.clock).sleep
    seq = delete_something(core)
    async with core.serving(QUICK) as client:
        floor = await told(core, client)
        assert (floor["floor"], floor["tombstones"], floor["held_by"]) == (0, 1, "east")
        await say(core, client, "east", f"1.0.{seq}")
        floor = await told(core, client)
        assert (floor["floor"], floor["tombstones"], floor["held_by"]) == (0, 1, "west")
        metrics = (await client.get("/metrics")).text
        assert 'ridethrough_core_floor_held{by="west",shard="0"} 1.0' in metrics
        await say(core, client, "west", f"1.0.{seq - 1}")
        floor = await told(core, client)
        assert (floor["floor"], floor["tombstones"], floor["held_by"]) == (seq - 1, 1, "west")
        await say(core, client, "west", f"1.0.{seq}", "1.7.9", f"{2**70}.0.5", "nonsense")
        floor = await told(core, client)
        assert (floor["floor"], floor["tombstones"], floor["forgotten"]) == (seq, 0, 1)
        params = {"after": seq - 1, "epoch": 1}
        answer = await client.get("/feed/0", params=params, headers=core.node())
        assert (answer.status_code, answer.json()["floor"]) == (410, seq)
        status = (await client.get("/status", headers=core.operator())).json()
    places = {edge["node_id"]: edge["places"] for edge in status["edges"]}
    assert [place["seq"] for place in places["west"]] == [seq]


async def test_what_edges_said_outlives_the_core_and_their_silence_does_not(core: Any) -> None:
    """A core that starts again waits for those who spoke to the one before, for as long as it is set to."""
    core.clock.sleep = Sleeping(core.clock).sleep
    seq = delete_something(core)
    async with core.serving(QUICK) as client:
        await say(core, client, "east", f"1.0.{seq}")
        await say(core, client, "west", "1.0.1")
        await told(core, client)
    async with core.serving(QUICK) as client:
        floor = await told(core, client)
        assert (floor["floor"], floor["held_by"]) == (1, "west")
        core.clock.move(1.5 * DAY_SECONDS)
        await say(core, client, "east", f"1.0.{seq}")
        core.clock.move(DAY_SECONDS)
        floor = await told(core, client)
        assert (floor["floor"], floor["away"], floor["tombstones"]) == (seq, ["west"], 0)
    listed = CliRunner().invoke(main, ["edges", "list", "--data", str(core.data_dir)])
    assert f"seq 1 below the floor {seq}: it begins anew" in listed.output
    as_json = CliRunner().invoke(main, ["edges", "list", "--json", "--data", str(core.data_dir)])
    west = msgspec.json.decode(as_json.output)[1]
    assert (west["node_id"], west["places"][0]["seq"]) == ("west", 1)

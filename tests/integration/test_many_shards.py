"""A core with four shards, an edge that holds them all and one that holds two: real processes, end to end."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cache_sync.shards import SEQS_A_SHARD, shard_of
from failover.node_config import read_config
from tests.integration.edge_fleet import Customer, EdgeFleet, EdgeProcess, wait_until

SHARDS = 4
WEST_HOLDS = ("1", "3")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeFleet]:
    """Run one fleet for all tests of this file."""
    made = EdgeFleet(
        tmp_path_factory.mktemp("shards"),
        accounts=24,
        upstreams={},
        workers=1,
        shards=SHARDS,
        holding={"west": WEST_HOLDS},
    )
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def fleet(running: EdgeFleet) -> EdgeFleet:
    """Return the fleet, whole, whatever the test before did."""
    running.heal()
    return running


def shard_of_login(fleet: EdgeFleet, number: int) -> str:
    """Tell the shard of a customer's account."""
    return shard_of(fleet.customers[number]["account_id"], SHARDS)


def one_in_each(fleet: EdgeFleet) -> dict[str, int]:
    """Choose a customer of each shard."""
    found = {shard_of_login(fleet, number): number for number in range(len(fleet.customers))}
    assert len(found) == SHARDS, "the accounts are in all shards"
    return found


def places(edge: EdgeProcess) -> dict[str, dict[str, Any]]:
    """Ask where an edge stands, by shard."""
    told: dict[str, dict[str, Any]] = edge.status()["shards"]
    return told


def core_status(fleet: EdgeFleet) -> dict[str, Any]:
    """Ask the core as an operator."""
    token = msgspec.json.decode((fleet.core_data / "secrets.json").read_bytes())["operator_token"]
    answer = httpx.get(
        f"http://127.0.0.1:{fleet.core_port}/status",
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
        trust_env=False,
    )
    told: dict[str, Any] = answer.json()
    return told


def test_every_account_is_served_from_its_shard(fleet: EdgeFleet) -> None:
    """Every shard reaches the core's head; a read carries the position of the account's own shard."""
    east, west = fleet.edges
    heads = {shard: place["head"] for shard, place in core_status(fleet)["shards"].items()}
    assert set(heads) == {"0", "1", "2", "3"}
    for edge, held in ((east, set(heads)), (west, set(WEST_HOLDS))):
        wait_until(
            f"{edge.name} is at every head",
            lambda edge=edge, held=held: (
                {  # type: ignore[misc]
                    shard: place["cursor"] for shard, place in places(edge).items()
                }
                == {shard: heads[shard] for shard in held}
            ),
        )
        for shard, place in places(edge).items():
            assert place["cursor"] // SEQS_A_SHARD == int(shard)
            assert (place["phase"], place["lag"]) == ("following", 0)
    for shard, number in one_in_each(fleet).items():
        customer = fleet.customer(number, east)
        answer = customer.client.get("/statements")
        assert answer.json()["items"]
        assert answer.headers["Ridethrough-Position"].split(".")[1] == shard
    metrics = httpx.get(f"{west.url}/metrics", trust_env=False).text
    assert 'ridethrough_edge_shard_cursor{shard="3"}' in metrics
    assert 'ridethrough_edge_shard_cursor{shard="0"}' not in metrics


def test_a_payment_reaches_its_shard_and_every_edge_that_holds_it(fleet: EdgeFleet) -> None:
    """Read your writes across edges, in each shard; the receipt names where the core's decision stands."""
    east, west = fleet.edges
    for shard, number in one_in_each(fleet).items():
        customer = fleet.customer(number, east)
        paid = customer.pay(150)
        assert (paid.status_code, paid.json()["state"]) == (201, "posted"), paid.text
        position = paid.headers["Ridethrough-Position"]
        assert position.split(".")[1] == shard
        if shard in WEST_HOLDS:
            other = fleet.move(customer, west)
            assert other.state(paid.json()["id"]) == "posted"
            wait_until("west has it", lambda other=other, seen=position: not behind(other, seen))  # type: ignore[misc]


def behind(customer: Customer, position: str) -> bool:
    """Tell whether an edge says that a customer has seen more than it shows."""
    headers = {"Ridethrough-Position": position}
    return bool(customer.client.get("/account", headers=headers).json()["catching_up"])


def test_an_account_of_another_node_is_said_to_be_one(fleet: EdgeFleet) -> None:
    """Neither a stranger's nor a wrong password: the token is good, only not here."""
    east, west = fleet.edges
    chosen = one_in_each(fleet)
    elsewhere = fleet.move(fleet.customer(chosen["0"], east), west)
    answer = elsewhere.client.get("/account")
    assert answer.status_code == 421
    assert answer.json()["type"].endswith("not_held_here")
    assert elsewhere.client.get("/payments").status_code == 421
    page = httpx.get(
        f"{west.url}/bills",
        cookies={"ridethrough_session": elsewhere.client.headers["Authorization"].split()[1]},
        trust_env=False,
    )
    assert page.status_code == 421
    assert "another address" in page.text
    assert fleet.customer(chosen["1"], west).client.get("/account").status_code == 200


def test_the_wrong_shard_has_its_name(fleet: EdgeFleet) -> None:
    """A shard that a core or a node does not have is refused as that, and nothing changes."""
    east, west = fleet.edges
    before = places(west)
    for edge, url, shard in (
        (east, f"http://127.0.0.1:{fleet.core_port}", "4"),
        (east, f"http://127.0.0.1:{fleet.core_port}", "zero"),
        (east, f"http://127.0.0.1:{west.feed_port}", "0"),
    ):
        config = read_config(edge.config)
        answer = httpx.get(
            f"{url}/feed/{shard}",
            headers={"Authorization": f"Node {config.node_id}:{config.node_secret}"},
            timeout=10,
            trust_env=False,
        )
        assert answer.status_code == 404
        assert answer.json()["type"].endswith("unknown_shard")
    assert {shard: place["cursor"] for shard, place in places(west).items()} == {
        shard: place["cursor"] for shard, place in before.items()
    }


def test_a_configuration_names_shards_that_there_are(fleet: EdgeFleet, tmp_path: Path) -> None:
    """And the core refuses another number of them than it was made with."""
    command = [sys.executable, "-P", "-m", "core_cis"]
    out = [
        "--core-url",
        "http://127.0.0.1",
        "--port",
        "0",
        "--peer-port",
        "0",
        "--out",
        str(tmp_path / "c"),
    ]
    for words, told in (
        (["edges", "config", "east", "--shard", "4", "--force", *out], "no shard '4'"),
        (["init", "--shards", "2"], "accounts cannot move"),
    ):
        done = subprocess.run(
            [*command, *words, "--data", str(fleet.core_data)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        assert told in done.stderr


def test_without_the_core_every_shard_is_read_and_payments_are_accepted(fleet: EdgeFleet) -> None:
    """Also those of shards that the witness does not hold; they are posted when the core is back."""
    east = fleet.edges[0]
    customers = {
        shard: fleet.customer(number, east) for shard, number in one_in_each(fleet).items()
    }
    for customer in customers.values():
        assert customer.method
    fleet.kill_core()
    paid = {shard: customer.pay(175) for shard, customer in customers.items()}
    assert {answer.json()["state"] for answer in paid.values()} == {"accepted"}
    fleet.start_core()
    for shard, customer in customers.items():
        id_ = paid[shard].json()["id"]
        wait_until(
            f"shard {shard} is posted",
            lambda customer=customer, id_=id_: customer.state(id_) == "posted",  # type: ignore[misc]
        )


def test_a_new_epoch_is_that_of_every_shard(fleet: EdgeFleet) -> None:
    """Edges build each shard anew, and nobody goes back."""
    epoch = core_status(fleet)["epoch"] + 1
    fleet.run_core("epoch", "raise")
    for edge in fleet.edges:
        wait_until(
            f"{edge.name} has built anew",
            lambda edge=edge: {place["epoch"] for place in places(edge).values()} == {epoch},  # type: ignore[misc]
        )
        wait_until("normal", lambda edge=edge: edge.mode() == "normal")  # type: ignore[misc]


def test_every_shard_is_compared(fleet: EdgeFleet) -> None:
    """`edge verify` goes through all that the node holds."""
    west = fleet.edges[1]
    command = [sys.executable, "-P", "-m", "edge_portal", "verify", "--json"]
    done = subprocess.run(
        [*command, "--config", str(west.config), "--data", str(west.data)],
        capture_output=True,
        check=False,
    )
    reports = msgspec.json.decode(done.stdout)["items"]
    assert done.returncode == 0, done.stdout
    assert [report["shard"] for report in reports] == list(WEST_HOLDS)
    assert all(report["compared_rows"] > 0 for report in reports)


def test_an_edge_reads_what_it_was_granted_and_nothing_else(fleet: EdgeFleet) -> None:
    """At the core at once, at its sibling as soon as that has heard, and there without the core too."""
    east, west = fleet.edges
    config = read_config(west.config)
    core, sibling = (f"http://127.0.0.1:{port}" for port in (fleet.core_port, east.feed_port))

    def refused(url: str, path: str) -> list[str]:
        header = {"Authorization": f"Node {config.node_id}:{config.node_secret}"}
        answers = {
            shard: httpx.get(f"{url}/{path}/{shard}", headers=header, timeout=10, trust_env=False)
            for shard in ("0", "1", "2", "3")
        }
        return [
            shard
            for shard, answer in answers.items()
            if answer.status_code == 403 and answer.json()["type"].endswith("wrong_shard")
        ]

    assert refused(core, "feed") == refused(sibling, "feed") == []
    fleet.run_core("edges", "grant", "west", "--shards", ",".join(WEST_HOLDS))
    others = ["0", "2"]
    assert refused(core, "feed") == refused(core, "snapshots") == others
    wait_until("the sibling has heard", lambda: refused(sibling, "feed") == others)
    assert refused(sibling, "snapshots") == others
    # Nothing that it holds is missing: it follows and serves on.
    assert fleet.customer(one_in_each(fleet)["1"], west).pay(125).json()["state"] == "posted"
    assert all(place["phase"] == "following" for place in places(west).values())
    fleet.kill_core()
    east.stop()
    east.start()
    assert refused(sibling, "feed") == refused(sibling, "snapshots") == others
    assert "may read shards 1, 3" in fleet.run_core("edges", "list").stdout
    fleet.run_core("edges", "grant", "west", "--all")
    fleet.start_core()
    wait_until("the sibling has heard", lambda: refused(sibling, "feed") == [])

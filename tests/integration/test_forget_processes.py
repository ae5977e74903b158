"""
A person is forgotten in a running fleet: no byte of theirs is left in any file of the core and of three edges.

One edge is there when it happens, one comes back later and follows on, one comes back so late that its tombstones are
gone and it begins anew. First it is shown that the search finds what it looks for.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import msgspec
import pytest

from cache_sync.clock import SystemClock
from cache_sync.document_table import read_head
from cache_sync.publication import forget_deletes
from cache_sync.sql import write
from cache_sync.sqlite import DatabaseError, connect
from core_cis.store import CoreStore
from failover.node_config import read_config, write_config
from failover.web import authorization_header
from tests.integration.edge_fleet import EdgeFleet, EdgeProcess, wait_until
from tests.integration.utility import PASSWORD, SmallUtility, customer_row

PERSON, ACCOUNT = "C-7", "A-7"
NAME, EMAIL = "Wilhelmina Unforgettable", "wilhelmina@secret.example"
SECRETS = (NAME, EMAIL, "77 Nowhere Else Lane", "Savings ending 7777", "tok_of_wilhelmina")
# A snapshot that was replaced goes after a minute, and files for siblings are looked at once a minute.
GONE_SECONDS = 240.0
NEEDLE_BYTES = 32


class Forgetful(EdgeFleet):
    """A fleet with a customer of its own, who has bills, usage and payments, and owes nothing."""

    def __init__(self, folder: Path) -> None:
        everybody = ["core", "east", "west", "north"]
        upstreams = {name: everybody[: number + 1] for number, name in enumerate(everybody[1:])}
        super().__init__(folder, accounts=3, names=everybody[1:], upstreams=upstreams, workers=1)
        self.east, self.west, self.north = self.edges
        for edge in self.edges:
            config = msgspec.structs.replace(read_config(edge.config), snapshot_documents_min=1)
            write_config(edge.config, config, overwrite=True)
        utility = SmallUtility(self.core_data)
        with closing(utility.store):
            utility.tariff()
            utility.customers(
                customer_row(
                    7,
                    name=NAME,
                    email=EMAIL,
                    address=SECRETS[2],
                    method_label=SECRETS[3],
                    method_token=SECRETS[4],
                    supplied_from="2026-01-01",
                )
            )
            utility.read("2026-01-01", "2026-03-09", service_point_id="SP-7", wh=1234)
            utility.bill("2026-03-05", ACCOUNT)
            utility.pay(
                "office-7", utility.balance(ACCOUNT) - 100, "2026-03-09", account_id=ACCOUNT
            )

    def forget_person(self, *words: str) -> tuple[int, str]:
        """Run the command; return its code and what it says."""
        command = [sys.executable, "-P", "-m", "core_cis", "forget", PERSON, "--json", *words]
        done = subprocess.run(
            [*command, "--data", str(self.core_data)], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def sign_in(self, edge: EdgeProcess) -> httpx.Response:
        """Sign the person in."""
        body = {"email": EMAIL, "password": PASSWORD}
        url = f"{edge.url}/api/v1/session"
        return httpx.post(url, json=body, timeout=30, trust_env=False)

    def have_a_file_cut(self, edge: EdgeProcess, asking: EdgeProcess) -> None:
        """Ask an edge for a snapshot file as its sibling does, until it has one."""
        secret = read_config(asking.config).node_secret
        headers = {"Authorization": authorization_header(asking.name, secret)}
        url = f"http://127.0.0.1:{edge.feed_port}/snapshots/0"

        def offered() -> bool:
            return httpx.get(url, headers=headers, timeout=10, trust_env=False).is_success

        wait_until(f"{edge.name} hands a file out", offered)

    def head(self) -> int:
        """Tell how far the core is."""
        with CoreStore.open(self.core_data, SystemClock()) as store:
            return read_head(store.connection, "0").head

    def follows(self, edge: EdgeProcess) -> bool:
        """Tell whether an edge is at the core's head."""
        return bool(edge.status()["shards"]["0"]["cursor"] >= self.head())

    def needles(self) -> list[bytes]:
        """
        Cut a piece out of the stored bytes of each of the person's documents that stands in nobody else's.

        However a body is stored, these bytes are what is stored. Bills of others count that are published no more, too.
        """
        with CoreStore.open(self.core_data, SystemClock()) as store:
            rows = store.connection.execute(
                "SELECT account_id, body FROM documents WHERE body IS NOT NULL"
            ).fetchall()
            bills = store.connection.execute(
                "SELECT body FROM statements WHERE account_id <> ?", (ACCOUNT,)
            ).fetchall()
        theirs = [body for account_id, body in rows if account_id != ACCOUNT]
        others = b"\0".join(map(bytes, theirs + [body for (body,) in bills]))
        return [cut_of(bytes(body), others) for account_id, body in rows if account_id == ACCOUNT]


def cut_of(body: bytes, others: bytes) -> bytes:
    """Find a piece of a body that is not in others."""
    for begin in range(len(body) - NEEDLE_BYTES):
        piece = body[begin : begin + NEEDLE_BYTES]
        if piece not in others:
            return piece
    raise AssertionError("nothing in it is the person's own")


def found_in(folder: Path, needles: list[bytes]) -> dict[str, list[bytes]]:
    """Name the files below a folder that hold any of some pieces, and which."""
    found = {}
    for path in sorted(folder.rglob("*")):
        try:
            content = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:
            continue
        held = [needle for needle in needles if needle in content]
        if held:
            found[str(path.relative_to(folder))] = held
    return found


def rows_of(folder: Path) -> list[set[str]]:
    """Name the kinds of the person's live documents, for each database below a folder that has documents."""
    found = []
    for path in sorted(folder.rglob("*.db")):
        try:
            with closing(connect(path, synchronous="NORMAL", read_only=True)) as connection:
                rows = connection.execute(
                    "SELECT kind FROM documents WHERE account_id = ? AND body IS NOT NULL",
                    (ACCOUNT,),
                ).fetchall()
        except DatabaseError:
            # A journal has none, and a snapshot that was replaced may go just now.
            continue
        found.append({kind for (kind,) in rows})
    return found


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forgetful]:
    """Run one fleet."""
    made = Forgetful(tmp_path_factory.mktemp("forgetting"))
    try:
        yield made
    finally:
        made.stop()


def test_a_person_is_forgotten_everywhere(fleet: Forgetful) -> None:
    """Books, snapshot files, logs, pages that nobody uses: first all of it is found, then none."""
    fleet.start_core()
    for edge in fleet.edges:
        edge.start()
    wait_until_normal(fleet)
    token = fleet.sign_in(fleet.east).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{fleet.east.url}/api/v1"
    with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
        other = fleet.customer(0, fleet.east)
        before = shown(other.client)
        pay_the_rest(client)
        everything = show_that_all_is_found(fleet)
        fleet.west.stop()
        fleet.north.stop()
        forget_without_those_away(fleet)
        # The core at once, the edge within moments, its files within two minutes.
        assert found_in(fleet.core_data, everything) == {}
        wait_until("east has heard", lambda: fleet.sign_in(fleet.east).status_code == 401)
        assert client.get("/account").status_code == 401
    assert shown(other.client) == before
    # One that was off follows on.
    assert found_in(fleet.west.data, everything)
    come_back(fleet, fleet.west)
    # One that was off until nobody knows the tombstones any more begins anew.
    with CoreStore.open(fleet.core_data, SystemClock()) as store:
        head = read_head(store.connection, "0").head
        with write(store.connection) as connection:
            assert forget_deletes(connection, "0", head) > 0
    assert found_in(fleet.north.data, everything)
    come_back(fleet, fleet.north)
    assert fleet.north.status()["shards"]["0"]["snapshots_built"] >= 1
    for edge in fleet.edges:
        wait_until_clean(edge, everything)
    # Nowhere in the fleet's folder, its logs among it; and the books still equal what edges accepted.
    wait_until_normal(fleet)
    fleet.run_core("snapshot", "build")
    assert found_in(fleet.folder, everything) == {}
    fleet.run_core("reconcile")
    assert fleet.customer(1, fleet.north).client.get("/account").status_code == 200


def wait_until_normal(fleet: Forgetful) -> None:
    """Wait for all edges."""
    for edge in fleet.edges:
        wait_until(f"{edge.name} is normal", lambda edge=edge: edge.mode() == "normal")  # type: ignore[misc]


def pay_the_rest(client: httpx.Client) -> None:
    """Pay through an edge what is still owed."""
    paid = client.post(
        "/payments",
        headers={"Idempotency-Key": "the-last-one"},
        json={"amount": 100, "method_id": "pm-7"},
    )
    assert paid.status_code == 201, paid.text
    wait_until("it is posted", lambda: client.get("/account").json()["balance"] == 0)


def show_that_all_is_found(fleet: Forgetful) -> list[bytes]:
    """Have every kind of file made, and show that the search finds what it looks for; return that."""
    fleet.run_core("snapshot", "build")
    for edge in fleet.edges:
        wait_until(f"{edge.name} follows", lambda edge=edge: fleet.follows(edge))  # type: ignore[misc]
    fleet.have_a_file_cut(fleet.east, fleet.west)
    fleet.have_a_file_cut(fleet.west, fleet.north)
    secrets, documents = [secret.encode() for secret in SECRETS], fleet.needles()
    assert len(documents) >= 7
    for secret in secrets:
        assert found_in(fleet.core_data, [secret]), secret
    for edge in fleet.edges:
        assert all(found_in(edge.data, [piece]) for piece in documents)
        assert {"account", "credential", "payment", "statement", "usage"} in rows_of(edge.data)
    of_core = found_in(fleet.core_data, documents)
    assert any(name.startswith("snapshots/0/files/") for name in of_core)
    assert any(name.startswith("snapshots/0/replica/") for name in of_core)
    assert any(name.startswith("handed-out/") for name in found_in(fleet.east.data, documents))
    return secrets + documents


def forget_without_those_away(fleet: Forgetful) -> None:
    """An edge that does not answer is in the way, until the operator says that it is only away."""
    code, told = fleet.forget_person("--yes")
    assert code == 1, told
    obstacles = msgspec.json.decode(told)["obstacles"]
    assert {each["kind"] for each in obstacles} == {"edge_silent"}
    assert fleet.sign_in(fleet.east).status_code == 201
    without = ("--without-edge", "west", "--without-edge", "north")
    assert msgspec.json.decode(fleet.forget_person(*without)[1])["result"] == "preview"
    code, told = fleet.forget_person("--yes", *without)
    assert code == 0, told
    (tombstones,) = msgspec.json.decode(told)["withdrawn"]
    assert tombstones["documents"] >= 7


def come_back(fleet: Forgetful, edge: EdgeProcess) -> None:
    """Start an edge, and wait until it is where the core is; the person cannot sign in there."""
    edge.start()
    wait_until(f"{edge.name} follows", lambda: fleet.follows(edge))
    assert fleet.sign_in(edge).status_code == 401


def wait_until_clean(edge: EdgeProcess, everything: list[bytes]) -> None:
    """Wait until no file of an edge holds anything, in whatever bytes, and no row is left."""
    wait_until(f"{edge.name} is clean", lambda: not found_in(edge.data, everything), GONE_SECONDS)
    assert rows_of(edge.data)
    assert not any(rows_of(edge.data))


def shown(client: httpx.Client) -> dict[str, object]:
    """Ask for an account, without what says how fresh it is."""
    account = client.get("/account").json()
    return {name: account[name] for name in ("account_id", "balance", "payment_methods")}

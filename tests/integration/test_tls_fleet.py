"""A fleet whose nodes speak TLS with certificates on both sides: it does all it does without, and strangers nothing."""

import asyncio
import re
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Self

import httpx
import msgspec
import pytest

from cache_sync.clock import SystemClock
from chaos.faults import Cut, Lease
from chaos.proxy import FaultProxy, open_listener
from core_cis.authority import issue_certificate, make_authority
from core_cis.keys import CoreKeys, load_keys
from failover.node_config import EdgeConfig, NodeTls, read_config, write_config
from failover.node_tls import client_context, node_name
from failover.web import authorization_header
from tests.integration.edge_fleet import EdgeFleet, EdgeProcess, free_ports, wait_until


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeFleet]:
    """Run one fleet for all tests of this file; west has its documents from east."""
    fleet = EdgeFleet(
        tmp_path_factory.mktemp("fleet"),
        upstreams={"east": [], "west": ["east", "core"]},
        workers=1,
        tls=True,
        snapshot_documents=1,
    )
    try:
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def fleet(running: EdgeFleet) -> EdgeFleet:
    """Return the fleet, whole and in normal mode whatever the test before did."""
    running.heal()
    return running


def peer_url(fleet: EdgeFleet, name: str) -> str:
    """Tell where an edge's siblings reach it."""
    (other,) = [edge for edge in fleet.edges if edge.name != name]
    (peer,) = read_config(other.config).peers
    return peer.url


def listeners(fleet: EdgeFleet) -> dict[str, tuple[str, str]]:
    """Tell what to ask of each listener, and who must answer."""
    return {
        "core": (f"{fleet.core_url}/probe", "core"),
        "peer": (f"{peer_url(fleet, 'east')}/peer/v1/hello", "east"),
        "feed": (f"https://127.0.0.1:{fleet.edges[0].feed_port}/feed/0/standing", "east"),
    }


def call(
    url: str, tls: NodeTls | None, config: EdgeConfig, name: str, *, secret: str = ""
) -> httpx.Response:
    """Call a node as an edge, with any certificate."""
    context: Any = client_context(tls) if tls else insecure()
    with httpx.Client(verify=context, trust_env=False, timeout=10) as client:
        return client.get(
            url,
            headers={
                "Authorization": authorization_header(config.node_id, secret or config.node_secret)
            },
            extensions={"sni_hostname": node_name(name)},
        )


def insecure() -> ssl.SSLContext:
    """Return what trusts everybody and shows nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_a_fleet_does_over_tls_what_it_does_without(fleet: EdgeFleet) -> None:
    """Reads, payments, the core's death, a witness's copy, the drain, and the books afterwards."""
    east, west = fleet.edges
    customer = fleet.customer(0, east)
    assert customer.pay(101).json()["state"] == "posted"
    wait_until("told the way", lambda: west.status()["feed_path"] == ["east", "core"])
    wait_until("greeted", lambda: east.status()["witnesses"] == {"west": True})
    fleet.kill_core()
    accepted = customer.pay(102)
    assert accepted.status_code == 202
    assert accepted.json()["state"] == "accepted"
    wait_until("copied", lambda: west.status()["queue"]["copies_held"] == 1)
    fleet.start_core()
    wait_until("posted", lambda: customer.state(accepted.json()["id"]) == "posted")
    wait_until("normal", lambda: east.mode() == "normal")
    amounts = [entry["amount"] for entry in fleet.posted(customer.account_id)]
    assert sorted(amounts) == [-102, -101]
    assert '"result":"equal"' in fleet.run_core("reconcile", "--json").stdout


def test_a_node_begins_anew_from_a_snapshot_file(fleet: EdgeFleet) -> None:
    """Downloaded from the core; without the core it has its documents from the sibling."""
    east, west = fleet.edges
    wait_until("built", lambda: any((fleet.core_data / "snapshots").rglob("*.json")))
    east.stop()
    fleet.forget(east)
    since = east.log.stat().st_size
    east.start()
    assert "snapshot file" in log_of(east, since)
    assert fleet.customer(1, east).client.get("/statements").status_code == 200
    fleet.kill_core()
    west.stop()
    fleet.forget(west)
    west.start()
    assert west.status()["upstream"] == "east"
    assert fleet.customer(1, west).client.get("/statements").status_code == 200


def test_a_node_begins_anew_from_a_siblings_snapshot_file(fleet: EdgeFleet) -> None:
    """The core is away: the sibling cuts a file, and the whole of it comes over TLS."""
    east, west = fleet.edges
    before = east.config.read_bytes()
    east.stop()
    rewritten(east, snapshot_documents_min=1)
    try:
        east.start()
        fleet.kill_core()
        west.stop()
        fleet.forget(west)
        of_east, of_west = east.log.stat().st_size, west.log.stat().st_size
        west.start()
        assert "snapshot file cut" in log_of(east, of_east)
        assert "from byte 0" in log_of(west, of_west)
        assert "refused a snapshot file" not in log_of(west, of_west)
        assert fleet.customer(1, west).client.get("/statements").status_code == 200
    finally:
        east.stop()
        east.config.write_bytes(before)


class CutLink:
    """A fault proxy on the way to a port of this machine, in a thread of its own."""

    def __init__(self, target: int) -> None:
        (self.port,) = free_ports(1)
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._proxy.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Lose every byte from now on, both ways."""
        self._loop.call_soon_threadsafe(self._lease.take, Cut(ttl_seconds=CUT_SECONDS))

    def heal(self) -> None:
        """Let them pass again."""
        self._loop.call_soon_threadsafe(self._lease.heal)

    async def _open(self) -> None:
        listener = open_listener("127.0.0.1", self.port)
        self._proxy = FaultProxy(listener, ("127.0.0.1", self._target), Random(1))
        self._lease = Lease(self._proxy.follow)
        self._proxy.lie_on(self._lease)
        self._proxy.start()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


def test_a_cut_link_heals(fleet: EdgeFleet) -> None:
    """Payments are taken while every byte to the core is lost, and posted once when they pass again."""
    east, west = fleet.edges
    before = east.config.read_bytes()
    with CutLink(fleet.core_port) as link:
        east.stop()
        rewritten(east, core_url=f"https://127.0.0.1:{link.port}")
        try:
            east.start()
            wait_until("normal", lambda: east.mode() == "normal")
            wait_until("greeted", lambda: east.status()["witnesses"] == {"west": True})
            customer = fleet.customer(4, east)
            assert customer.pay(401).json()["state"] == "posted"
            link.cut()
            wait_until("degraded", lambda: east.mode() == "degraded")
            assert west.mode() == "normal"
            accepted = customer.pay(402).json()
            assert accepted["state"] == "accepted"
            link.heal()
            wait_until("posted", lambda: customer.state(accepted["id"]) == "posted")
            wait_until("normal", lambda: east.mode() == "normal")
            amounts = [entry["amount"] for entry in fleet.posted(customer.account_id)]
            assert sorted(amounts) == [-402, -401]
        finally:
            east.stop()
            east.config.write_bytes(before)


def test_operators_have_a_port_of_their_own(fleet: EdgeFleet) -> None:
    """Their token opens nothing at the nodes' port, a node's secret nothing at theirs."""
    config = read_config(fleet.edges[0].config)
    token = load_keys(fleet.core_data).operator_token
    operators = f"http://127.0.0.1:{fleet.operator_port}"
    bearer = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{operators}/status", headers=bearer, trust_env=False).status_code == 200
    header = {"Authorization": authorization_header(config.node_id, config.node_secret)}
    for path in ("/probe", "/feed/0", "/snapshots/0", "/archive/accounts/A/statements/S"):
        refused = httpx.get(f"{operators}{path}", headers=header, trust_env=False)
        assert (refused.status_code, refused.json()["type"]) == (403, WRONG_LISTENER)
    assert config.tls is not None
    with httpx.Client(verify=client_context(config.tls), trust_env=False) as client:
        names = {"sni_hostname": node_name("core")}
        for path in ("/status", "/intents/x", "/accounts/A/ledger", "/ops", "/metrics", "/schema"):
            refused = client.get(f"{fleet.core_url}{path}", headers=bearer, extensions=names)
            assert (refused.status_code, refused.json()["type"]) == (403, WRONG_LISTENER)


CUT_SECONDS = 120.0
WRONG_LISTENER = "urn:ridethrough:problem:wrong_listener"
Certificate = Callable[[CoreKeys], NodeTls | None]


def expired(keys: CoreKeys) -> NodeTls:
    """Make a certificate of the fleet that was good once."""
    then = SystemClock().now() - timedelta(days=1000)
    return issue_certificate(keys.authority_key, keys.authority, "east", now=then, days=500)


def of_another_authority(keys: CoreKeys) -> NodeTls:
    """Make a certificate of another fleet, trusting this one's."""
    made = issue_certificate(*make_authority(), "east", now=SystemClock().now())
    return msgspec.structs.replace(made, authority=keys.authority)


def none(_: CoreKeys) -> None:
    """Make no certificate."""


@pytest.mark.parametrize("certificate", [expired, of_another_authority, none])
@pytest.mark.parametrize("listener", ["core", "peer", "feed"])
def test_without_a_certificate_of_the_fleet_nobody_is_heard(
    fleet: EdgeFleet, certificate: Certificate, listener: str
) -> None:
    """The right secret does not help; with the right certificate it does."""
    keys, config = load_keys(fleet.core_data), read_config(fleet.edges[1].config)
    url, name = listeners(fleet)[listener]
    with pytest.raises((ssl.SSLError, httpx.TransportError)):
        call(url, certificate(keys), config, name)
    assert call(url, config.tls, config, name).status_code == 200
    assert call(url, config.tls, config, name, secret="wrong").status_code == 401


@pytest.mark.parametrize("listener", ["core", "peer", "feed"])
def test_a_stolen_secret_needs_its_own_certificate(fleet: EdgeFleet, listener: str) -> None:
    """With another edge's, which is good for that edge, it opens nothing; the core's certificate is no master key."""
    east, west = (read_config(edge.config) for edge in fleet.edges)
    url, name = listeners(fleet)[listener]
    keys = load_keys(fleet.core_data)
    others = [east.tls, keys.certify("core", SystemClock().now())]
    for certificate in others:
        refused = call(url, certificate, west, name)
        assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (
            403,
            "wrong_certificate",
        )
    assert call(url, west.tls, west, name).status_code == 200


@pytest.mark.parametrize("listener", ["core", "peer", "feed"])
def test_plain_http_is_not_answered(fleet: EdgeFleet, listener: str) -> None:
    """Not a byte of HTTP comes back."""
    url = {
        "core": fleet.core_url,
        "peer": peer_url(fleet, "east"),
        "feed": f"https://127.0.0.1:{fleet.edges[0].feed_port}",
    }[listener]
    with pytest.raises(httpx.TransportError):
        httpx.get(url.replace("https:", "http:") + "/healthz", trust_env=False)


def rewritten(edge: EdgeProcess, **changes: object) -> None:
    """Change an edge's file."""
    config: Any = msgspec.structs.replace(read_config(edge.config), **changes)
    write_config(edge.config, config, overwrite=True)


def log_of(edge: EdgeProcess, since: int) -> str:
    """Return what an edge has logged since."""
    return edge.log.read_bytes()[since:].decode()


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [(expired, "certificate expired"), (of_another_authority, "unknown ca")],
)
def test_an_edge_whose_certificate_is_refused_says_why_and_serves_on(
    fleet: EdgeFleet, certificate: Certificate, reason: str
) -> None:
    """It shows what it holds, degraded; with the right certificate all is well again."""
    east = fleet.edges[0]
    before = east.config.read_bytes()
    east.stop()
    since = east.log.stat().st_size
    rewritten(east, tls=certificate(load_keys(fleet.core_data)))
    try:
        east.start()
        customer = fleet.customer(2, east)
        assert customer.client.get("/statements").status_code == 200
        wait_until("told", lambda: reason in log_of(east, since))
        assert "no TLS with a node" in log_of(east, since)
        assert east.mode() == "degraded"
        assert east.status()["core_silence_seconds"] is None
    finally:
        east.stop()
        east.config.write_bytes(before)


def test_a_sibling_does_not_pass_for_the_core(fleet: EdgeFleet, tmp_path: Path) -> None:
    """The address may be anybody's: what counts is the name in the certificate."""
    east = fleet.edges[0]
    before = east.config.read_bytes()
    east.stop()
    since = east.log.stat().st_size
    rewritten(east, core_url=f"https://127.0.0.1:{fleet.edges[1].feed_port}")
    try:
        east.start()
        wait_until("told", lambda: "Hostname mismatch" in log_of(east, since))
        assert node_name("core") in log_of(east, since)
        assert east.mode() == "degraded"
    finally:
        east.stop()
        east.config.write_bytes(before)


def test_status_and_metrics_tell_until_when_the_certificate_is_good(fleet: EdgeFleet) -> None:
    """In days, so that it can be renewed in time."""
    east = fleet.edges[0]
    status = east.status()
    assert 823 < status["certificate_days"] <= 825
    metrics = httpx.get(f"{east.url}/metrics", trust_env=False).text
    assert "ridethrough_edge_certificate_days 82" in metrics


def test_the_core_tells_of_its_certificate_and_of_whom_it_refused(fleet: EdgeFleet) -> None:
    """In status and metrics; the log says so once a minute at most, however many knock."""
    operators = f"http://127.0.0.1:{fleet.operator_port}"
    bearer = {"Authorization": f"Bearer {load_keys(fleet.core_data).operator_token}"}

    def status() -> dict[str, Any]:
        told: dict[str, Any] = httpx.get(
            f"{operators}/status", headers=bearer, trust_env=False
        ).json()
        return told

    before, since = status(), (fleet.folder / "core.log").stat().st_size
    assert 823 < before["certificate_days"] <= 825
    config = read_config(fleet.edges[0].config)
    for _ in range(5):
        with pytest.raises((ssl.SSLError, httpx.TransportError)):
            call(f"{fleet.core_url}/probe", None, config, "core")
    wait_until(
        "counted", lambda: status()["handshakes_refused"] >= before["handshakes_refused"] + 5
    )
    metrics = httpx.get(f"{operators}/metrics", trust_env=False).text
    assert f"ridethrough_core_handshakes_refused {float(status()['handshakes_refused'])}" in metrics
    assert "ridethrough_core_certificate_days 82" in metrics
    logged = (fleet.folder / "core.log").read_bytes()[since:].decode()
    assert logged.count("callers were refused") <= 1


@pytest.mark.parametrize("door", ["peer", "feed"])
def test_an_edge_counts_whom_it_refused(fleet: EdgeFleet, door: str) -> None:
    """By the door, of all its processes together, in the metrics that any worker tells."""
    east = fleet.edges[0]

    def refused() -> float:
        metrics = httpx.get(f"{east.url}/metrics", trust_env=False).text
        found = re.search(
            rf'^ridethrough_edge_handshakes_refused_total{{door="{door}"}} (.+)$',
            metrics,
            re.MULTILINE,
        )
        assert found is not None
        return float(found[1])

    before = refused()
    url, name = listeners(fleet)[door]
    for _ in range(3):
        with pytest.raises((ssl.SSLError, httpx.TransportError)):
            call(url, None, read_config(fleet.edges[1].config), name)
    wait_until("counted", lambda: refused() == before + 3)


def test_a_revoked_edge_is_refused_by_its_siblings_too(fleet: EdgeFleet) -> None:
    """At once by the core; by siblings as soon as they hear of it, and without the core; its copies are delivered."""
    east, west = fleet.edges
    customer = fleet.customer(3, east)
    wait_until("greeted", lambda: east.status()["witnesses"] == {"west": True})
    fleet.kill_core()
    accepted = customer.pay(303)
    assert accepted.json()["state"] == "accepted"
    east.stop()
    config = read_config(east.config)
    hello = f"{peer_url(fleet, 'west')}/peer/v1/hello"
    standing = f"https://127.0.0.1:{west.feed_port}/feed/0/standing"
    for url in (hello, standing):
        assert call(url, config.tls, config, "west").status_code == 200
    fleet.run_core("edges", "revoke", "east")
    fleet.start_core()
    assert call(f"{fleet.core_url}/probe", config.tls, config, "core").status_code == 401
    for url in (hello, standing):
        wait_until(
            "refused",
            lambda u=url: call(u, config.tls, config, "west").status_code == 401,  # type: ignore[misc]
        )
    posted = fleet.posted
    wait_until("posted", lambda: [e["amount"] for e in posted(customer.account_id)] == [-303])
    fleet.kill_core()
    west.stop()
    west.start()
    for url in (hello, standing):
        assert call(url, config.tls, config, "west").status_code == 401

"""What a node answers to those who ask it for documents: the same problems as the core, and a few of its own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cache_sync.digests import DigestQuestion
from cache_sync.frames import decode_frame
from cache_sync.standing import decode_standing
from edge_portal.errors import ConfigError
from edge_portal.feeder import Feeds, feeder_app
from edge_portal.links import Links
from edge_portal.settings import EdgeKeys, EdgePaths, EdgeSettings
from edge_portal.upstream_clients import CoreUpstream, SiblingUpstream, upstreams_of
from failover.digest_route import decode_answer
from failover.grants import Grants
from failover.node_config import EdgeConfig, PeerConfig, Utility
from failover.revocations import Revocations
from failover.signing import secret_hash
from failover.web import NodeKeys, authorization_header
from tests.unit.cache_sync.feed_world import Core, DirectClient, FakeClock
from tests.unit.cache_sync.tree_world import Node

SECRETS = {"east": "s-east", "west": "s-west"}
CONFIG = EdgeConfig(
    node_id="me",
    node_secret="mine",
    signing_key="",
    core_url="http://core",
    core_secret_sha256="",
    session_key="",
    form_key="",
    lookup_key="",
    port=0,
    peer_port=0,
    utility=Utility(name="Test Light"),
    peers=[
        PeerConfig(
            node_id=name,
            url=f"http://{name}",
            public_key="",
            secret_sha256=secret_hash(secret),
            feed_url=f"http://{name}:7000" if name == "east" else "",
        )
        for name, secret in SECRETS.items()
    ],
)
READERS_MAX = 3


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that is turned by hand."""
    return FakeClock()


@pytest.fixture
async def core(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Core]:
    """Return a core with a few documents."""
    made = Core(tmp_path / "core.db", clock)
    made.fill(9)
    yield made
    await made.close()


@pytest.fixture
async def node(core: Core, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Node]:
    """Return what follows the core into this node's snapshot folder."""
    made = Node(tmp_path / "data" / "snapshot", DirectClient(core), clock, 1)
    yield made
    await made.close()


@pytest.fixture
async def feeds(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Feeds]:
    """Return the feeds of this node."""
    settings = EdgeSettings(CONFIG, EdgePaths(tmp_path / "data"), EdgeKeys(b"", b"", b""))
    made = Feeds(settings, clock=clock, readers_max=READERS_MAX)
    yield made
    await made.close()


@pytest.fixture
async def client(feeds: Feeds, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Return the client of a sibling in good standing; `west` was expelled."""
    (tmp_path / "data").mkdir(exist_ok=True)
    revoked = Revocations(tmp_path / "data")
    revoked.note(["west"])
    keys = NodeKeys(revoked.among({peer.node_id: peer.secret_sha256 for peer in CONFIG.peers}))
    app: Any = feeder_app(feeds, keys, Grants(tmp_path / "data", {}))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://me",
        headers={"Authorization": authorization_header("east", SECRETS["east"])},
    ) as made:
        yield made


def slug(answer: httpx.Response) -> str:
    """Return what a problem is called."""
    assert answer.headers["content-type"].startswith("application/problem+json")
    return str(answer.json()["type"]).rpartition(":")[2]


async def test_documents_are_passed_on(node: Node, client: httpx.AsyncClient) -> None:
    """Rows after a cursor, a heartbeat at the head, and where this node stands."""
    await node.step_until("following")
    answer = await client.get("/feed/0", params={"after": 3, "epoch": 1})
    assert answer.headers["content-type"] == "application/vnd.ridethrough.frame+msgpack"
    frame = decode_frame(answer.content)
    assert ([row.seq for row in frame.rows], frame.barrier) == ([4, 5, 6, 7, 8, 9], True)
    answer = await client.get("/feed/0", params={"after": 9, "epoch": 1, "wait": 0.01})
    assert decode_frame(answer.content).count == 0
    assert decode_standing((await client.get("/feed/0/standing")).content).cursor == 9


@pytest.mark.parametrize(
    ("path", "params", "status", "name", "members"),
    [
        ("/feed/0", {"after": 10, "epoch": 1}, 409, "behind", {"epoch": 1, "head": 9}),
        ("/feed/0", {"after": 2, "epoch": 2}, 409, "behind", {"epoch": 1, "head": 9}),
        ("/feed/7", {"after": 0}, 404, "unknown_shard", {}),
        ("/feed/7/standing", {}, 404, "unknown_shard", {}),
        ("/feed/0", {"after": -1}, 400, "bad_request", {}),
        ("/feed/0", {"after": "x"}, 400, "bad_request", {}),
        ("/feed/0", {"limit": 0}, 400, "bad_request", {}),
        ("/feed", {}, 404, "not_found", {}),
    ],
)
async def test_named_problems(
    node: Node,
    client: httpx.AsyncClient,
    path: str,
    params: dict[str, str],
    status: int,
    name: str,
    members: dict[str, int],
) -> None:
    """A node that is not as far says so, which the core never does; the rest is as at the core."""
    await node.step_until("following")
    answer = await client.get(path, params=params)
    assert (answer.status_code, slug(answer)) == (status, name)
    assert members.items() <= answer.json().items()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/feed/0"),
        ("GET", "/feed/0/standing"),
        ("POST", "/digests/0"),
        ("GET", "/snapshots/0"),
        ("GET", "/snapshots/0/some-file"),
    ],
)
async def test_a_sibling_reads_what_it_was_granted(
    node: Node, client: httpx.AsyncClient, tmp_path: Path, method: str, path: str
) -> None:
    """As the agent beside wrote down what the core said last; the node's own file no longer counts then."""
    await node.step_until("following")
    allowed = (await client.request(method, path)).status_code
    assert allowed != 403
    agent = Grants(tmp_path / "data", {})
    agent.note({"east": "1,3", "west": "0"})
    refused = await client.request(method, path)
    assert (refused.status_code, slug(refused)) == (403, "wrong_shard")
    agent.note({"east": "0,3"})
    assert (await client.request(method, path)).status_code == allowed


async def test_another_epoch_and_the_floor(
    core: Core, node: Node, client: httpx.AsyncClient
) -> None:
    """Are told with what the asker needs to know."""
    await node.step_until("following")
    core.commit([(("account-1", "payment", "p"), None)])
    await node.step()
    core.forget(core.head)
    await node.step()
    answer = await client.get("/feed/0", params={"after": 5, "epoch": 1})
    assert (answer.status_code, slug(answer), answer.json()["floor"]) == (410, "below_floor", 10)
    core.enter_epoch(2)
    await node.step_until_built(2)
    answer = await client.get("/feed/0", params={"after": 10, "epoch": 1})
    assert (answer.status_code, slug(answer), answer.json()["epoch"]) == (409, "epoch_changed", 2)


@pytest.mark.parametrize("path", ["/feed/0", "/feed/0/standing"])
async def test_before_the_first_snapshot(client: httpx.AsyncClient, path: str) -> None:
    """503, to be asked again."""
    answer = await client.get(path)
    assert (answer.status_code, slug(answer)) == (503, "feed_unavailable")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer x",
        authorization_header("east", "wrong"),
        authorization_header("nobody", SECRETS["east"]),
        authorization_header("core", ""),
        authorization_header("west", SECRETS["west"]),
    ],
    ids=["none", "empty", "scheme", "secret", "unknown", "core", "expelled"],
)
@pytest.mark.parametrize("path", ["/feed/0", "/feed/0/standing", "/feed/9"])
async def test_who_is_refused(
    node: Node, client: httpx.AsyncClient, header: str | None, path: str
) -> None:
    """Who is no sibling, and a sibling that the core has expelled since this node's file was written."""
    await node.step_until("following")
    del client.headers["Authorization"]
    answer = await client.get(path, headers={} if header is None else {"Authorization": header})
    assert (answer.status_code, slug(answer)) == (401, "not_a_known_node")


async def test_a_bounded_number_of_readers(node: Node, client: httpx.AsyncClient) -> None:
    """Those beyond are told at once to come again; when one is answered there is room."""
    await node.step_until("following")
    at_head = {"after": 9, "epoch": 1, "wait": 0.3}
    waiting = [
        asyncio.create_task(client.get("/feed/0", params=at_head)) for _ in range(READERS_MAX)
    ]
    await asyncio.sleep(0.05)
    for path in ("/feed/0", "/feed/0/standing"):
        answer = await client.get(path)
        assert (answer.status_code, slug(answer)) == (503, "too_many_readers")
        assert answer.headers["retry-after"] == "1"
    assert {(await one).status_code for one in waiting} == {200}
    assert (await client.get("/feed/0/standing")).status_code == 200


async def test_digests_are_answered(core: Core, node: Node, client: httpx.AsyncClient) -> None:
    """As at the core: a node compares itself with the one that it follows."""
    await node.step_until("following")

    async def ask(shard: str, **changes: object) -> httpx.Response:
        asked = DigestQuestion(epoch=1, at=9, bounds=[""], closed=False)
        question = msgspec.structs.replace(asked, **changes)
        return await client.post(f"/digests/{shard}", content=msgspec.msgpack.encode(question))

    answer = decode_answer((await ask("0")).content)
    (digest,) = answer.digests
    assert (answer.epoch, answer.head, digest.rows) == (1, 9, 9)
    refused = await ask("0", at=10)
    assert (refused.status_code, slug(refused)) == (409, "not_comparable")
    unknown = await ask("3")
    assert (unknown.status_code, slug(unknown)) == (404, "unknown_shard")


def test_whom_an_edge_asks() -> None:
    """The core first, then the siblings that pass documents on; or whom its file names, in that order."""
    assert [upstream.name for upstream in upstreams_of(Links(CONFIG), "0")] == ["core", "east"]
    named = msgspec.structs.replace(CONFIG, upstreams=["east", "core", "east"])
    east, core = upstreams_of(Links(named), "0")
    assert isinstance(east, SiblingUpstream)
    assert isinstance(core, CoreUpstream)
    assert (east.relays, core.relays) == (True, False)
    for unknown in ("west", "north", "me"):
        with pytest.raises(ConfigError, match=unknown):
            upstreams_of(Links(msgspec.structs.replace(CONFIG, upstreams=[unknown])), "0")

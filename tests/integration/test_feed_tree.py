"""Edges that feed edges, as real processes: upstreams die and freeze, the core is away, and no label lies."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import httpx
import msgspec
import pytest

from cache_sync.errors import FeedUnavailable
from cache_sync.frames import Frame
from edge_portal.feeder import READERS_MAX
from edge_portal.links import Links
from edge_portal.upstream_clients import SiblingUpstream
from failover.node_config import read_config, write_config
from tests.integration.edge_fleet import (
    EdgeFleet,
    EdgeProcess,
    children_of,
    free_ports,
    wait_until,
)

UPSTREAMS = {"root": ["core"], "left": ["root", "core", "right"], "right": ["root", "left"]}


class Tree(EdgeFleet):
    """Core, root, and two nodes that ask the root for documents."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, names=list(UPSTREAMS), upstreams=UPSTREAMS, workers=1)
        self.root, self.left, self.right = self.edges
        self._changes = 0

    def change(self) -> None:
        """Have the core publish something."""
        self._changes += 1
        secret = self.folder / "password"
        secret.write_text(f"a new passphrase {self._changes}")
        email = self.customers[-1]["email"]
        self.run_core("set-password", email, "--password-file", str(secret))

    def follow_only(self, edge: EdgeProcess, names: Sequence[str]) -> None:
        """Write down whom an edge asks; it must be started again."""
        config = msgspec.structs.replace(read_config(edge.config), upstreams=list(names))
        write_config(edge.config, config, overwrite=True)

    def restart(self, edge: EdgeProcess, names: Sequence[str]) -> None:
        """Start an edge again that asks others."""
        edge.stop()
        self.follow_only(edge, names)
        edge.start()


def shard(edge: EdgeProcess) -> dict[str, int]:
    """Ask where an edge stands."""
    told: dict[str, int] = edge.status()["shards"]["0"]
    return told


def cursor_of(edge: EdgeProcess) -> int:
    """Ask how far an edge is."""
    return shard(edge)["cursor"]


def path_of(edge: EdgeProcess) -> list[str]:
    """Ask through whom an edge's documents come."""
    path: list[str] = edge.status()["feed_path"]
    return path


def as_of(edge: EdgeProcess) -> datetime:
    """Ask for an edge's as-of time."""
    return datetime.fromisoformat(edge.status()["as_of"])


@contextlib.contextmanager
def frozen(edge: EdgeProcess) -> Iterator[None]:
    """Stop every process of an edge, the supervisor first so that it replaces none."""
    pids = children_of(edge)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    """Run one tree for all tests of this file."""
    tree = Tree(tmp_path_factory.mktemp("tree"))
    try:
        yield tree
    finally:
        tree.stop()


@pytest.fixture
def tree(running: Tree) -> Tree:
    """Return the tree, whole, whatever the test before did."""
    running.heal()
    return running


def stands(tree: Tree) -> bool:
    """Tell whether both nodes ask the root, and the root the core."""
    return all(path_of(edge) == ["root", "core"] for edge in (tree.left, tree.right))


def follows_core(tree: Tree, edge: EdgeProcess) -> None:
    """Wait until an edge has what the core has published only now."""
    before = cursor_of(edge)
    tree.change()
    wait_until(f"{edge.name} has the change", lambda: cursor_of(edge) > before)


def test_documents_come_down_the_tree(tree: Tree) -> None:
    """A change reaches every node, in normal mode, with labels that are as old as the root's at least."""
    wait_until("the tree stands", lambda: stands(tree))
    follows_core(tree, tree.right)
    wait_until("all have it", lambda: len({cursor_of(edge) for edge in tree.edges}) == 1)
    assert {edge.mode() for edge in tree.edges} == {"normal"}
    for edge in (tree.left, tree.right):
        told = edge.status()
        assert (told["upstream"], told["feed"]) == ("root", "following")
        assert 0 < told["lag_seconds"] < 5
    metrics = httpx.get(f"{tree.left.url}/metrics", trust_env=False).text
    assert 'ridethrough_edge_upstream{node="root"} 1.0' in metrics
    assert "ridethrough_edge_feed_hops 2.0" in metrics


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_dead_or_frozen_upstream_is_left(tree: Tree, how: str) -> None:
    """Its followers turn to the core, or to each other, and go on; later they return to it."""
    wait_until("the tree stands", lambda: stands(tree))
    with contextlib.ExitStack() as stack:
        if how == "killed":
            tree.root.stop(signal.SIGKILL)
        else:
            stack.enter_context(frozen(tree.root))
        wait_until("left turns to the core", lambda: path_of(tree.left) == ["core"])
        wait_until("right turns to left", lambda: path_of(tree.right) == ["left", "core"])
        follows_core(tree, tree.right)
        assert cursor_of(tree.left) >= cursor_of(tree.right)


def test_without_the_core_every_label_grows_older(tree: Tree) -> None:
    """Nodes that answer each other in milliseconds make nothing fresh: T stands still and the ages grow."""
    tree.kill_core()
    wait_until("nobody hears news", lambda: all(
        edge.status()["feed"] == "disconnected" for edge in tree.edges
    ))  # fmt: skip
    before = {edge.name: edge.status() for edge in tree.edges}
    killed = max(datetime.fromisoformat(told["as_of"]) for told in before.values())
    then = before["left"]["lag_seconds"] + 3
    wait_until("time passes", lambda: tree.left.status()["lag_seconds"] > then)
    for edge in tree.edges:
        told = edge.status()
        assert datetime.fromisoformat(told["as_of"]) <= killed
        assert told["lag_seconds"] >= before[edge.name]["lag_seconds"] + 2
        assert told["mode"] == "degraded"


def test_an_older_epoch_is_left_behind_through_a_sibling(tree: Tree) -> None:
    """A node that slept through the beginning of an epoch gets it from a sibling, and never goes back."""
    edge = tree.right
    edge.stop()
    epoch = shard(tree.root)["epoch"]
    tree.run_core("epoch", "raise")
    wait_until("the root is there", lambda: shard(tree.root)["epoch"] == epoch + 1)
    wait_until("left is there", lambda: shard(tree.left)["epoch"] == epoch + 1)
    tree.kill_core()
    edge.start()
    wait_until("right is there", lambda: shard(edge)["epoch"] == epoch + 1)
    assert cursor_of(edge) == cursor_of(tree.root)


def asked(tree: Tree, node: str, secret: str, path: str = "standing") -> httpx.Response:
    """Ask the root's feed as a node."""
    return httpx.get(
        f"http://127.0.0.1:{tree.root.feed_port}/feed/0/{path}",
        headers={"Authorization": f"Node {node}:{secret}"},
        timeout=10,
        trust_env=False,
    )


def test_only_siblings_may_ask(tree: Tree) -> None:
    """The right secret of the right node; others learn nothing."""
    secret = read_config(tree.left.config).node_secret
    assert asked(tree, "left", secret).status_code == 200
    for node, wrong in (("right", secret), ("left", "x"), ("nobody", secret), ("core", secret)):
        answer = asked(tree, node, wrong)
        assert answer.status_code == 401
        assert answer.json()["type"].endswith("not_a_known_node")


async def test_fifty_nodes_follow_one(tree: Tree) -> None:
    """Every one gets every change; those beyond the bound are told to come again, and disturb nobody."""
    config = read_config(tree.left.config)
    peer = next(peer for peer in config.peers if peer.node_id == "root")
    nodes = [SiblingUpstream(Links(config), peer, "0") for _ in range(50)]
    at, epoch = cursor_of(tree.root), shard(tree.root)["epoch"]
    started = asyncio.Event()

    async def follow(node: SiblingUpstream) -> Frame:
        while True:
            frame = await node.fetch(at, epoch, 5000, 0.5)
            started.set()
            if frame.upto != at:
                return frame

    following = [asyncio.create_task(follow(node)) for node in nodes]
    await started.wait()
    await asyncio.to_thread(tree.change)
    frames = await asyncio.gather(*following)
    assert len({(frame.upto, frame.live_hash, frame.chain, frame.seal) for frame in frames}) == 1
    upto = frames[0].upto
    too_many = [SiblingUpstream(Links(config), peer, "0") for _ in range(2 * READERS_MAX)]
    answers = await asyncio.gather(
        *(node.fetch(upto, epoch, 1, 0.5) for node in too_many), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, FeedUnavailable)]
    assert 0 < len(refused) < len(answers)
    assert all(isinstance(answer, Frame | FeedUnavailable) for answer in answers)
    assert (await nodes[0].fetch(upto, epoch, 1, 0.0)).upto >= upto
    for node in (*nodes, *too_many):
        await node.close()


def test_a_feeder_that_dies_is_replaced(tree: Tree) -> None:
    """On the same socket; nothing else of the node notices."""
    before = tree.root.pids()
    os.kill(before["feeder"], signal.SIGKILL)
    wait_until("another one", lambda: tree.root.pids()["feeder"] != before["feeder"])
    follows_core(tree, tree.left)
    after = tree.root.pids()
    assert {name: pid for name, pid in after.items() if name != "feeder"} == {
        name: pid for name, pid in before.items() if name != "feeder"
    }


def test_a_port_that_is_taken_is_named(tree: Tree, tmp_path: Path) -> None:
    """An edge that cannot pass documents on does not start."""
    config = msgspec.structs.replace(
        read_config(tree.left.config), feed_port=tree.root.feed_port, port=0, peer_port=0
    )
    edge = EdgeProcess(tmp_path, "late", free_ports(1)[0])
    write_config(edge.config, config)
    with edge.log.open("ab") as log:
        told = subprocess.run(edge.command, stderr=log, timeout=60, check=False)
    assert told.returncode != 0
    assert f"cannot listen on 127.0.0.1:{tree.root.feed_port}" in edge.log.read_text()


def test_a_new_node_begins_with_a_sibling_while_the_core_is_away(tree: Tree) -> None:
    """It serves with the sibling's as-of time, not its own, and is as old."""
    edge = tree.right
    edge.stop()
    tree.forget(edge)
    tree.kill_core()
    tree.follow_only(edge, ["core", "root", "left"])
    edge.start()
    assert as_of(edge) <= as_of(tree.root)
    assert cursor_of(edge) == cursor_of(tree.root)
    assert edge.status()["lag_seconds"] > 1
    assert edge.mode() == "degraded"
    customer = tree.customer(1, edge)
    statements = customer.client.get("/statements").json()
    other = tree.move(customer, tree.root)
    assert statements == other.client.get("/statements").json()


# The last one: it leaves no tree behind.
def test_two_that_know_only_each_other(tree: Tree) -> None:
    """Left and right in a circle, the root gone: their ages grow as time does, and T never moves."""
    circle = (tree.left, tree.right)
    tree.root.stop(signal.SIGKILL)
    tree.restart(tree.left, ["right"])
    tree.restart(tree.right, ["left"])
    wait_until("they stand", lambda: all(edge.status()["lag_seconds"] > 4 for edge in circle))
    newest = max(as_of(edge) for edge in circle)
    before = {edge.name: edge.status()["lag_seconds"] for edge in circle}
    wait_until("time passes", lambda: tree.left.status()["lag_seconds"] > before["left"] + 4)
    for edge in circle:
        assert as_of(edge) <= newest
        assert edge.status()["lag_seconds"] >= before[edge.name] + 3

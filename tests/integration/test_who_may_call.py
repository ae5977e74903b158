"""The table of who may call what, held against the routes that there are."""

import re
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from cache_sync.clock import SystemClock
from core_cis.api.guards import fleet_guard, operator_guard, shard_guard
from core_cis.app import create_app
from edge_portal import peer_api
from edge_portal.feeder import feeder_app, sibling_guard
from failover.grants import Grants
from failover.web import NodeKeys

TABLE = re.compile(r"<!-- routes -->(.*)<!-- /routes -->", re.DOTALL)
ROW = re.compile(r"^\| (\w+)[^|]*\| `([A-Z]+) ([^`]+)` \| (\w+)", re.MULTILINE)
WHO = {
    fleet_guard: "node",
    operator_guard: "operator",
    peer_api.fleet_guard: "node",
    peer_api.core_guard: "core",
    sibling_guard: "node",
}
PROVEN_OTHERWISE = ("/ops", "/schema")


def written() -> set[tuple[str, str, str, str]]:
    """Read the table: application, method, route, who."""
    root = Path(__file__).resolve().parent.parent.parent
    table = TABLE.search((root / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert table is not None
    return set(ROW.findall(table[1]))


def served(name: str, app: Litestar) -> set[tuple[str, str, str, str]]:
    """Walk an application's routes and their guards; the last guard that says who counts."""
    found = set()
    for route in app.routes:
        assert isinstance(route, HTTPRoute), route.path
        for handler in route.route_handlers:
            who = [WHO[guard] for guard in handler.resolve_guards() if guard in WHO]
            for method in handler.http_methods - {"OPTIONS", "HEAD"}:
                path = re.sub(r":\w+}", "}", route.path_format)
                found.add((name, str(method), path, who[-1] if who else "anybody"))
    return found


def applications(folder: Path) -> set[tuple[str, str, str, str]]:
    """List what core and edge serve to others than customers."""
    nothing: Any = None
    keys = NodeKeys({})
    peer = peer_api.peer_app(
        node_id="east", holder=nothing, reader=nothing, lease=nothing, outages=folder, keys=keys
    )
    return (
        served("core", create_app(folder, SystemClock()))
        | served("edge", peer)
        | served("edge", feeder_app(nothing, keys, Grants(folder, {})))
    )


def test_the_table_is_what_is_served(tmp_path: Path) -> None:
    """Every route has its row, and every row its route, with the same callers."""
    routes = {row for row in applications(tmp_path) if not row[2].startswith(PROVEN_OTHERWISE)}
    assert routes == written()


def test_a_node_opens_nothing_of_the_operators(tmp_path: Path) -> None:
    """Nothing below their console is guarded for nodes, or twice."""
    pages = {row for row in applications(tmp_path) if row[2].startswith("/ops")}
    assert pages
    assert {who for *_, who in pages} == {"anybody", "operator"}


def test_whoever_reads_a_shard_was_granted_it(tmp_path: Path) -> None:
    """Every route of the core that names a shard looks, after it knows who asks; a feeder has one guard for all."""
    found = 0
    for route in create_app(tmp_path, SystemClock()).routes:
        assert isinstance(route, HTTPRoute), route.path
        for handler in route.route_handlers:
            guards = handler.resolve_guards()
            if handler.http_methods == {"OPTIONS"}:
                continue
            if "{shard" in route.path:
                assert guards.index(fleet_guard) < guards.index(shard_guard), route.path
                found += 1
            else:
                assert shard_guard not in guards, route.path
    assert found > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nodes_change_nothing_but_by_intents(tmp_path: Path, method: str) -> None:
    """The only routes that take anything of a node: intents, copies of them, outcomes, and two kinds of questions."""
    taking = {row[2] for row in applications(tmp_path) if row[1] == method and row[3] == "node"}
    expected = {
        "/intents",
        "/outcomes",
        "/digests/{shard}",
        "/peer/v1/copies",
        "/peer/v1/outcomes",
        "/peer/v1/ask",
    }
    assert taking == (expected if method == "POST" else set())

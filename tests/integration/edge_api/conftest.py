"""One edge in memory, and a program signed in at it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cache_sync.clock import SystemClock
from cache_sync.replica_reader import ReplicaReader
from edge_portal.app import create_app
from edge_portal.node_status import NodeStatus
from edge_portal.pages.site import Site
from edge_portal.settings import EdgePaths
from failover.mode_lease import LeaseReader
from tests.unit.edge_portal.edge_world import (
    EdgeWorld,
)


@pytest.fixture
def world() -> EdgeWorld:
    """Return an edge in memory."""
    return EdgeWorld()


@pytest.fixture
async def client(world: EdgeWorld, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Return a signed-in program."""
    clock, paths = SystemClock(), EdgePaths(tmp_path)
    node = NodeStatus(
        "edge-1",
        paths,
        lease=LeaseReader(paths.lease, clock),
        snapshot=ReplicaReader(paths.snapshot, clock=clock),
        clock=clock,
    )
    site = Site(
        utility_name="Northwater",
        utility_phone="1-800-555-0142",
        timezone="UTC",
        currency="USD",
        retention_months=24,
    )
    app: Any = create_app(
        world.portal, node, site, secure_cookies=False, clock=clock, receipts=world.desk
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://edge.test"
    ) as made:
        made.headers["Authorization"] = f"Bearer {world.token()}"
        yield made
    world.sign_in.close()

"""What an edge's credential opens at the core: its shards, and nothing of the others."""

from typing import Any

import msgspec
import pytest

from cache_sync.digests import DigestQuestion
from cache_sync.shards import shard_of
from core_cis.grants import grant_shards
from core_cis.registry import revoke_edge
from core_cis.registry_look import FRESH_SECONDS
from tests.integration.core_cis.conftest import ACCOUNT

SHARDS = 3
QUESTION = msgspec.msgpack.encode(DigestQuestion(epoch=1, at=1, bounds=[""]))
ROUTES = [
    ("GET", "/feed/{}"),
    ("POST", "/digests/{}"),
    ("GET", "/snapshots/{}"),
    ("GET", "/snapshots/{}/some-file"),
    ("GET", "/archive/accounts/{}/statements/S-1"),
]


def asked(path: str, shard: str) -> str:
    """Name a shard, or an account of it."""
    if not path.startswith("/archive"):
        return path.format(shard)
    accounts = (f"A-{number}" for number in range(100))
    return path.format(next(name for name in accounts if shard_of(name, SHARDS) == shard))


async def slugs(core: Any, client: Any, method: str, path: str) -> list[str]:
    """Ask for each shard as `east`; say which were refused, and as what."""
    found = []
    for shard in ("0", "1", "2"):
        answer = await client.request(
            method, asked(path, shard), headers=core.node(), content=QUESTION
        )
        kind = answer.json()["type"] if answer.status_code >= 400 else ""
        if answer.status_code in {401, 403}:
            found.append(f"{shard} {answer.status_code} {kind.rpartition(':')[2]}")
    return found


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_only_what_was_granted_is_read(sharded_core: Any, method: str, path: str) -> None:
    """Changed while the core serves, it holds for the next request, or half a second later."""
    core = sharded_core
    async with core.serving() as client:
        assert await slugs(core, client, method, path) == []
        with core.open() as store, store.transaction() as tx:
            grant_shards(tx.connection, "east", ["1"])
        core.clock.move(FRESH_SECONDS * 2)
        refused = ["0 403 wrong_shard", "2 403 wrong_shard"]
        assert await slugs(core, client, method, path) == refused
        with core.open() as store, store.transaction() as tx:
            revoke_edge(tx, "east")
        core.clock.move(FRESH_SECONDS * 2)
        expelled = [f"{shard} 401 not_a_known_node" for shard in ("0", "1", "2")]
        assert await slugs(core, client, method, path) == expelled


async def test_siblings_are_told_of_grants(sharded_core: Any) -> None:
    """By the probe, of those only who may not read all; payments are taken of anybody's account."""
    core = sharded_core
    with core.open() as store, store.transaction() as tx:
        grant_shards(tx.connection, "east", [shard_of(ACCOUNT + "x", SHARDS)])
    async with core.serving() as client:
        told = (await client.get("/probe", headers=core.node("west"))).json()
        assert told["grants"] == {"east": shard_of(ACCOUNT + "x", SHARDS)}
        assert told["revoked"] == []
        assert (await client.get("/probe", headers=core.node("east"))).status_code == 200

"""The core's snapshot files: built beside a serving core, handed out over HTTP, fetched by an edge."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import httpx
import msgspec
import pytest

from cache_sync.document_table import read_head
from cache_sync.errors import SnapshotRefused, SnapshotUnavailable
from cache_sync.publication import raise_epoch
from cache_sync.snapshot_file import Need, decode_offer, open_offer
from cache_sync.snapshot_file_cut import check_file
from cache_sync.snapshot_file_shelf import Shelved
from core_cis.app import create_app
from core_cis.errors import SnapshotsBusy
from core_cis.publishing import publish_account
from core_cis.snapshot_builder import build_snapshot, building
from core_cis.snapshot_shelves import FOLDER_NAME, replica_folder, shelf_of
from edge_portal.links import Links
from edge_portal.snapshot_download import holders_of, trusted_signatures
from failover.http_server import open_socket, serve

CHUNK_BYTES = 4096


class Patient:
    """The core's clock, for a builder that has to wait."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self.now, self.boot_id = core.clock.now, core.clock.boot_id
        self.boot_seconds = core.clock.boot_seconds

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self._core.clock.move(seconds)
        await asyncio.sleep(0)


async def build(core: Any, seed: int = 1) -> Shelved:
    """Build a file of the only shard."""
    return await build_snapshot(
        core.data_dir, "0", clock=Patient(core), rng=Random(seed), chunk_bytes=CHUNK_BYTES
    )


@asynccontextmanager
async def on_a_socket(core: Any) -> AsyncIterator[str]:
    """Serve the core on a real socket; yield its address."""
    stop = asyncio.Event()
    with contextlib.closing(open_socket("127.0.0.1", 0)) as listener:
        app = create_app(core.data_dir, core.clock)
        serving = asyncio.create_task(serve(app, listener, stop=stop))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stop.set()
            await serving


def change(core: Any) -> None:
    """Commit something that is published."""
    with core.open() as store, store.transaction() as tx:
        tx.connection.execute("UPDATE customers SET name = name || '!'")
        publish_account(tx, "A-1001")


def slug(answer: httpx.Response) -> str:
    """Return what a problem is called."""
    return str(answer.json()["type"]).rpartition(":")[2]


async def test_an_edge_fetches_what_the_core_has_built(core: Any) -> None:
    """The offer is signed with the key that the edge's file names, and every byte arrives."""
    shelved = await build(core)
    config = core.configs["east"]
    assert config.core_public_key
    async with on_a_socket(core) as url:
        (holder,) = holders_of(Links(msgspec.structs.replace(config, core_url=url)), "0")
        assert holder.name == "core"
        offer = await holder.offer()
        manifest = open_offer(offer, "0", Need(), trusted_signatures(config))
        assert manifest == shelved.manifest
        parts = [
            await holder.fetch(manifest.name, *manifest.chunk_range(number))
            for number in range(len(manifest.chunks))
        ]
        assert b"".join(parts) == shelved.path.read_bytes()
        with pytest.raises(SnapshotRefused) as refused:
            await holder.fetch(manifest.name, manifest.file_bytes, manifest.file_bytes + 1)
        assert refused.value.reason == "truncated"
        with pytest.raises(SnapshotUnavailable) as gone:
            await holder.fetch("0-1-1-0123456789abcdef.db", 0, 10)
        assert gone.value.reason == "gone"
        await holder.close()


async def test_another_cores_signature_is_refused(core: Any) -> None:
    """An edge believes its own core's key only."""
    await build(core)
    config = msgspec.structs.replace(
        core.configs["east"], core_public_key=core.configs["west"].peers[0].public_key
    )
    async with on_a_socket(core) as url:
        (holder,) = holders_of(Links(msgspec.structs.replace(config, core_url=url)), "0")
        with pytest.raises(SnapshotRefused) as refused:
            open_offer(await holder.offer(), "0", Need(), trusted_signatures(config))
        assert refused.value.reason == "signature"
        await holder.close()
    without = msgspec.structs.replace(config, core_public_key="")
    assert holders_of(Links(without), "0") == [], (
        "nobody is asked whose signature cannot be checked"
    )


@pytest.mark.parametrize(
    ("path", "headers", "status", "name"),
    [
        ("/snapshots/0", {"Authorization": ""}, 401, "not_a_known_node"),
        ("/snapshots/0/{name}", {"Authorization": ""}, 401, "not_a_known_node"),
        ("/snapshots/1", {}, 404, "unknown_shard"),
        ("/snapshots/1/{name}", {"Range": "bytes=0-1"}, 404, "unknown_shard"),
        ("/snapshots/0/nothing", {"Range": "bytes=0-1"}, 404, "no_snapshot_file"),
        ("/snapshots/0/..%2F..%2Fsecrets.json", {"Range": "bytes=0-1"}, 404, ""),
        ("/snapshots/0/{name}", {}, 400, "range_required"),
        ("/snapshots/0/{name}", {"Range": "bytes=-5"}, 400, "range_required"),
        ("/snapshots/0/{name}", {"Range": "bytes=0-1,3-4"}, 400, "range_required"),
        ("/snapshots/0/{name}", {"Range": "bytes=5-1"}, 416, "range_not_satisfiable"),
        ("/snapshots/0/{name}", {"Range": "bytes=99999999-"}, 416, "range_not_satisfiable"),
    ],
)
async def test_a_bad_question_has_its_own_problem(
    core: Any, path: str, headers: dict[str, str], status: int, name: str
) -> None:
    """And nothing of any file is sent."""
    shelved = await build(core)
    async with core.serving() as client:
        url = path.replace("{name}", shelved.manifest.name)
        answer = await client.get(url, headers=core.node() | headers)
        assert answer.status_code == status
        if name:
            assert slug(answer) == name
        assert b"SQLite format" not in answer.content


async def test_a_range_says_what_it_is(core: Any) -> None:
    """Content-Range names the part and the whole; an open range is cut to what one answer carries."""
    shelved = await build(core)
    size = shelved.manifest.file_bytes
    async with core.serving() as client:
        url = f"/snapshots/0/{shelved.manifest.name}"
        answer = await client.get(url, headers=core.node() | {"Range": "bytes=10-19"})
        assert (answer.status_code, len(answer.content)) == (206, 10)
        assert answer.headers["content-range"] == f"bytes 10-19/{size}"
        answer = await client.get(url, headers=core.node() | {"Range": "bytes=100-"})
        assert answer.content == shelved.path.read_bytes()[100:]


async def test_without_a_file_there_is_none(core: Any) -> None:
    """A small core has no file: 404, and followers read its feed."""
    async with core.serving() as client:
        answer = await client.get("/snapshots/0", headers=core.node())
        assert (answer.status_code, slug(answer)) == (404, "no_snapshot_file")


async def test_files_of_a_forgotten_history_are_not_offered(core: Any) -> None:
    """After a new epoch, or commits that were lost with a restore, what was cut before is of no use."""
    await build(core)
    async with core.serving() as client:
        assert (await client.get("/snapshots/0", headers=core.node())).status_code == 200
        with core.open() as store, store.transaction() as tx:
            raise_epoch(tx.connection, "0")
        answer = await client.get("/snapshots/0", headers=core.node())
        assert slug(answer) == "no_snapshot_file"
        change(core)
        newer = await build(core, 2)
        offer = decode_offer((await client.get("/snapshots/0", headers=core.node())).content)
        assert open_offer(offer, "0", Need(2), trusted_signatures(core.configs["east"])) == (
            newer.manifest
        )


async def test_a_build_goes_on_from_the_one_before(core: Any) -> None:
    """The replica is kept; two files are."""
    manifests = []
    for number in range(3):
        change(core)
        manifests.append((await build(core, number)).manifest)
        with core.open() as store:
            assert manifests[-1].seq == read_head(store.connection, "0").head
    kept = [one.manifest for one in shelf_of(core.data_dir, "0").files()]
    assert kept == [manifests[2], manifests[1]]
    check_file(shelf_of(core.data_dir, "0").files()[0], trusted_signatures(core.configs["east"]))


async def test_a_replica_of_another_history_is_begun_anew(core: Any) -> None:
    """A restore from a backup, epoch raised or not, leaves the builder's replica ahead of the core."""
    restore = core.back_up()
    for _ in range(3):
        change(core)
    built = await build(core)
    # The replica and the files are no part of a backup: they stay where they are.
    kept = core.data_dir.with_name("kept")
    (core.data_dir / FOLDER_NAME).rename(kept)
    restore()
    kept.rename(core.data_dir / FOLDER_NAME)
    change(core)

    rebuilt = await build(core, 7)
    with core.open() as store:
        assert rebuilt.manifest.seq == read_head(store.connection, "0").head < built.manifest.seq
    async with core.serving() as client:
        answer = await client.get("/snapshots/0", headers=core.node())
        config = core.configs["east"]
        offered = open_offer(decode_offer(answer.content), "0", Need(), trusted_signatures(config))
        assert offered == rebuilt.manifest


async def test_only_one_builds(core: Any) -> None:
    """A second builder says so, and changes nothing."""
    with building(core.data_dir), pytest.raises(SnapshotsBusy), building(core.data_dir):
        pass
    assert not replica_folder(core.data_dir, "0").exists()

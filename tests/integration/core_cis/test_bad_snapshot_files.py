"""
Bad snapshot files on real sockets: an edge refuses each by name, shows what it showed, and begins anew when it is well.

The core is the real one on a real server; what it answers is changed on its way out. The edge is the real follower with
the real clients.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from cache_sync.clock import SystemClock
from cache_sync.follower import Follower
from cache_sync.follower_settings import FollowerSettings
from cache_sync.publication import raise_epoch
from cache_sync.replica_reader import ReplicaReader
from cache_sync.snapshot_file import (
    SnapshotManifest,
    SnapshotOffer,
    decode_manifest,
    decode_offer,
    encode_manifest,
    encode_offer,
)
from cache_sync.snapshot_file_download import DownloadSettings, SnapshotDownload
from cache_sync.snapshot_folder import SnapshotFolder
from core_cis.app import create_app
from core_cis.snapshot_shelves import shelf_of
from edge_portal.core_client import CoreFeed
from edge_portal.links import Links
from edge_portal.snapshot_download import holders_of, trusted_signatures
from failover.http_server import open_socket, serve
from failover.signing import generate_signing_key, sign_bytes
from tests.integration.core_cis.test_core_snapshots import CHUNK_BYTES, build, change
from tests.integration.journals import draft, opened, record
from tests.unit.cache_sync.feed_world import read_all

DOWNLOADS = DownloadSettings(
    refused_first_seconds=0.01, refused_cap_seconds=0.05, wrong_seconds=0.5
)
FOLLOWING = FollowerSettings(
    wait_seconds=0.0, rebuild_first_seconds=0.01, retry_first_seconds=0.01, retry_cap_seconds=0.05
)
AlterOffer = Callable[[Any, SnapshotOffer], SnapshotOffer]
AlterPart = Callable[[int, bytes], bytes]


class Tampered:
    """The core's application, whose answers are changed; without a change they are passed on as they are."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.alter_offer: Callable[[SnapshotOffer], SnapshotOffer] | None = None
        self.alter_part: AlterPart | None = None
        self.feeds = True
        self.begun_at: list[int] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        path = scope.get("path", "")
        if path.startswith("/feed/") and not self.feeds:
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        elif path == "/snapshots/0" and self.alter_offer is not None:
            await self._changed(scope, receive, send, self._new_offer)
        elif path.startswith("/snapshots/0/"):
            wanted = dict(scope["headers"])[b"range"].decode()
            begin = int(wanted.removeprefix("bytes=").partition("-")[0])
            self.begun_at.append(begin)
            alter = self.alter_part or (lambda _, content: content)
            await self._changed(scope, receive, send, lambda content: alter(begin, content))
        else:
            await self._app(scope, receive, send)

    def _new_offer(self, content: bytes) -> bytes:
        assert self.alter_offer is not None
        return encode_offer(self.alter_offer(decode_offer(content)))

    async def _changed(
        self, scope: Any, receive: Any, send: Any, alter: Callable[[bytes], bytes]
    ) -> None:
        messages: list[dict[str, Any]] = []

        async def keep(message: Any) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        start, *bodies = messages
        body = b"".join(message.get("body", b"") for message in bodies)
        if start["status"] in (200, 206):
            body = alter(body)
        length = (b"content-length", str(len(body)).encode())
        others = [header for header in start["headers"] if header[0].lower() != b"content-length"]
        await send({**start, "headers": [*others, length]})
        await send({"type": "http.response.body", "body": body})


class Edge:
    """An edge beside its journal."""

    def __init__(self, core: Any, folder: Path, url: str) -> None:
        self.core = core
        self.config = msgspec.structs.replace(core.configs["east"], core_url=url, peers=[])
        self.folder = folder / "snapshot"
        self.links = Links(self.config)
        clock = SystemClock()
        self.holders = holders_of(self.links, "0")
        self.client = self.links.core("feed", 1)
        self.follower = Follower(
            CoreFeed(self.client, "0"),
            self.folder,
            clock=clock,
            rng=Random(5),
            settings=FOLLOWING,
            files=SnapshotDownload(
                self.holders,
                self.folder / "download",
                "0",
                check_signature=trusted_signatures(self.config),
                clock=clock,
                rng=Random(3),
                settings=DOWNLOADS,
            ),
        )
        self.reader = ReplicaReader(self.folder, clock=clock)
        self.journal = folder / "journal.db"

    async def record_something(self) -> None:
        """Have something in the journal."""
        journal = opened(self.journal)
        await record(journal, draft("a key"))
        journal.close()

    def held(self) -> tuple[object, ...]:
        """Tell what readers see, and every byte of the journal."""
        state, documents = read_all(self.reader)
        current = SnapshotFolder(self.folder).current()
        assert current is not None
        return current.name, state.epoch, state.cursor, state.as_of, documents

    async def step_until(self, holds: Callable[[], bool], steps: int = 400) -> None:
        """Follow until something holds."""
        for _ in range(steps):
            # The core's clock is set by hand; it must not give out a core time that it has closed before.
            self.core.clock.move(0.1)
            await asyncio.sleep(min(await self.follower.step(), 0.05))
            if holds():
                return
        status = self.follower.status
        raise AssertionError(f"still {status.phase}: {status.reason}")

    def is_at(self, epoch: int, cursor: int) -> bool:
        """Tell whether readers see a barrier."""
        if not self.reader.ready():
            return False
        state = read_all(self.reader)[0]
        return (state.epoch, state.cursor) == (epoch, cursor)

    async def close(self) -> None:
        """Let everything go."""
        self.follower.close()
        self.reader.close()
        for holder in self.holders:
            await holder.close()
        await self.client.close()


def flip(content: bytes, at: int) -> bytes:
    """Flip one bit."""
    changed = bytearray(content)
    changed[at] ^= 1
    return bytes(changed)


def resigned(**changes: object) -> AlterOffer:
    """Have the core itself sign something else: one that errs, or a later release."""

    def alter(core: Any, offer: SnapshotOffer) -> SnapshotOffer:
        manifest: SnapshotManifest = msgspec.structs.replace(
            decode_manifest(offer.manifest), **changes
        )
        content = encode_manifest(manifest)
        signature = sign_bytes(core.signing_key(), content)
        return msgspec.structs.replace(offer, manifest=content, signature=signature)

    return alter


def wrong_key(_: Any, offer: SnapshotOffer) -> SnapshotOffer:
    """Sign the manifest with another key than the core's."""
    other = generate_signing_key(lambda count: bytes(range(count)))
    return msgspec.structs.replace(offer, signature=sign_bytes(other, offer.manifest))


def stranger(core: Any, offer: SnapshotOffer) -> SnapshotOffer:
    """Sign it in the name of a node that is not trusted."""
    return msgspec.structs.replace(wrong_key(core, offer), signer="stranger")


def flipped_manifest(_: Any, offer: SnapshotOffer) -> SnapshotOffer:
    """Flip a bit of the manifest, on its way."""
    at = offer.manifest.index(b'"seq":') + len(b'"seq":')
    return msgspec.structs.replace(offer, manifest=flip(offer.manifest, at))


OFFERS: dict[str, tuple[AlterOffer, str]] = {
    "a flipped bit in the manifest": (flipped_manifest, "signature"),
    "signed with another key": (wrong_key, "signature"),
    "signed by a stranger": (stranger, "signer"),
    "of another shard": (resigned(shard="1"), "shard"),
    "of the epoch before": (resigned(epoch=1), "older_epoch"),
    "of a later format": (resigned(format=99), "format"),
    "of a later schema": (resigned(schema=99), "schema"),
    "with bodies of a later version": (resigned(versions={"account": 99}), "unknown_version"),
}
FILES: dict[str, tuple[AlterPart, str]] = {
    "a flipped bit in the first chunk": (
        lambda begin, content: flip(content, 100) if begin == 0 else content,
        "chunk",
    ),
    "a flipped bit in a later chunk": (
        lambda begin, content: flip(content, -1) if begin >= 3 * CHUNK_BYTES else content,
        "chunk",
    ),
    "parts without a byte": (lambda _, content: content[:0], "truncated"),
    "more than was asked for": (lambda _, content: content + b"x", "too_large"),
}


class World:
    """A core that is restored after an edge has followed it, and whose feed does not answer then: only files come."""

    def __init__(self, core: Any, tampered: Tampered, edge: Edge) -> None:
        self.core, self.tampered, self.edge = core, tampered, edge
        self.epoch, self.head = 1, 0

    async def restore(self) -> None:
        """Enter another epoch, publish more, cut a file; the edge hears of it and of nothing else."""
        with self.core.open() as store, store.transaction() as tx:
            self.epoch = raise_epoch(tx.connection, "0")
        change(self.core)
        self.head = (await build(self.core, self.epoch)).manifest.seq
        follower = self.edge.follower
        await self.edge.step_until(lambda: follower.status.reason == "epoch_changed")
        self.tampered.feeds = False
        self.tampered.begun_at.clear()

    async def refused(self, reason: str) -> None:
        """Wait until the edge says that it refuses a file, and check that it shows and keeps what it did."""
        before, journal = self.edge.held(), self.edge.journal.read_bytes()
        follower = self.edge.follower
        await self.edge.step_until(lambda: follower.status.file_refused == reason)
        for _ in range(5):
            await follower.step()
            assert self.edge.held() == before
        assert follower.status.phase != "following"
        assert self.edge.journal.read_bytes() == journal

    async def heal(self) -> None:
        """Answer as it should be; the edge gets there, by the file, and nothing is left of what was refused."""
        self.tampered.alter_offer = self.tampered.alter_part = None
        journal = self.edge.journal.read_bytes()
        await self.edge.step_until(lambda: self.edge.is_at(self.epoch, self.head))
        assert self.edge.follower.status.file_refused == ""
        assert not list(self.edge.folder.glob("download/*"))
        self.tampered.feeds = True
        change(self.core)
        await self.edge.step_until(lambda: read_all(self.edge.reader)[0].cursor > self.head)
        await self.edge.step_until(lambda: self.edge.follower.status.phase == "following")
        assert self.edge.journal.read_bytes() == journal


@pytest.fixture
async def world(file_core: Any, tmp_path: Path) -> AsyncIterator[World]:
    """Return a core, and an edge at its head."""
    stop = asyncio.Event()
    with contextlib.closing(open_socket("127.0.0.1", 0)) as listener:
        tampered = Tampered(create_app(file_core.data_dir, file_core.clock))
        serving = asyncio.create_task(serve(tampered, listener, stop=stop))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        edge = Edge(file_core, tmp_path / "edge", url)
        made = World(file_core, tampered, edge)
        try:
            await edge.step_until(lambda: edge.follower.status.phase == "following")
            await edge.record_something()
            yield made
        finally:
            await edge.close()
            stop.set()
            await serving


async def test_an_offer_that_does_not_fit_is_refused_by_name(world: World) -> None:
    """No byte of the file is asked for; the old snapshot serves on, and is replaced when the offer is right."""
    for alter, reason in OFFERS.values():
        await world.restore()
        world.tampered.alter_offer = partial(alter, world.core)
        await world.refused(reason)
        assert world.tampered.begun_at == []
        await world.heal()


async def test_a_file_that_is_not_what_was_signed_is_refused_by_name(world: World) -> None:
    """The old snapshot serves on, and is replaced when the file comes right."""
    for alter, reason in FILES.values():
        await world.restore()
        world.tampered.alter_part = alter
        await world.refused(reason)
        await world.heal()


async def test_a_file_cut_short_at_the_core_is_not_offered(world: World) -> None:
    """The core's disk has less than it signed: it hands out nothing, and the edge waits for its feed."""
    await world.restore()
    path = shelf_of(world.core.data_dir, "0").files()[0].path
    whole, before = path.read_bytes(), world.edge.held()
    path.write_bytes(whole[: len(whole) // 2])
    follower = world.edge.follower
    await world.edge.step_until(lambda: follower.status.phase == "bootstrapping")
    for _ in range(5):
        await follower.step()
        assert world.edge.held() == before
    assert world.tampered.begun_at == []
    path.write_bytes(whole)
    await world.heal()


async def test_a_file_goes_on_where_the_line_broke(world: World) -> None:
    """The core falls silent in the middle; whole again, it is asked for nothing that has arrived."""
    await world.restore()
    half = shelf_of(world.core.data_dir, "0").files()[0].path.stat().st_size // 2

    def cut(begin: int, content: bytes) -> bytes:
        if begin > half:
            raise OSError("the line is cut")
        return content

    world.tampered.alter_part = cut
    await world.edge.step_until(lambda: world.edge.follower.status.reason == "silent")
    world.tampered.begun_at.clear()
    await world.heal()
    assert min(world.tampered.begun_at) > half - CHUNK_BYTES

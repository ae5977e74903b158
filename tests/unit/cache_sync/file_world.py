"""Snapshot files cut from a followed core, a node that hands them out, and faults on the way."""

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import msgspec

from cache_sync.clock import Clock
from cache_sync.documents import DEFAULT_SHARD, KNOWN_VERSIONS
from cache_sync.errors import SnapshotRefused
from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.follower import Follower
from cache_sync.offload import inline
from cache_sync.snapshot_file import (
    Need,
    SnapshotManifest,
    SnapshotOffer,
    decode_manifest,
    encode_manifest,
)
from cache_sync.snapshot_file_cut import copy_closed, copy_open, cut
from cache_sync.snapshot_file_desk import SnapshotDesk
from cache_sync.snapshot_file_download import DownloadSettings, SnapshotDownload
from cache_sync.snapshot_file_shelf import Shelved, SnapshotShelf
from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.snapshot_source import Fetched, SnapshotHolder
from tests.unit.cache_sync.feed_world import SETTINGS, Core, DirectClient, FakeClock, step_until

CHUNK_BYTES = 4096
DOWNLOADS = DownloadSettings(step_seconds=5.0, patience_seconds=30.0)


def sign(content: bytes) -> bytes:
    """Sign as the core does here: with a mark that only it makes."""
    return b"signed:" + content[::-1]


def check_signature(signer: str, content: bytes, signature: bytes) -> None:
    """Trust the core and east."""
    if signer not in ("core", "east"):
        raise SnapshotRefused("signer", signer)
    if signature != sign(content):
        raise SnapshotRefused("signature", signer)


async def cut_from(
    core: Core,
    folder: Path,
    clock: FakeClock,
    *,
    signer: str = "core",
    seed: int = 1,
    keys: FileKeys = PLAIN,
) -> Shelved:
    """Follow a core to its head, and cut a file there onto the shelf in `folder`."""
    follower = Follower(
        DirectClient(core),
        folder / "replica",
        clock=clock,
        rng=Random(seed),
        settings=SETTINGS,
        offload=inline,
        folder=SnapshotFolder(folder / "replica", keys=keys),
    )
    await step_until(follower, clock, "following")
    clock.advance(await follower.step())
    follower.close()
    current = SnapshotFolder(folder / "replica").current()
    assert current is not None
    return cut(
        SnapshotShelf(folder / "files", keys=keys),
        copy_open(current, keys, clock=clock) if keys else copy_closed(current),
        signer=signer,
        sign=sign,
        rng=Random(seed),
        chunk_bytes=CHUNK_BYTES,
    )


def altered(offer: SnapshotOffer, **changes: object) -> SnapshotOffer:
    """Change what a manifest says, and sign it: a signer that errs, or another release."""
    manifest: SnapshotManifest = msgspec.structs.replace(decode_manifest(offer.manifest), **changes)
    content = encode_manifest(manifest)
    return msgspec.structs.replace(offer, manifest=content, signature=sign(content))


class Holder:
    """Hands out the files of a shelf without a network; `alter_offer` and `alter_part` stand for what goes wrong."""

    def __init__(
        self, folder: Path, clock: Clock, name: str = "core", *, keys: FileKeys = PLAIN
    ) -> None:
        self._name = name
        shelf = SnapshotShelf(folder / "files", keys=keys)
        self.desk = SnapshotDesk({DEFAULT_SHARD: shelf}, clock=clock)
        self.alter_offer: Callable[[SnapshotOffer], SnapshotOffer] = lambda offer: offer
        self.alter_part: Callable[[int, bytes], bytes] = lambda _, content: content
        self.asked: list[tuple[int, int]] = []

    @property
    def name(self) -> str:
        """Return its node id."""
        return self._name

    async def offer(self) -> SnapshotOffer:
        """Offer what there is."""
        return self.alter_offer(await self.desk.offer(DEFAULT_SHARD))

    async def fetch(self, name: str, begin: int, end: int) -> bytes:
        """Return a part of a file."""
        self.asked.append((begin, end))
        with self.desk.download(DEFAULT_SHARD, name, "east") as path:
            return self.alter_part(begin, path.read_bytes()[begin:end])


def download(
    holders: list[SnapshotHolder],
    directory: Path,
    clock: FakeClock,
    *,
    keys: FileKeys = PLAIN,
    known_versions: Mapping[str, int] = KNOWN_VERSIONS,
) -> SnapshotDownload:
    """Make a download of the default shard."""
    return SnapshotDownload(
        holders,
        directory,
        DEFAULT_SHARD,
        check_signature=check_signature,
        clock=clock,
        rng=Random(3),
        settings=DOWNLOADS,
        offload=inline,
        keys=keys,
        known_versions=known_versions,
    )


async def fetch(
    source: SnapshotDownload, clock: FakeClock, need: Need | None = None
) -> tuple[Fetched | None, list[str]]:
    """Step until there is a file or none to be had; return it and the reasons that were told on the way."""
    reasons: list[str] = []
    for _ in range(2000):
        found = await source.step(need or Need())
        if found is None or isinstance(found, Fetched):
            return found, reasons
        if found.reason and reasons[-1:] != [found.reason]:
            reasons.append(found.reason)
        clock.advance(found.wait_seconds)
    raise AssertionError(f"no end: {reasons}")

"""
Where a node keeps the snapshot files that it hands out: the newest few, each with its offer beside it.

A file is offered from the moment that its offer lies beside it, and that appears whole or not at all. So a crash at any
point leaves what was offered before, and at most a file that nobody offers, which the next cut removes.

On the shelf of a node with keys every file is encrypted under a key of its own, which is derived from the node's and
lies nowhere: who is to have the file is given it with the offer.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import msgspec

from cache_sync.clock import Clock
from cache_sync.errors import SnapshotRefused, StorageFailed
from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.snapshot_file import (
    SnapshotManifest,
    SnapshotOffer,
    decode_manifest,
    is_file_name,
    mark_of,
)

KEPT_FILES = 2
_MAKING_PREFIX = "making-"
_OFFER_SUFFIX = ".offer"


class KeptOffer(msgspec.Struct, frozen=True, kw_only=True):
    """
    An offer as it is kept: what was signed, and when on which boot clock T was how old.

    ``under`` is the id of the node's key that the file's own was derived from; empty for a plain file.
    """

    manifest: bytes
    signer: str
    signature: bytes
    asked_boot_seconds: float
    age_seconds: float
    at_least: bool
    boot_id: str
    under: str = ""

    def offer(self, clock: Clock, keys: FileKeys = PLAIN) -> SnapshotOffer:
        """Make the offer to answer with now, with the file's key; its age is never less than the truth."""
        now = clock.boot_seconds()
        known = self.boot_id == clock.boot_id()
        # T of an earlier boot is older than this boot, by an unknown time.
        grown = max(0.0, now - self.asked_boot_seconds) if known else now
        return SnapshotOffer(
            manifest=self.manifest,
            signer=self.signer,
            signature=self.signature,
            age_seconds=self.age_seconds + grown,
            age_at_least=self.at_least or not known,
            key=keys.current or b"",
        )


class Shelved(msgspec.Struct, frozen=True, kw_only=True):
    """A file that can be handed out, and what it is opened with."""

    manifest: SnapshotManifest
    kept: KeptOffer
    path: Path
    keys: FileKeys = PLAIN

    def offer(self, clock: Clock) -> SnapshotOffer:
        """Make the offer to answer with now."""
        return self.kept.offer(clock, self.keys)


class SnapshotShelf:
    """
    The folder of one shard's snapshot files.

    Args:
        directory: Made with the first file.
        kept_files: How many are kept.
        keys: The node's: files that cannot be opened with them, or are plain although there are some, are not offered.
    """

    def __init__(
        self, directory: Path, *, kept_files: int = KEPT_FILES, keys: FileKeys = PLAIN
    ) -> None:
        self.directory = directory
        self.keys = keys
        self._kept_files = kept_files

    def files(self) -> list[Shelved]:
        """List what can be handed out, the furthest first; what cannot be read is not offered."""
        found = []
        with suppress(OSError):
            for path in self.directory.glob(f"*{_OFFER_SUFFIX}"):
                shelved = self._read(path.name.removesuffix(_OFFER_SUFFIX))
                if shelved is not None:
                    found.append(shelved)
        return sorted(
            found, key=lambda one: (*one.manifest.place, one.manifest.as_of), reverse=True
        )

    def newest(self, accept: Callable[[SnapshotManifest], bool] = lambda _: True) -> Shelved | None:
        """Return the furthest file that is acceptable; None without one."""
        return next((one for one in self.files() if accept(one.manifest)), None)

    def find(self, name: str) -> Path | None:
        """Return a file by the name that its offer gave it, which may come from anybody."""
        path = self.directory / name
        offered = is_file_name(name) and path.with_name(name + _OFFER_SUFFIX).is_file()
        return path if offered else None

    def _read(self, name: str) -> Shelved | None:
        try:
            content = (self.directory / f"{name}{_OFFER_SUFFIX}").read_bytes()
            kept = msgspec.json.decode(content, type=KeptOffer)
            manifest = decode_manifest(kept.manifest)
            path = self.directory / manifest.name
            whole = manifest.name == name and path.stat().st_size == manifest.file_bytes
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, SnapshotRefused):
            return None
        opens = self.keys_of(name, kept.under)
        if not whole or opens is None:
            return None
        return Shelved(manifest=manifest, kept=kept, path=path, keys=opens)

    def keys_of(self, name: str, under: str) -> FileKeys | None:
        """Return the keys of a file's own that were derived under one of the node's; None where that is not held."""
        if not under:
            return None if self.keys else PLAIN
        return self.keys.derived(under, f"snapshot file {mark_of(name)}")

    # By the one who cuts files

    def begin(self, rng: Random) -> Path:
        """Name a file to cut in, and remove what earlier cuts left unfinished; only one cuts at a time."""
        with _mapped_errors(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            for path in self.directory.glob(f"{_MAKING_PREFIX}*"):
                path.unlink(missing_ok=True)
        return self.directory / f"{_MAKING_PREFIX}{rng.getrandbits(64):016x}"

    def put(self, making: Path, manifest: SnapshotManifest, kept: KeptOffer) -> Shelved:
        """
        Offer a finished file from now on, and let the oldest go.

        Raises:
            StorageFailed: The disk refused; what was offered before still is.
        """
        path = self.directory / manifest.name
        with _mapped_errors(self.directory):
            _sync(making)
            making.replace(path)
            _sync(self.directory)
            beside = making.with_name(f"{making.name}{_OFFER_SUFFIX}.new")
            beside.write_bytes(msgspec.json.encode(kept))
            _sync(beside)
            beside.replace(path.with_name(path.name + _OFFER_SUFFIX))
            _sync(self.directory)
        self.remove_old()
        found = self._read(manifest.name)
        if found is None:
            raise StorageFailed(f"{manifest.name} was put on the shelf and is not there")
        return found

    def remove_old(self) -> None:
        """Remove all but the newest files: one that is being fetched is no longer found by its next question."""
        kept = {one.path.name for one in self.files()[: self._kept_files]}
        self._remove(lambda name: name.removesuffix(_OFFER_SUFFIX) not in kept)

    def retire(self, outdated: Callable[[SnapshotManifest], bool]) -> None:
        """Remove the files that must not be handed out any more; one that is being fetched is no longer found."""
        names = {one.path.name for one in self.files() if outdated(one.manifest)}
        if names:
            self._remove(lambda name: name.removesuffix(_OFFER_SUFFIX) in names)

    def clear(self) -> None:
        """Remove all files; nobody may be cutting one."""
        self._remove(lambda _: True)
        with _mapped_errors(self.directory):
            for path in self.directory.glob(f"{_MAKING_PREFIX}*"):
                path.unlink(missing_ok=True)

    def _remove(self, unneeded: Callable[[str], bool]) -> None:
        with _mapped_errors(self.directory):
            if not self.directory.is_dir():
                return
            # The offer goes first: what is offered is there.
            for path in sorted(
                self.directory.iterdir(), key=lambda one: one.suffix != _OFFER_SUFFIX
            ):
                ours = is_file_name(path.name.removesuffix(_OFFER_SUFFIX))
                if ours and unneeded(path.name):
                    path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _mapped_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"{directory.name}: {error.strerror}") from error

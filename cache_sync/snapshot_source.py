"""Where a follower can get a whole snapshot from, instead of reading the feed from its beginning."""

from pathlib import Path
from typing import NamedTuple, Protocol

from cache_sync.snapshot_file import Need, SnapshotManifest, SnapshotOffer


class Fetching(NamedTuple):
    """A file is being fetched, or will be asked for again: come back after so many seconds."""

    wait_seconds: float
    fetched_bytes: int = 0
    total_bytes: int = 0
    reason: str = ""


class Fetched(NamedTuple):
    """A whole file, every byte of it the signed one, with an age that is counted on this machine's clock."""

    path: Path
    manifest: SnapshotManifest


class SnapshotSource(Protocol):
    """A follower's way to snapshot files."""

    @property
    def refused(self) -> str:
        """Why the newest file was refused, a code; empty when it was taken, or none was looked at."""
        ...

    async def step(self, need: Need) -> Fetching | Fetched | None:
        """
        Go on fetching for a moment; None when there is no file to be had, so that the feed must do.

        Nothing that comes from others or from the disk is raised. After None, the next call begins anew.
        """
        ...

    def distrust(self, name: str) -> None:
        """Fetch this file never again: the feed did not lead on from it."""
        ...

    def clear(self) -> None:
        """Stop fetching, and remove what was fetched."""
        ...

    def close(self) -> None:
        """Stop fetching; what was fetched stays for the next time."""
        ...


class SnapshotHolder(Protocol):
    """A node that hands snapshot files of one shard out."""

    @property
    def name(self) -> str:
        """Its node id."""
        ...

    async def offer(self) -> SnapshotOffer:
        """
        Ask which file it has, within a deadline.

        Raises:
            SnapshotUnavailable: None, none yet, or no answer.
            SnapshotRefused: The answer is no offer.
        """
        ...

    async def fetch(self, name: str, begin: int, end: int) -> bytes | bytearray:
        """
        Ask for a part of a file, ``[begin, end)``, within a deadline; the answer may be shorter, never empty.

        Raises:
            SnapshotUnavailable: `gone`, `busy` or `silent`.
            SnapshotRefused: `truncated` where the file ends before, `too_large` for more than was asked for.
        """
        ...

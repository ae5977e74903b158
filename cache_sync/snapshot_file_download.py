"""
Fetching a snapshot file: whose, over interruptions of any kind, and never one that is not what it should be.

Only one file is fetched at a time, chunk by chunk; while one chunk is hashed and written, the next is on its way. An
attempt that ends without an answer is made again and goes on where it ended. A file or offer that breaks a rule is
refused, what was fetched of it is removed, and after a few of those the feed must do.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from cache_sync.backoff import Backoff
from cache_sync.clock import Clock
from cache_sync.documents import KNOWN_VERSIONS
from cache_sync.errors import SnapshotRefused, SnapshotUnavailable, StorageFailed
from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.offload import Offload, in_thread
from cache_sync.rekey import copy_under
from cache_sync.snapshot_file import (
    Need,
    SignatureCheck,
    SnapshotManifest,
    offered_keys,
    open_offer,
)
from cache_sync.snapshot_file_contents import AsOf, check_contents, put_age
from cache_sync.snapshot_file_cut import check_space
from cache_sync.snapshot_file_part import FilePart
from cache_sync.snapshot_source import Fetched, Fetching, SnapshotHolder
from cache_sync.sqlite import DatabaseError, OperationalError

Content = bytes | bytearray

log = logging.getLogger(__name__)

# A file that arrived wrong from one node may have been damaged on its way once, not twice.
_WRONG_MAX = 2
_OURS_SUFFIX = ".ours"
_NOT_FOR_US = frozenset(
    {"older_epoch", "behind", "unwanted", "schema", "format", "unknown_version", "plain"}
)
_OF_THE_BYTES = frozenset({"chunk", "truncated", "too_large", "not_a_replica", "contents"})


class DownloadSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    Bounds of fetching; in seconds.

    After ``refusals_max`` refusals, and after ``patience_seconds`` in which nothing came, the feed must do.
    ``making_seconds`` is how long a file that is being made is waited for; ``chunk_seconds`` is what a chunk may take,
    so that nobody can hold us by sending little by little. A preferred node's file is taken when its T is at most
    ``older_seconds`` behind the newest that is offered; one that arrived wrong twice is not fetched from the same node
    for ``wrong_seconds``. A step lasts ``step_seconds`` at most.
    """

    refusals_max: int = 3
    patience_seconds: float = 60.0
    making_seconds: float = 300.0
    chunk_seconds: float = 20.0
    older_seconds: float = 24 * 3600.0
    step_seconds: float = 0.5
    retry_first_seconds: float = 0.2
    retry_cap_seconds: float = 5.0
    refused_first_seconds: float = 1.0
    refused_cap_seconds: float = 300.0
    wrong_seconds: float = 600.0


class _Choice(NamedTuple):
    """A file to fetch, from whom, what its age was counted from, and what it is opened with."""

    holder: SnapshotHolder
    manifest: SnapshotManifest
    as_of: AsOf
    keys: FileKeys


class SnapshotDownload:
    """
    Implements `cache_sync.snapshot_source.SnapshotSource`.

    Args:
        holders: Who may hand files out, the preferred first.
        directory: Where what arrives lies; nothing else does.
        shard: The shard.
        check_signature: Who is trusted.
        clock: Time.
        rng: Where jitter comes from.
        fetched: Told of every file that arrived whole.
        settings: Bounds.
        offload: Where hashing and writing runs.
        keys: What is encrypted under on this node's disk; with some, no plain file is fetched.
        known_versions: The newest version of each kind of body that is read.
    """

    def __init__(  # noqa: PLR0913 - everything that a simulator replaces
        self,
        holders: Sequence[SnapshotHolder],
        directory: Path,
        shard: str,
        *,
        check_signature: SignatureCheck,
        clock: Clock,
        rng: Random,
        fetched: Callable[[SnapshotManifest], None] = lambda _: None,
        settings: DownloadSettings | None = None,
        offload: Offload = in_thread,
        keys: FileKeys = PLAIN,
        known_versions: Mapping[str, int] = KNOWN_VERSIONS,
    ) -> None:
        self._keys = keys
        self._known_versions = known_versions
        self._holders = list(holders)
        self._directory = directory
        self._shard = shard
        self._check_signature = check_signature
        self._clock = clock
        self._fetched = fetched
        self._settings = settings or DownloadSettings()
        self._offload = offload
        bounds = self._settings
        self._retry = Backoff(bounds.retry_first_seconds, bounds.retry_cap_seconds, rng)
        self._refused = Backoff(bounds.refused_first_seconds, bounds.refused_cap_seconds, rng)
        self._unwanted: set[str] = set()
        self._wrong: Counter[tuple[str, str]] = Counter()
        self._wrong_until: dict[tuple[str, str], float] = {}
        self._task: asyncio.Task[Fetched] | None = None
        self._part: FilePart | None = None
        self._total_bytes = 0
        self._not_before = 0.0
        self._reason = self._newest_refused = ""
        self._refusals = 0
        self._silent_since: float | None = None
        self._making_since: float | None = None

    # As a follower sees it

    @property
    def refused(self) -> str:
        """Why the newest file was refused; see `SnapshotSource.refused`."""
        return self._newest_refused

    async def step(self, need: Need) -> Fetching | Fetched | None:
        """Go on for a moment; see `SnapshotSource.step`."""
        remaining = self._not_before - self._clock.boot_seconds()
        if self._task is None and remaining > 0:
            return self._fetching(min(remaining, self._settings.step_seconds))
        if self._task is None:
            need = need._replace(unwanted=need.unwanted | self._unwanted)
            self._task = asyncio.create_task(self._fetch(need))
        task = self._task
        await asyncio.wait({task}, timeout=self._settings.step_seconds)
        if not task.done():
            return self._fetching(0.0)
        self._task = None
        try:
            fetched = task.result()
        except SnapshotUnavailable as error:
            return self._wait(error)
        except SnapshotRefused as error:
            return self._refuse(error)
        except StorageFailed as error:
            return self._refuse(SnapshotRefused("storage", str(error)))
        self._begin_anew()
        self._refused.reset()
        self._newest_refused = ""
        self._fetched(fetched.manifest)
        return fetched

    def distrust(self, name: str) -> None:
        """Fetch this file never again."""
        self._unwanted.add(name)

    def clear(self) -> None:
        """Stop, and remove what was fetched."""
        self.close()
        self._begin_anew()
        with suppress(OSError):
            for path in self._directory.iterdir():
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop; what was fetched stays."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            task.add_done_callback(_look_at_result)
        self._let_part_go(self._part)

    def _let_part_go(self, part: FilePart | None) -> None:
        if part is not None:
            part.close()
        if self._part is part:
            self._part = None

    def _fetching(self, wait_seconds: float) -> Fetching:
        fetched = self._part.fetched_bytes if self._part is not None else 0
        return Fetching(wait_seconds, fetched, self._total_bytes, self._reason)

    def _begin_anew(self) -> None:
        self._refusals = 0
        self._silent_since = self._making_since = None
        self._reason = ""

    def _wait(self, error: SnapshotUnavailable) -> Fetching | None:
        now = self._clock.boot_seconds()
        bounds = self._settings
        self._reason = error.reason
        wait_seconds = max(self._retry.next_seconds(), error.retry_after_seconds)
        if error.reason == "none":
            self._give_up()
            return None
        if error.reason == "being_made":
            self._making_since = now if self._making_since is None else self._making_since
            if now - self._making_since > bounds.making_seconds:
                self._give_up()
                return None
        elif error.reason != "gone":
            self._silent_since = now if self._silent_since is None else self._silent_since
            if now - self._silent_since > bounds.patience_seconds:
                self._give_up()
                return None
        self._not_before = now + wait_seconds
        return self._fetching(min(wait_seconds, bounds.step_seconds))

    def _refuse(self, error: SnapshotRefused) -> Fetching | None:
        self._refusals += 1
        self._reason = self._newest_refused = error.reason
        wait_seconds = self._refused.next_seconds()
        self._not_before = self._clock.boot_seconds() + wait_seconds
        if self._refusals >= self._settings.refusals_max or error.reason in _NOT_FOR_US:
            self._give_up()
            return None
        return self._fetching(min(wait_seconds, self._settings.step_seconds))

    def _give_up(self) -> None:
        reason = self._reason
        self._begin_anew()
        self._reason = reason

    # Fetching

    async def _fetch(self, need: Need) -> Fetched:
        choice = await self._choose(need)
        manifest = choice.manifest
        part = await self._open_part(manifest)
        try:
            await self._fetch_missing(choice.holder, part)
            await self._offload(part.finish)
            path = await self._offload(lambda: _take_over(part.path, choice, self._keys))
        except SnapshotRefused as error:
            log.warning("refused a snapshot file of %s: %s", choice.holder.name, error)
            await self._offload(part.remove)
            self._let_part_go(part)
            if error.reason in _OF_THE_BYTES:
                self._note_wrong(choice.holder.name, manifest.name)
            raise
        except SnapshotUnavailable as error:
            if error.reason == "gone":
                await self._offload(part.remove)
                self._let_part_go(part)
            raise
        except BaseException:
            self._let_part_go(part)
            raise
        self._let_part_go(part)
        return Fetched(path, manifest)

    def _note_wrong(self, holder: str, name: str) -> None:
        """Pass a node over for a while whose file has arrived wrong again; then it, or the line, may be mended."""
        self._wrong[holder, name] += 1
        if self._wrong[holder, name] >= _WRONG_MAX:
            self._wrong[holder, name] = 0
            until = self._clock.boot_seconds() + self._settings.wrong_seconds
            self._wrong_until[holder, name] = until

    async def _open_part(self, manifest: SnapshotManifest) -> FilePart:
        """Go on with what is open, or with what an earlier life left; what is of another file is removed."""
        if self._part is not None and self._part.manifest == manifest:
            return self._part
        self._let_part_go(self._part)
        part = FilePart(self._directory, manifest)
        self._part, self._total_bytes = part, manifest.file_bytes
        try:
            await self._offload(part.open)
        except BaseException:
            self._let_part_go(part)
            raise
        log.info("snapshot file %s from byte %d", manifest.name, part.fetched_bytes)
        return part

    async def _fetch_missing(self, holder: SnapshotHolder, part: FilePart) -> None:
        """Fetch chunk after chunk, one ahead."""
        manifest = part.manifest
        ahead: asyncio.Task[Content] | None = None
        try:
            while part.chunks < len(manifest.chunks):
                if ahead is None:
                    ahead = self._ask_for(holder, manifest.name, *part.missing())
                content = await ahead
                ahead = None
                before = part.chunks
                if before + 1 < len(manifest.chunks):
                    following = manifest.chunk_range(before + 1)
                    ahead = self._ask_for(holder, manifest.name, *following)
                await self._offload(partial(part.add, content))
                if part.chunks > before:
                    self._silent_since = None
                    self._retry.reset()
                elif ahead is not None:
                    # The same chunk is asked for again: what was asked ahead is not next.
                    _let_go(ahead)
                    ahead = None
        finally:
            if ahead is not None:
                _let_go(ahead)

    def _ask_for(
        self, holder: SnapshotHolder, name: str, begin: int, end: int
    ) -> asyncio.Task[Content]:
        async def all_of_it() -> Content:
            parts: list[Content] = []
            at = begin
            while at < end:
                content = await holder.fetch(name, at, end)
                if not content or len(content) > end - at:
                    reason = "too_large" if content else "truncated"
                    raise SnapshotRefused(reason, f"{len(content)} bytes came of {end - at}")
                parts.append(content)
                at += len(content)
            return parts[0] if len(parts) == 1 else b"".join(parts)

        async def in_time() -> Content:
            try:
                async with asyncio.timeout(self._settings.chunk_seconds):
                    return await all_of_it()
            except TimeoutError as error:
                raise SnapshotUnavailable("silent", "a chunk took too long") from error

        return asyncio.create_task(in_time())

    async def _choose(self, need: Need) -> _Choice:
        """Ask everybody what they have; prefer the first whose file is not much older than the newest."""
        answers = await asyncio.gather(*(self._ask(holder, need) for holder in self._holders))
        choices = [answer for answer in answers if isinstance(answer, _Choice)]
        if not choices:
            raise _worst([answer for answer in answers if not isinstance(answer, _Choice)])
        epoch, newest = max((one.manifest.epoch, one.manifest.as_of) for one in choices)
        for choice in choices:
            older_seconds = (newest - choice.manifest.as_of).total_seconds()
            if choice.manifest.epoch == epoch and older_seconds <= self._settings.older_seconds:
                return choice
        raise AssertionError("the newest is among them")

    async def _ask(
        self, holder: SnapshotHolder, need: Need
    ) -> _Choice | SnapshotRefused | SnapshotUnavailable:
        asked = self._clock.boot_seconds()
        try:
            offer = await holder.offer()
            manifest = open_offer(
                offer, self._shard, need, self._check_signature, self._known_versions
            )
            keys = offered_keys(offer, manifest, self._keys)
        except SnapshotUnavailable as error:
            return error
        except SnapshotRefused as error:
            log.warning("refused an offer of %s: %s", holder.name, error)
            return error
        if self._wrong_until.get((holder.name, manifest.name), 0.0) > asked:
            return SnapshotUnavailable("none", "its file arrived wrong, and again")
        age = AsOf(
            manifest.as_of, asked, offer.age_seconds, offer.age_at_least, self._clock.boot_id()
        )
        return _Choice(holder, manifest, age, keys)


def _take_over(path: Path, choice: _Choice, keys: FileKeys) -> Path:
    """Check a whole file and make it this node's: with an age of ours, and under our key if it came under its own."""
    check_contents(path, choice.manifest, choice.keys)
    if choice.keys:
        path = _copied(path, choice.keys, keys)
    put_age(path, choice.as_of, keys)
    return path


def _copied(path: Path, keys: FileKeys, to: FileKeys) -> Path:
    target = path.with_name(f"{path.name}{_OURS_SUFFIX}")
    for left in path.parent.glob(f"{target.name}*"):
        left.unlink()
    try:
        check_space(target, path.stat().st_size)
    except StorageFailed as error:
        raise SnapshotRefused("no_space", str(error)) from error
    try:
        copy_under(path, keys, target, to)
    except OperationalError as error:
        raise StorageFailed(f"{target.name}: {error}") from error
    except DatabaseError as error:
        raise SnapshotRefused("not_a_replica", str(error)) from error
    path.unlink()
    return target


def _worst(
    answers: Sequence[SnapshotRefused | SnapshotUnavailable],
) -> SnapshotRefused | SnapshotUnavailable:
    """Tell what it comes to that nobody has a file for us: what may soon be otherwise counts first."""
    unavailable = {one.reason: one for one in answers if isinstance(one, SnapshotUnavailable)}
    refused = [one for one in answers if isinstance(one, SnapshotRefused)]
    for reason in ("being_made", "busy"):
        if reason in unavailable:
            return unavailable[reason]
    if refused:
        return refused[0]
    for reason in ("none", "gone", "silent"):
        if reason in unavailable:
            return unavailable[reason]
    return SnapshotUnavailable("none", "nobody hands snapshot files out")


def _let_go(task: asyncio.Task[Content]) -> None:
    task.cancel()
    task.add_done_callback(_look_at_result)


def _look_at_result(task: asyncio.Task[Fetched] | asyncio.Task[Content]) -> None:
    # Nobody waits for it any more; asyncio would report an error that nobody missed.
    if not task.cancelled():
        task.exception()

"""
A follower keeps a node's snapshot at the feed's newest barrier, and never lets a reader see anything else.

It tails: pages up to the next barrier are applied to the current snapshot in one transaction. What would be too much
for one, and everything that begins anew, is built in a file beside, verified, and swapped in. What does not fit (a gap,
a fork, a bad hash) is not applied: the old snapshot keeps serving, the status says why, a new one is built beside it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

from cache_sync.backoff import Backoff
from cache_sync.clock import Clock
from cache_sync.documents import DEFAULT_SHARD
from cache_sync.durability import DurablePlace
from cache_sync.errors import (
    BelowFloor,
    DamagedSnapshot,
    EpochChanged,
    FeedUnavailable,
    Forked,
    InvalidFrame,
    NotTakenHere,
    StorageFailed,
)
from cache_sync.feed_client import Asker, FeedClient
from cache_sync.follower_settings import FollowerSettings
from cache_sync.follower_status import FollowerStatus, Phase, StatusKeeper, read_status
from cache_sync.frame_guards import FATAL_TO_A_BUILD, Held, check_follows, check_no_step_back
from cache_sync.frames import CheckedFrame
from cache_sync.leftovers import Leftovers
from cache_sync.offload import Offload, in_thread
from cache_sync.page_pace import PagePace
from cache_sync.rebuilding import Rebuilding
from cache_sync.repairs import Repair
from cache_sync.replica import ReplicaWriter
from cache_sync.snapshot_build import SnapshotBuild, SnapshotMaker
from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.snapshot_source import Fetched, SnapshotSource
from cache_sync.snapshot_start import SnapshotStart

log = logging.getLogger(__name__)

_FAR_BEHIND = "far_behind"


class Follower:
    """
    The only writer of one snapshot folder.

    Args:
        source: Where the frames come from.
        directory: The snapshot folder; made when it is not there.
        shard: The shard to follow.
        clock: Time.
        rng: Where jitter and file names come from.
        settings: Bounds.
        offload: Where copying and verifying a whole snapshot runs.
        folder: The folder's disk, where it is not the ordinary one.
        files: Where whole snapshots can be fetched from; without it everything is read from the feed.
        path: Tells the nodes that the documents come through now, for the status.
    """

    def __init__(  # noqa: PLR0913 - everything that a simulator replaces
        self,
        source: FeedClient,
        directory: Path,
        *,
        shard: str = DEFAULT_SHARD,
        clock: Clock,
        rng: Random,
        settings: FollowerSettings | None = None,
        offload: Offload = in_thread,
        folder: SnapshotFolder | None = None,
        files: SnapshotSource | None = None,
        path: Callable[[], list[str]] = list,
    ) -> None:
        self._folder = folder or SnapshotFolder(directory)
        self._shard = shard
        self._clock = clock
        self._rng = rng
        self._settings = settings or FollowerSettings()
        self._offload = offload
        self._path = path
        self._retry = Backoff(
            self._settings.retry_first_seconds, self._settings.retry_cap_seconds, rng
        )
        self._rebuilding = Rebuilding(self._settings, clock=clock, rng=rng)
        self._pace = PagePace(self._settings)
        self._durable = DurablePlace(
            self._folder, offload=offload, clock=clock, every_seconds=self._settings.durable_seconds
        )
        self._leftovers = Leftovers(self._folder, clock=clock, settings=self._settings)
        self._files = SnapshotStart(files, gap_seqs_min=self._settings.file_gap_seqs)
        self._maker = SnapshotMaker(self._folder, shard, clock=clock)
        self._opened = False
        self._current: Path | None = None
        self._writer: ReplicaWriter | None = None
        self._held: Held | None = None
        self._least = (0, 0)
        self._pages: list[CheckedFrame] = []
        self._build: SnapshotBuild | None = None
        self._refusals = 0
        self._keeper = StatusKeeper(
            self._folder.directory, shard, clock=clock, write_seconds=self._settings.status_seconds
        )
        self._asker = Asker(
            source,
            clock=clock,
            answer_seconds_max=self._settings.answer_seconds_max,
            known_versions=self._settings.known_versions,
            heard=self._keeper.note_answer,
        )

    @property
    def status(self) -> FollowerStatus:
        """What the follower is doing now."""
        return self._keeper.status

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until told to stop."""
        stopping = asyncio.create_task(self._stop_asking(stop))
        try:
            while not stop.is_set():
                delay = await self.step()
                if delay > 0:
                    waiting = asyncio.ensure_future(self._clock.sleep(delay))
                    await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
        finally:
            stopping.cancel()
        self.close()

    def put_right(self, epoch: int, repairs: Sequence[Repair]) -> int:
        """
        Put rows of the current snapshot right, between two steps; return how many.

        Raises:
            DamagedSnapshot: The file cannot be read.
            StorageFailed: The disk refused.
        """
        return 0 if self._writer is None else self._writer.put_right(epoch, repairs)

    def doubt(self) -> None:
        """Replace the current snapshot, which somebody could not read, unless another one is under way."""
        if self._writer and self._build is None and not self._rebuilding.is_planned:
            self._replace_snapshot("damaged")

    async def _stop_asking(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._asker.stop()

    async def step(self) -> float:
        """
        Ask one question and act on the answer; return for how many seconds nothing is to be asked.

        Nothing that comes from the feed or the disk is raised: it is in the status.
        """
        try:
            delay = await self._step()
        except FeedUnavailable as error:
            if not self._rebuilding.is_planned and not self._asker.stopped:
                self._keeper.say("disconnected", str(error))
            if self._files.exist and self._build is not None and self._build.is_empty:
                # Nothing was read yet: a file may be had sooner.
                self._drop_unfinished()
            delay = self._retry.next_seconds()
        except EpochChanged as error:
            delay = self._follow_epoch(error.epoch)
        except Forked:
            delay = self._replace_snapshot("forked")
            self._files.need(epoch_min=self._least[0] + 1)
        except BelowFloor as error:
            delay = self._replace_snapshot("below_floor")
            self._files.need(epoch_min=self._least[0], seq_min=error.floor)
        except InvalidFrame as error:
            delay = self._refuse(error)
        except NotTakenHere as error:
            delay = self._wait_for_change_above(error)
        except DamagedSnapshot as error:
            log.warning("the snapshot is damaged: %s", error)
            delay = self._replace_snapshot("damaged")
        except StorageFailed as error:
            delay = self._reopen_later(error)
        self._write_status()
        return delay

    async def _step(self) -> float:
        self._open()
        if self._build is None and (self._held is None or self._rebuilding.is_planned):
            wait_seconds = await self._begin()
            if wait_seconds is not None:
                return wait_seconds
        frame, asked = await self._ask()
        if self._build is not None:
            await self._continue_build(self._build, frame, asked)
        else:
            await self._tail(frame, asked)
        self._retry.reset()
        self._refusals = 0
        answered_in = self._clock.boot_seconds() - asked
        if frame.rows or answered_in >= self._settings.heartbeat_seconds_min:
            return 0.0
        # A source that does not wait for news must not be asked without end.
        return self._settings.heartbeat_seconds_min

    # Opening

    def _open(self) -> None:
        if self._opened:
            return
        self._durable.forget()
        self._current = self._folder.current()
        self._folder.remove_unneeded(keep=set())
        self._opened = True
        if self._current is None:
            return
        before = read_status(self._folder.directory)
        if before is not None and before.shard == self._shard:
            # What was shown before a snapshot was damaged or lost still binds the one that replaces it.
            self._least = max(self._least, (before.epoch, before.cursor))
        if not self._current.exists():
            raise DamagedSnapshot(f"{self._current.name} is missing")
        self._open_writer(self._current)
        if before is not None and before.rebuild_snapshot == self._current.name:
            self._rebuilding.plan_at_once(before.reason)

    def _open_writer(self, path: Path) -> Held:
        self._writer = writer = self._maker.writer(path)
        held = writer.held()
        if held.as_of is None:
            raise DamagedSnapshot(f"{path.name} has not reached a barrier")
        self._hold(held)
        return held

    def _hold(self, held: Held) -> None:
        self._held = held
        self._least = max(self._least, (held.epoch, held.cursor))

    async def _ask(self) -> tuple[CheckedFrame, float]:
        after, epoch, wait = self._question()
        return await self._asker.ask(after, epoch, self._pace.rows, wait)

    def _question(self) -> tuple[int, int, float]:
        if self._build is not None:
            return self._build.cursor, self._build.question_epoch(), 0.0
        assert self._held is not None, "without a snapshot one is built"
        if self._pages:
            return self._pages[-1].upto, self._held.epoch, 0.0
        return self._held.cursor, self._held.epoch, self._settings.wait_seconds

    # Tailing

    async def _tail(self, frame: CheckedFrame, asked: float) -> None:
        held, writer = self._held, self._writer
        assert held is not None
        assert writer is not None
        if frame.epoch != held.epoch and frame.shard == held.shard:
            raise EpochChanged(frame.epoch)
        reached = held if not self._pages else held._replace(cursor=self._pages[-1].upto)
        check_follows(frame, reached)
        if frame.floor > reached.cursor > 0:
            raise BelowFloor(frame.floor)
        self._pages.append(frame)
        if frame.barrier:
            self._count(lambda: writer.apply(self._pages, asked))
            self._pages = []
            self._hold(writer.held())
            self._files.led_on()
            self._rebuilding.note_following()
            self._keeper.say("following")
            await self._durable.keep_up(writer.path, self._held or held)
            if self._leftovers.clear(writer):
                await self._build_on(writer, "an account was deleted", rewritten=True)
        elif len(self._pages) < self._settings.tail_pages_max:
            self._keeper.say("following", "more pages to the next barrier")
        elif self._files.is_cheaper(held.epoch, held.cursor, frame.head):
            self._pages = []
            self._rebuilding.plan_at_once(_FAR_BEHIND)
        else:
            await self._build_on(writer, "more changes than one transaction should hold")

    async def _build_on(self, writer: ReplicaWriter, why: str, *, rewritten: bool = False) -> None:
        path = self._folder.new_build(self._rng)
        self._keeper.say("catching_up", why)
        try:
            await self._offload(lambda: writer.copy_to(path, rewritten=rewritten))
            self._build = build = self._maker.build(path, from_copy=True)
            pages, self._pages = self._pages, []
            for page in pages:
                self._keeper.count(rows=build.add(page, 0.0))
        except (StorageFailed, DamagedSnapshot):
            if self._build is None:
                self._folder.discard(path)
            raise

    def _count(self, apply: Callable[[], int]) -> None:
        begun = self._clock.boot_seconds()
        rows = apply()
        self._pace.note(rows, self._clock.boot_seconds() - begun)
        self._keeper.count(rows=rows)

    # Building beside

    async def _begin(self) -> float | None:
        """Begin anew, with a file or with the feed; returns how long to wait before going on, None to ask the feed."""
        remaining = self._rebuilding.remaining_seconds()
        if remaining > 0:
            self._keeper.say("stopped", self._rebuilding.reason)
            return min(remaining, self._settings.status_seconds)
        found = await self._files.step(self._least[0])
        if isinstance(found, Fetched):
            self._begin_with(found)
            return 0.0
        if found is not None:
            self._keeper.say_fetching(found, self._rebuilding.reason)
            return found.wait_seconds
        if self._rebuilding.reason == _FAR_BEHIND:
            # What is held is true: it is read on from.
            self._rebuilding.clear()
            return None
        self._build = self._maker.build(self._folder.new_build(self._rng), from_copy=False)
        self._keeper.say("bootstrapping", self._rebuilding.reason)
        return None

    def _begin_with(self, fetched: Fetched) -> None:
        """Show a file where it is no step back; else read on in it, beside, until it is none."""
        held, manifest = self._held, fetched.manifest
        path = self._folder.take(fetched.path, self._rng)
        newer = held is None or manifest.epoch > held.epoch or manifest.as_of >= held.as_of_or_never
        if manifest.place >= self._least and newer:
            self._swap(self._folder.adopt(path, manifest.seq))
        else:
            self._build = self._maker.build(path, from_copy=True)

    async def _continue_build(
        self, build: SnapshotBuild, frame: CheckedFrame, asked: float
    ) -> None:
        if frame.epoch < self._least[0]:
            raise EpochChanged(frame.epoch)
        self._count(lambda: build.add(frame, asked))
        phase: Phase = "catching_up" if build.from_copy else "bootstrapping"
        self._keeper.say(phase, self._rebuilding.reason)
        if not frame.barrier:
            return
        finished = await self._offload(build.verify)
        check_no_step_back(finished, self._held, self._least)
        build.finish()
        self._files.led_on()
        self._swap(self._folder.adopt(build.path, finished.cursor))

    def _swap(self, adopted: Path) -> None:
        previous, old_writer = self._current, self._writer
        self._build, self._current, self._writer = None, adopted, None
        self._rebuilding.clear()
        self._files.clear()
        self._keeper.note(rebuild_snapshot="", file_bytes=0, file_bytes_total=0)
        self._keeper.count(snapshots_built=1)
        if old_writer is not None:
            old_writer.close()
        self._durable.adopted(self._open_writer(adopted))
        self._leftovers.replaced(previous)
        self._keeper.say("following")

    # When something does not fit

    def _follow_epoch(self, epoch: int) -> float:
        if epoch < self._least[0]:
            # Nothing of an older epoch may replace what is held; ask again, the source may be put right.
            self._drop_unfinished()
            self._keeper.say("stopped", "older_epoch")
            return self._rebuilding.pause()
        delay = self._replace_snapshot("epoch_changed")
        self._files.need(epoch_min=epoch)
        return delay

    def _refuse(self, error: InvalidFrame) -> float:
        self._refusals += 1
        self._keeper.count(frames_refused=1)
        log.warning("refused a frame: %s", error)
        fatal = self._build is not None and error.reason in FATAL_TO_A_BUILD
        doubted = self._refusals >= self._settings.refusals_max or error.reason == "collision"
        if fatal or doubted:
            self._refusals = 0
            return self._replace_snapshot(error.reason)
        # A frame damaged on its way says nothing about the snapshot: ask again before doubting it.
        self._pages = []
        self._keeper.say("stopped", error.reason)
        return self._retry.next_seconds()

    def _wait_for_change_above(self, error: NotTakenHere) -> float:
        """Serve on what is held; a new snapshot would hold the same, only another release or source can help."""
        self._drop_unfinished()
        self._keeper.say("stopped", error.reason)
        return self._rebuilding.pause()

    def _replace_snapshot(self, reason: str) -> float:
        """Stop applying; build a new snapshot beside after a while that grows with every attempt."""
        self._drop_unfinished()
        self._files.failed()
        delay = self._rebuilding.plan(reason)
        name = self._current.name if self._current is not None else ""
        self._keeper.note(rebuild_snapshot=name)
        self._keeper.say("stopped", reason)
        return min(delay, self._settings.status_seconds)

    def _reopen_later(self, error: StorageFailed) -> float:
        log.warning("the disk refused: %s", error)
        self._drop_unfinished()
        if self._writer is not None:
            # After a failed flush SQLite may believe what the disk does not hold: look at the file anew.
            with suppress(StorageFailed, DamagedSnapshot):
                self._writer.close()
        self._writer = self._held = None
        self._opened = False
        self._keeper.say("stopped", error.reason)
        return self._retry.next_seconds()

    def _drop_unfinished(self) -> None:
        self._pages = []
        build, self._build = self._build, None
        if build is not None:
            with suppress(StorageFailed, DamagedSnapshot):
                build.abandon()
            with suppress(StorageFailed):
                self._folder.discard(build.path)

    def _write_status(self) -> None:
        held, build = self._held, self._build
        if held is not None:
            self._keeper.note(epoch=held.epoch, cursor=held.cursor)
        epoch, cursor = self._durable.place
        self._keeper.note(durable_epoch=epoch, durable_cursor=cursor)
        self._keeper.note(building_cursor=None if build is None else build.cursor)
        self._keeper.note(path=self._path(), file_refused=self._files.refused)
        self._keeper.write()

    def close(self) -> None:
        """Stop: abandon what is unfinished and let the files go."""
        self._files.close()
        self._drop_unfinished()
        if self._writer is not None:
            self._writer.close()
        self._writer = self._held = None
        self._opened = False

"""What a follower is doing, for operators: a small file that it replaces whole."""

import logging
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from cache_sync.clock import Clock
from cache_sync.frames import Position
from cache_sync.snapshot_source import Fetching

log = logging.getLogger(__name__)

STATUS_NAME = "follower.json"

Phase = Literal["starting", "bootstrapping", "following", "catching_up", "disconnected", "stopped"]


class FollowerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a follower was doing when it last wrote.

    ``phase`` is `following` when the newest answer was applied at a barrier or is on the way to one;
    `bootstrapping` while a snapshot is built from the beginning, `catching_up` while one is built in a copy (the old
    one serves meanwhile); `disconnected` without an answer; `stopped` when what came must not be applied, for
    ``reason``. ``cursor`` and ``epoch`` are the current snapshot's, ``head`` is the feed's as last heard.
    ``durable_epoch`` and ``durable_cursor`` are what of it would survive a power loss, 0 while that is not known.
    ``answered_at`` is when the question was sent that the feed last answered, by this node's wall clock.
    ``rebuild_snapshot`` names a snapshot that is not to be followed further, only replaced: it survives a restart.
    ``file_bytes`` of ``file_bytes_total`` have come of a snapshot file that is being fetched; ``file_refused`` is why
    the newest file that was looked at was refused, empty when it was taken.
    ``path`` names the nodes that the documents come through: whom this node asks first, the core last.
    """

    phase: Phase
    reason: str = ""
    since: datetime
    shard: str
    epoch: int = 0
    cursor: int = 0
    head: int = 0
    durable_epoch: int = 0
    durable_cursor: int = 0
    building_cursor: int | None = None
    rows_applied: int = 0
    frames_refused: int = 0
    snapshots_built: int = 0
    file_bytes: int = 0
    file_bytes_total: int = 0
    file_refused: str = ""
    answered_at: datetime | None = None
    answered_boot_seconds: float | None = None
    written_boot_seconds: float = 0.0
    boot_id: str = ""
    rebuild_snapshot: str = ""
    path: list[str] = []

    @property
    def upstream(self) -> str:
        """Whom this node asks for documents; empty when it is not known."""
        return self.path[0] if self.path else ""

    @property
    def kept(self) -> Position | None:
        """The position up to which nothing is lost any more; None while it is not known."""
        if self.durable_epoch == 0:
            return None
        return Position(self.durable_epoch, self.shard, self.durable_cursor)

    def answer_age_seconds(self, clock: Clock) -> float | None:
        """Tell how long ago the question was sent that the feed last answered; None when not in this boot."""
        if self.answered_boot_seconds is None or self.boot_id != clock.boot_id():
            return None
        return max(0.0, clock.boot_seconds() - self.answered_boot_seconds)

    def written_age_seconds(self, clock: Clock) -> float | None:
        """Tell how old this status is: a follower writes every few seconds; None when not of this boot."""
        if self.boot_id != clock.boot_id():
            return None
        return max(0.0, clock.boot_seconds() - self.written_boot_seconds)


def write_status(directory: Path, status: FollowerStatus) -> None:
    """Replace the status in a snapshot folder."""
    temporary = directory / f"{STATUS_NAME}.new"
    temporary.write_bytes(msgspec.json.encode(status))
    temporary.replace(directory / STATUS_NAME)


def read_status(directory: Path) -> FollowerStatus | None:
    """Read the status from a snapshot folder; None when there is none that can be read."""
    try:
        return msgspec.json.decode((directory / STATUS_NAME).read_bytes(), type=FollowerStatus)
    except (OSError, msgspec.DecodeError):
        return None


class StatusKeeper:
    """
    Keeps a follower's status, logs its changes and writes it out.

    Args:
        directory: The snapshot folder.
        shard: The shard that is followed.
        clock: Time.
        write_seconds: How often an unchanged phase is written.
    """

    def __init__(self, directory: Path, shard: str, *, clock: Clock, write_seconds: float) -> None:
        self._directory = directory
        self._clock = clock
        self._write_seconds = write_seconds
        self._changed = True
        self.status = FollowerStatus(
            phase="starting", since=clock.now(), shard=shard, boot_id=clock.boot_id()
        )

    def say(self, phase: Phase, reason: str = "") -> None:
        """Enter a phase, or stay in it for another reason."""
        if (phase, reason) == (self.status.phase, self.status.reason):
            return
        level = logging.INFO if phase in {"following", "bootstrapping"} else logging.WARNING
        log.log(level, "follower %s%s", phase, f": {reason}" if reason else "")
        self.status = msgspec.structs.replace(
            self.status, phase=phase, reason=reason, since=self._clock.now()
        )
        self._changed = True

    def say_fetching(self, fetching: Fetching, reason: str) -> None:
        """Tell how far a snapshot file is that is being fetched, for a reason of the follower's."""
        phase: Phase = "disconnected" if fetching.reason == "silent" else "bootstrapping"
        self.say(phase, fetching.reason or reason)
        self.note(file_bytes=fetching.fetched_bytes, file_bytes_total=fetching.total_bytes)

    def note(self, **changes: float | str | datetime | list[str] | None) -> None:
        """Replace fields of the status; they are written with the next change of phase or when it is time."""
        self.status = msgspec.structs.replace(self.status, **changes)

    def note_answer(self, head: int, asked_boot_seconds: float) -> None:
        """Note what the feed's head was, and when the question was sent that it came with."""
        since = self._clock.boot_seconds() - asked_boot_seconds
        asked_at = self._clock.now() - timedelta(seconds=since)
        self.note(head=head, answered_at=asked_at, answered_boot_seconds=asked_boot_seconds)

    def count(self, *, rows: int = 0, frames_refused: int = 0, snapshots_built: int = 0) -> None:
        """Add to the counters."""
        self.note(
            rows_applied=self.status.rows_applied + rows,
            frames_refused=self.status.frames_refused + frames_refused,
            snapshots_built=self.status.snapshots_built + snapshots_built,
        )

    def write(self) -> None:
        """Write the status out when its phase has changed or it is time."""
        now = self._clock.boot_seconds()
        if not self._changed and now - self.status.written_boot_seconds < self._write_seconds:
            return
        self.note(written_boot_seconds=now)
        # The status informs; a disk that refuses it has been reported by what mattered more.
        with suppress(OSError):
            write_status(self._directory, self.status)
            self._changed = False

"""What may happen between a core and a follower, and to the follower's process."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, cast

import msgspec

from cache_sync.errors import FeedUnavailable
from cache_sync.frames import Frame, Proof, decode_frame, encode_frame, sealed
from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.sqlite import Connection
from tests.property.replication_core import Core

HONEST: Final = ""
FAULTS: Final = (
    "lost",
    "again",
    "late",
    "damaged",
    "cut",
    "shortened",
    "row left out",
    "body changed",
)
"""
What becomes of an answer. The last two are made whole again by whoever did it: a node in between with a fault of its
own, whose frames pass every check but the sum of all rows. A `late` answer was held by a node in between, which says so
in its age.
"""


class Fault(NamedTuple):
    """What becomes of the next answer; `at` chooses the byte or the row."""

    kind: str
    at: int


class ProcessDied(BaseException):
    """The process is gone: nothing after this ran."""


class Doom:
    """
    Counts operations on the disk; at zero the process is dead and does nothing more.

    With `only_files` statements are not counted: renames and flushes are few among them, and where most can go wrong.
    """

    def __init__(self) -> None:
        self.remaining: int | None = None
        self.only_files = False
        self.connections: list[Connection] = []

    def tick(self, *, is_statement: bool = True) -> None:
        """Count an operation, or die."""
        if self.remaining is None or (is_statement and self.only_files and self.remaining > 0):
            return
        if self.remaining <= 0:
            raise ProcessDied
        self.remaining -= 1


class MortalConnection:
    """A connection whose process may die before any statement."""

    def __init__(self, connection: Connection, doom: Doom) -> None:
        self._connection = connection
        self._doom = doom

    def execute(self, sql: str, parameters: object = ()) -> object:
        """Run a statement, or die before it."""
        self._doom.tick()
        return self._connection.execute(sql, parameters)  # type: ignore[arg-type]

    def executemany(self, sql: str, rows: object) -> object:
        """Run a statement for many rows, or die before it."""
        self._doom.tick()
        return self._connection.executemany(sql, rows)  # type: ignore[arg-type]

    def backup(self, target: object) -> None:
        """Copy all pages, or die before it."""
        self._doom.tick()
        into = target._connection if isinstance(target, MortalConnection) else target
        self._connection.backup(cast("Connection", into))

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


class MortalFolder(SnapshotFolder):
    """A snapshot folder whose process may die before any operation."""

    def __init__(self, directory: Path, doom: Doom) -> None:
        super().__init__(directory)
        self._doom = doom

    def open_for_writing(self, path: Path) -> Connection:
        """Open a file, or die before it."""
        self._doom.tick()
        connection = super().open_for_writing(path)
        self._doom.connections.append(connection)
        return cast("Connection", MortalConnection(connection, self._doom))

    def _replace(self, source: Path, target: Path) -> None:
        self._doom.tick(is_statement=False)
        super()._replace(source, target)

    def _sync(self, path: Path) -> None:
        self._doom.tick(is_statement=False)
        super()._sync(path)


class FaultyClient:
    """Asks the core for one shard and does to the answer what the test says."""

    def __init__(self, core: Core, shard: str, reached: Callable[[], Proof | None]) -> None:
        self._core = core
        self._shard = shard
        self._reached = reached
        self.page_rows = 2
        self.fault = Fault(HONEST, 0)
        self._delivered: Frame | None = None
        self._held: list[tuple[Frame, float]] = []

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Ask once."""
        del limit, wait
        fault, self.fault = self.fault, Fault(HONEST, 0)
        if fault.kind == "again" and self._delivered is not None:
            return self._delivered
        frame = await self._core.answer(self._shard, after, epoch, self.page_rows, self._reached())
        if fault.kind == "lost":
            raise FeedUnavailable("lost")
        if fault.kind == "late":
            return self._exchange(frame, fault.at)
        altered = alter(frame, fault)
        if fault.kind == HONEST:
            self._delivered = frame
        return altered

    def _exchange(self, frame: Frame, at: int) -> Frame:
        """Hold an answer back; deliver one of those that were held, whatever it answered."""
        now = self._core.clock.boot
        if not self._held:
            self._held.append((frame, now))
            raise FeedUnavailable("held back")
        held, since = self._held.pop(at % len(self._held))
        self._held.append((frame, now))
        return sealed(msgspec.structs.replace(held, age_seconds=held.age_seconds + now - since))

    def reconnect(self) -> None:
        """Forget old answers: a new process has new connections."""
        self._delivered = None


def alter(frame: Frame, fault: Fault) -> Frame:
    """Do to a frame what a fault does."""
    rows = frame.rows
    if fault.kind == "shortened":
        return msgspec.structs.replace(frame, rows=rows[1:], count=len(rows[1:]))
    if fault.kind in {"damaged", "cut"}:
        content = bytearray(encode_frame(frame))
        if fault.kind == "cut":
            return decode_frame(bytes(content[: fault.at % len(content)]))
        content[fault.at % len(content)] ^= 1 << (fault.at % 8)
        return decode_frame(bytes(content))
    if fault.kind == "row left out" and rows:
        left = [row for number, row in enumerate(rows) if number != fault.at % len(rows)]
        # A page that is no barrier ends at its last row.
        upto = frame.upto if frame.barrier or not left else left[-1].seq
        if left or frame.barrier:
            return sealed(msgspec.structs.replace(frame, rows=left, count=len(left), upto=upto))
    if fault.kind == "body changed" and rows:
        number = fault.at % len(rows)
        changed = msgspec.structs.replace(rows[number], body=b'"changed on its way"')
        return sealed(
            msgspec.structs.replace(frame, rows=[*rows[:number], changed, *rows[number + 1 :]])
        )
    return frame

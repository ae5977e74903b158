"""
What a watchdog can break on this machine, and how it heals each.

An order is taken and healed in the watchdog's own process, so healing asks nothing of whoever ordered it.
"""

import asyncio
import contextlib
import errno
import os
import resource
import shutil
import signal
import time
from pathlib import Path
from typing import Literal

import msgspec

from cache_sync.sql import DatabaseError
from cache_sync.sqlite import connect, write
from chaos.errors import ControlError
from chaos.process import descendants, process_state
from chaos.wrong_clock import move_clock

SIGNAL_SECONDS_MAX = 10.0
ASK_SECONDS_MAX = 30.0
_POLL_SECONDS = 0.01
_TRIGGER = "drill_poison"
_BALLAST_BYTES = 1024 * 1024


class _Order(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    def take(self) -> None:
        """Break it; returns when it certainly is. Raises `ControlError` or OSError, and then nothing is broken."""

    def heal(self) -> None:
        """Mend it; safe to repeat. Raises `ControlError` or OSError."""


def _family(pid: int) -> list[int]:
    """List a process and everything under it, itself first, so that a supervisor is stopped before its children."""
    return [pid, *descendants(pid)]


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


_GONE = frozenset({"", "Z", "X"})
_STOPPED = _GONE | {"T", "t"}


def _wait(pids: list[int], states: frozenset[str], failed: str) -> None:
    until = time.monotonic() + SIGNAL_SECONDS_MAX
    for pid in pids:
        while process_state(pid) not in states:
            if time.monotonic() > until:
                raise ControlError(f"process {pid} {failed}")
            time.sleep(_POLL_SECONDS)


class Kill(_Order, frozen=True, kw_only=True, tag="kill"):
    """
    Kill a process and wait until it is gone; what it started has to see to itself.

    ``number`` is the signal: SIGQUIT for a PostgreSQL, whose children would hold its memory for a while after SIGKILL.
    ``heal_url`` is asked to start what was killed (the page of a demo). Without one the processes go with whoever runs
    the drill, and nothing is left to heal.
    """

    pid: int
    heal_url: str = ""
    number: int = signal.SIGKILL

    def take(self) -> None:
        """Kill it."""
        try:
            os.kill(self.pid, self.number)
        except OSError as error:
            raise ControlError(f"cannot kill process {self.pid}: {error}") from error
        _wait([self.pid], _GONE, "does not die")

    def heal(self) -> None:
        """Ask for its start."""
        if self.heal_url:
            ask_to_heal(self.heal_url)


def ask_to_heal(heal_url: str) -> None:
    """Ask a demo to start everything that does not run, and to thaw what is frozen. Raises `ControlError`."""
    import httpx  # noqa: PLC0415 - a watchdog that asks nobody is there sooner

    try:
        answer = httpx.post(
            heal_url,
            data={"action": "heal"},
            headers={"Accept": "application/json"},
            timeout=ASK_SECONDS_MAX,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise ControlError(f"the demo did not answer: {error}") from error
    if answer.is_error:
        raise ControlError(f"the demo answered {answer.status_code}")


class Freeze(_Order, frozen=True, kw_only=True, tag="freeze"):
    """Stop a process, and with ``family`` everything under it, where it stands (SIGSTOP)."""

    pid: int
    family: bool = False

    def take(self) -> None:
        """Stop them."""
        if not process_state(self.pid):
            raise ControlError(f"there is no process {self.pid}")
        pids = self._pids()
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        _wait(pids, _STOPPED, "does not stop")

    def heal(self) -> None:
        """Let them go on; what was stopped last goes first, so that a supervisor finds its children awake."""
        for pid in reversed(self._pids()):
            _send(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        return _family(self.pid) if self.family else [self.pid]


class RefuseWrites(_Order, frozen=True, kw_only=True, tag="refuse_writes"):
    """
    Make every write to a file fail for a process and everything under it, as a full or failing disk does.

    A limit on the size of files (RLIMIT_FSIZE) does it without root; SQLite reports it as an I/O error.
    """

    pid: int

    def take(self) -> None:
        """Allow no byte."""
        for pid in _family(self.pid):
            self._limit(pid, 0)

    def heal(self) -> None:
        """Allow what is allowed at all, also to processes that were started meanwhile."""
        for pid in _family(self.pid):
            self._limit(pid, None)

    @staticmethod
    def _limit(pid: int, soft: int | None) -> None:
        try:
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if soft is None else soft, hard))
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise ControlError(f"process {pid} is not ours to limit") from error


class Fill(_Order, frozen=True, kw_only=True, tag="fill"):
    """Fill the file system that ``file`` is to lie on with this one file, unless more than ``bytes_max`` are free."""

    file: str
    bytes_max: int

    def take(self) -> None:
        """Write until there is no room. Raises `ControlError` when there is more than may be filled."""
        path = Path(self.file)
        if shutil.disk_usage(path.parent).free > self.bytes_max:
            raise ControlError(f"{path.parent} has more than {self.bytes_max} bytes free")
        step = _BALLAST_BYTES
        with path.open("xb", buffering=0) as ballast:
            while step:
                try:
                    os.write(ballast.fileno(), bytes(step))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    step //= 2

    def heal(self) -> None:
        """Take the file away."""
        Path(self.file).unlink(missing_ok=True)


class Damage(_Order, frozen=True, kw_only=True, tag="damage"):
    """Damage files where they are: ``flip`` a bit in the middle of each, or ``truncate`` it to half."""

    files: list[str]
    how: Literal["flip", "truncate"]

    def take(self) -> None:
        """Keep a copy of each, and damage it."""
        for path in map(Path, self.files):
            shutil.copy2(path, self._kept(path))
            with path.open("r+b") as file:
                middle = path.stat().st_size // 2
                file.seek(middle)
                if self.how == "truncate":
                    file.truncate()
                    continue
                (byte,) = file.read(1)
                file.seek(middle)
                file.write(bytes([byte ^ 0x40]))

    def heal(self) -> None:
        """Put each back as it was, unless it is gone meanwhile."""
        for path in map(Path, self.files):
            kept = self._kept(path)
            if kept.exists() and path.exists():
                kept.replace(path)
            kept.unlink(missing_ok=True)

    @staticmethod
    def _kept(path: Path) -> Path:
        return path.with_name(f".{path.name}.kept")


class Destroy(_Order, frozen=True, kw_only=True, tag="destroy"):
    """
    Kill a process with everything under it and delete its data, as a machine that is lost with its disk.

    Nothing brings the data back; who keeps the process starts it again, empty.
    """

    pid: int
    folder: str

    def take(self) -> None:
        """Kill, wait until all are gone, delete."""
        family = _family(self.pid)
        for pid in family:
            _send(pid, signal.SIGKILL)
        _wait(family, _GONE, "does not die")
        shutil.rmtree(self.folder)


class Weaken(_Order, frozen=True, kw_only=True, tag="weaken"):
    """Let a process run for a ``share`` of the time only, in turns, as on a machine that is too small."""

    pid: int
    share: float
    turn_seconds: float = 0.1

    def take(self) -> None:
        """Stop it for the first time."""
        if not process_state(self.pid):
            raise ControlError(f"there is no process {self.pid}")
        _send(self.pid, signal.SIGSTOP)

    async def pulse(self) -> None:
        """Let it run and stop it again, until cancelled."""
        while True:
            await asyncio.sleep(self.turn_seconds * (1 - self.share))
            _send(self.pid, signal.SIGCONT)
            await asyncio.sleep(self.turn_seconds * self.share)
            _send(self.pid, signal.SIGSTOP)

    def heal(self) -> None:
        """Let it run."""
        _send(self.pid, signal.SIGCONT)


class Skew(_Order, frozen=True, kw_only=True, tag="skew"):
    """Let the wall clock that a process reads from ``file`` be off, ``+2h`` for instance."""

    file: str
    by: str

    def take(self) -> None:
        """Let it jump."""
        move_clock(Path(self.file), self.by)

    def heal(self) -> None:
        """Set it right."""
        move_clock(Path(self.file), "+0")


class Poison(_Order, frozen=True, kw_only=True, tag="poison"):
    """Let a core's books refuse whatever is posted to one account, as a row does that no code expected."""

    database: str
    account_id: str

    def take(self) -> None:
        """Put a trigger before the entries of its ledger."""
        account = self.account_id.replace("'", "''")
        self._run(
            f"CREATE TRIGGER {_TRIGGER} BEFORE INSERT ON ledger_entries"
            f" WHEN NEW.account_id = '{account}' BEGIN SELECT RAISE(ABORT, 'drill'); END"
        )

    def heal(self) -> None:
        """Take the trigger away."""
        self._run(f"DROP TRIGGER IF EXISTS {_TRIGGER}")

    def _run(self, statement: str) -> None:
        connection = connect(Path(self.database), synchronous="FULL")
        try:
            with write(connection):
                connection.execute(statement)
        except DatabaseError as error:
            raise ControlError(f"the books cannot be changed: {error}") from error
        finally:
            connection.close()


Order = Kill | Freeze | RefuseWrites | Fill | Damage | Destroy | Weaken | Skew | Poison

"""When a process has to be replaced."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from cache_sync.clock import SystemClock
from edge_portal.settings import EdgePaths, EdgeSettings
from edge_portal.supervisor import (
    FIRST_BEAT_SECONDS,
    FROZEN_SECONDS,
    SILENT_SECONDS,
    Child,
    Supervisor,
    is_stopped,
)


@pytest.fixture
def child() -> Iterator[Child]:
    """Return a process that does nothing, and the end of its pipe that is heard."""
    made = Child("sleeper", "nothing", sockets=[])
    made.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    made.pipe, writing = os.pipe()
    os.set_blocking(made.pipe, False)
    os.write(writing, b".")
    yield made
    made.process.kill()
    made.process.wait()
    os.close(made.pipe)
    os.close(writing)


def test_a_process_that_beats_is_well(child: Child) -> None:
    """And one that has only just started may take its time."""
    assert child.complaint(FIRST_BEAT_SECONDS - 1) is None
    child.hear(100.0)
    assert child.complaint(100.0 + SILENT_SECONDS) is None


def test_silence_is_noticed(child: Child) -> None:
    """Before the first beat and after it."""
    assert child.complaint(FIRST_BEAT_SECONDS + 1) == "did not start"
    child.hear(100.0)
    child.hear(104.0)
    assert child.complaint(100.1 + SILENT_SECONDS) == "silent"


def test_a_stopped_process_is_noticed_after_a_moment(child: Child) -> None:
    """Long before it is silent; one that goes on in time is left alone."""
    assert child.process is not None
    child.hear(100.0)
    os.kill(child.process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.process.pid, os.WSTOPPED | os.WNOWAIT)
    assert is_stopped(child.process.pid)
    assert child.complaint(100.1) is None
    assert child.complaint(100.1 + FROZEN_SECONDS) == "frozen"
    os.kill(child.process.pid, signal.SIGCONT)
    os.waitid(os.P_PID, child.process.pid, os.WCONTINUED | os.WNOWAIT)
    assert child.complaint(100.2 + FROZEN_SECONDS) is None


def test_an_ended_process_is_noticed(child: Child) -> None:
    """Whatever ended it."""
    assert child.process is not None
    child.process.kill()
    child.process.wait()
    assert child.complaint(1.0) == "ended"
    assert not is_stopped(child.process.pid)


class DeafProcess:
    """A process that the kernel does not end yet: it waits for a disk."""

    pid = 2**30

    def __init__(self) -> None:
        self.killed = 0
        self.gone = False

    def poll(self) -> int | None:
        """Tell whether it has ended."""
        return -9 if self.gone else None

    def kill(self) -> None:
        """Take note."""
        self.killed += 1

    def wait(self, timeout: float | None = None) -> int:
        """Nobody may wait for it without an end."""
        if timeout is None:
            raise AssertionError("this would hang, and nobody would look after the others")
        raise subprocess.TimeoutExpired("deaf", timeout)


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    """Return a supervisor that has nothing to look after yet."""
    settings = cast("EdgeSettings", SimpleNamespace(paths=EdgePaths(tmp_path)))
    return Supervisor(settings, tmp_path / "config.json", clock=SystemClock())


def test_a_process_that_cannot_be_ended_holds_up_nobody(
    supervisor: Supervisor, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed once, and replaced when it is gone: two agents must not write one journal."""
    started: list[Child] = []
    monkeypatch.setattr(supervisor, "_start", started.append)
    deaf = DeafProcess()
    real, child.process = child.process, cast("subprocess.Popen[bytes]", deaf)
    child.hear(100.0)
    now = 101.0 + SILENT_SECONDS
    for moment in (now, now + 1, now + 2):
        assert not supervisor._look_after(child, moment)
    assert (deaf.killed, started) == (1, [])
    assert child.process is not None
    deaf.gone = True
    assert supervisor._look_after(child, now + 3)
    assert started == [child]
    child.process, (child.pipe, _) = real, os.pipe()


def test_a_process_that_cannot_be_started_is_tried_again(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine short of memory for a moment does not end the edge, nor cost descriptors."""

    def no_memory(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    child = Child("sleeper", "nothing", sockets=[])
    before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", no_memory)
        for moment in (100.0, 100.01, 110.0):
            assert not supervisor._look_after(child, moment)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert child.process is None
    assert child.start_at > 110.0

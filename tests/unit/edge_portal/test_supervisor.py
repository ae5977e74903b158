"""When a process has to be replaced."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from edge_portal.supervisor import (
    FIRST_BEAT_SECONDS,
    FROZEN_SECONDS,
    SILENT_SECONDS,
    Child,
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

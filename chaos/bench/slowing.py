"""
A process that gets only a share of its time: it is stopped and let go on a hundred times a second.

Run as ``python -m chaos.bench.slowing PID SHARE`` until it is ended. All threads of the process stop together, so what
is left is that share of whatever it could do. It needs no rights, and adds at most `PERIOD_SECONDS` to any wait.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final

from chaos.process import python_module, tied_to_us

PERIOD_SECONDS: Final = 0.01


@contextlib.contextmanager
def slowed(pid: int, share: float) -> Iterator[None]:
    """Let a process have a share of its time for the block. From the main thread."""
    slowing = subprocess.Popen(
        python_module("chaos.bench.slowing", str(pid), str(share)),
        stdin=subprocess.DEVNULL,
        preexec_fn=tied_to_us(),  # noqa: PLW1509 - two system calls, resolved before the fork
    )
    try:
        yield
    finally:
        slowing.terminate()
        slowing.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _slow(pid: int, share: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        while True:
            time.sleep(PERIOD_SECONDS * share)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(PERIOD_SECONDS * (1 - share))
            os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    _slow(int(sys.argv[1]), float(sys.argv[2]))

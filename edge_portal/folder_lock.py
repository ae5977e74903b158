"""The lock of an edge's data folder: held as long as any process of the edge lives, or while its files are changed."""

import contextlib
import fcntl
import os
import select
from collections.abc import Iterator
from typing import Final

from cache_sync.clock import Clock
from edge_portal.errors import ConfigError
from edge_portal.settings import EdgePaths

LOCK_SECONDS: Final = 5.0


@contextlib.contextmanager
def locked_folder(paths: EdgePaths, clock: Clock) -> Iterator[int]:
    """
    Be the only one who uses the folder; yields the lock's descriptor, for children to hold it too.

    Raises:
        ConfigError: Another edge uses it.
    """
    descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(descriptor, paths, clock)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, paths: EdgePaths, clock: Clock) -> None:
    """Take the folder; waits a moment for the children of a killed supervisor to be gone."""
    deadline = clock.boot_seconds() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            if clock.boot_seconds() > deadline or _is_alive(holder):
                raise ConfigError(
                    f"{paths.data} is in use by another edge (process {holder or 'unknown'})"
                ) from None
            select.select([], [], [], 0.05)
        else:
            return


def _is_alive(pid: str) -> bool:
    """Tell whether the holder that a lock file names still runs; its children may hold the lock a moment longer."""
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except OSError:
        return False
    return True

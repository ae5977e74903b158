"""Who holds a node's data folder: nodes lock a file in it and write their process id there."""

import fcntl
from pathlib import Path


def holder(lock_file: Path) -> int | None:
    """Tell the process that holds a lock file; 0 when it does not say its id, None when nobody holds it."""
    try:
        with lock_file.open("r", encoding="ascii", errors="replace") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                written = lock.read(32).strip()
                return int(written) if written.isdigit() else 0
    except FileNotFoundError:
        return None
    return None

"""A disk of a few megabytes for one process: a file system in memory that only it and its children see."""

import shutil
import subprocess
from pathlib import Path

SMALL_DISK_BYTES = 64 * 1024 * 1024
_PROBE_SECONDS_MAX = 10.0
# Mounts, then becomes the program: the process id stays, and the mount goes with the last process that sees it.
_SCRIPT = 'mount -t tmpfs -o size="$0",mode=700 tmpfs "$1" && shift && exec "$@"'


def on_small_disk(command: list[str], folder: Path) -> list[str]:
    """Return the argv that runs a command with an empty small disk in place of a folder, which must be there."""
    return ["unshare", "--mount", "sh", "-c", _SCRIPT, str(SMALL_DISK_BYTES), str(folder), *command]


def lacks_small_disks(folder: Path) -> str:
    """Tell why this machine cannot give a process a small disk; empty when it can. Nothing is left behind."""
    if shutil.which("unshare") is None:
        return "needs `unshare` (util-linux)"
    command = on_small_disk(["true"], folder)
    done = subprocess.run(command, capture_output=True, timeout=_PROBE_SECONDS_MAX, check=False)
    return "" if done.returncode == 0 else "needs root, or the right to mount a file system"


def seen_by(pid: int, path: Path) -> Path:
    """Return a path as a process sees it, for us who do not see its mounts."""
    return Path(f"/proc/{pid}/root") / path.relative_to("/")

"""What the kernel knows of a process: its CPU time, its anonymous memory, an edge's processes by role."""

import contextlib
import os
import re
from pathlib import Path

from chaos.errors import FleetError
from chaos.process import descendants

_ANONYMOUS = re.compile(r"^Anonymous:\s+(\d+) kB$", re.MULTILINE)
_UTIME, _STIME = 11, 12


def cpu_seconds(pid: int) -> float:
    """
    Return the CPU time of a process and all its threads since it began, without its children's.

    Raises:
        FleetError: There is no such process.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise FleetError(f"process {pid} is gone") from error
    fields = text.rpartition(")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) / os.sysconf("SC_CLK_TCK")


def anonymous_megabytes(pid: int) -> float:
    """Return the memory of a process that is no file's, in MB of a million bytes; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0.0
    found = _ANONYMOUS.search(text)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def children_of(pid: int, role: str) -> list[int]:
    """List the processes of an edge that have a role: ``agent``, ``applier``, ``feeder``, ``worker``."""
    found = []
    for child in descendants(pid):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if f"edge_portal.{role}".encode() in words:
                found.append(child)
    return found

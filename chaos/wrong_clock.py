"""A wall clock that is wrong for one process and everything under it, by what stands in a file (libfaketime)."""

import os
from importlib.util import find_spec
from pathlib import Path

from chaos.errors import FleetError

_LIBRARY = "vendor/libfaketime/src/libfaketime.so.1"


def move_clock(file: Path, offset: str) -> None:
    """Let the clock jump to so far off the true time, ``+2h`` for instance."""
    # In one step: the file is read at every look at the clock.
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_text(f"{offset}\n", encoding="ascii")
    beside.replace(file)


def clock_environment(file: Path) -> dict[str, str]:
    """
    Tell what a process needs to see that clock; the clock that counts from the boot stays true.

    Raises:
        FleetError: libfaketime is not installed.
    """
    spec = find_spec("libfaketime")
    if spec is None or spec.origin is None:
        raise FleetError("libfaketime is not installed")
    return {
        "LD_PRELOAD": str(Path(spec.origin).parent / _LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }

"""What the kernel tells of a process."""

import mmap
import os

import pytest

from chaos.bench.process_facts import anonymous_megabytes, cpu_seconds
from chaos.errors import FleetError

GONE = 2**22 + 1


def test_cpu_time_grows_with_work() -> None:
    """Of this very process."""
    before = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) == before:
        sum(range(10_000))
    assert cpu_seconds(os.getpid()) > before


def test_memory_that_is_no_files_is_counted() -> None:
    """Ten million bytes that were written to count as such, a missing process as nothing."""
    before = anonymous_megabytes(os.getpid())
    # Pages of its own: an allocator may have some to spare.
    with mmap.mmap(-1, 10_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.write(b"x" * 10_000_000)
        assert anonymous_megabytes(os.getpid()) - before > 5
    assert anonymous_megabytes(GONE) == 0.0


def test_the_cpu_time_of_nobody_is_an_error() -> None:
    """Rather than a good figure."""
    with pytest.raises(FleetError, match=str(GONE)):
        cpu_seconds(GONE)

"""
Loading a server with `wrk`, from one core, with the server on another.

Python clients are the limit before a fast server is: every ratio would then be 1.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from chaos.errors import FleetError

CONNECTIONS: Final = 32
_SYSTEM_PROGRAMS: Final = "/usr/local/sbin:/usr/sbin:/sbin"
_SCRIPT: Final = """
local asked, at = {}, 0
function init(args)
  for line in io.lines(args[1]) do
    local path, name, value = line:match("^(%S+)\\t(%S*)\\t(.*)$")
    local headers = {}
    if name ~= "" then headers[name] = value end
    asked[#asked + 1] = wrk.format("GET", path, headers)
  end
end
function request()
  at = at % #asked + 1
  return asked[at]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n{"requests": %d, "seconds": %f, "errors": %d, "p50_ms": %f, "p99_ms": %f}\\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of `wrk` found; latencies in ms."""

    requests: int
    seconds: float
    errors: int
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return max(0, self.requests - self.errors) / self.seconds if self.seconds else 0.0


class Ask(msgspec.Struct, frozen=True):
    """One address to ask for, with at most one header; asked for in turn with the others."""

    path: str
    header: str = ""
    value: str = ""


def find_program(name: str) -> str | None:
    """Return where a program of the system is, those of administrators too; None where it is not."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PROGRAMS}")


def cores() -> tuple[set[int], set[int]]:
    """Return the core for servers and the core for the generator; the same one where there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return {available[0]}, {available[-1]}


@contextmanager
def on_server_core() -> Iterator[None]:
    """Start processes within the block on the servers' core; they stay there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores()[0])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def load(url: str, asks: Sequence[Ask], *, seconds: float, folder: Path) -> Load:
    """
    Load a server for some seconds.

    Raises:
        FleetError: `wrk` is missing or failed.
    """
    program = find_program("wrk")
    if program is None:
        raise FleetError("wrk is not installed")
    script, asked = folder / "bench.lua", folder / "asked.tsv"
    script.write_text(_SCRIPT, encoding="ascii")
    asked.write_text(
        "".join(f"{ask.path}\t{ask.header}\t{ask.value}\n" for ask in asks), encoding="ascii"
    )
    generator = cores()[1]
    done = subprocess.run(
        [
            program,
            *("-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", str(script), url),
            *("--", str(asked)),
        ],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, generator),
    )
    lines = done.stdout.strip().splitlines()
    try:
        return msgspec.json.decode(lines[-1], type=Load)
    except (IndexError, msgspec.DecodeError) as error:
        raise FleetError(f"wrk failed: {done.stderr or done.stdout}") from error

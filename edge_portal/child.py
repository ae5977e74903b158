"""
What every process under the supervisor does: die with it, beat for it, stop when told.

A child's heartbeat comes out of its event loop, so a process whose loop hangs is as silent as a frozen one.
"""

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import click

from edge_portal.errors import ConfigError
from edge_portal.given_keys import take_over
from edge_portal.settings import EdgeSettings, load_settings
from failover.logs import configure_logs

BEAT_SECONDS: Final = 0.5
_PR_SET_PDEATHSIG: Final = 1

Role = Callable[[EdgeSettings, list[int], asyncio.Event], Awaitable[None]]


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its supervisor ends, whatever ended it."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        # It ended before the kernel knew.
        sys.exit(1)


async def _beat(pipe: int, stop: asyncio.Event) -> None:
    os.set_blocking(pipe, False)
    while not stop.is_set():
        try:
            os.write(pipe, b".")
        except BlockingIOError:
            # The supervisor is frozen; it will read what is there.
            pass
        except BrokenPipeError:
            stop.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), BEAT_SECONDS)


async def _run(role: Role, settings: EdgeSettings, sockets: list[int], pipe: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    beating = asyncio.create_task(_beat(pipe, stop))
    try:
        await role(settings, sockets, stop)
    finally:
        stop.set()
        await beating


def child_command(name: str, role: Role) -> click.Command:
    """Make the command with which the supervisor starts a process of this role."""

    @click.command(name)
    @click.option("--config", "config_file", required=True, type=click.Path(path_type=Path))
    @click.option("--data", required=True, type=click.Path(path_type=Path))
    @click.option("--parent", required=True, type=int)
    @click.option("--pipe", required=True, type=int)
    @click.option("--keys", required=True, type=int)
    @click.option("--socket", "sockets", multiple=True, type=int)
    def command(
        config_file: Path, data: Path, parent: int, pipe: int, keys: int, sockets: tuple[int, ...]
    ) -> None:
        # Ctrl-C reaches the whole group of the terminal; the supervisor tells its children when to stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        die_with(parent)
        configure_logs(name)
        try:
            settings = load_settings(config_file, data, file_keys=take_over(keys))
        except ConfigError as error:
            raise click.ClickException(str(error)) from error
        asyncio.run(_run(role, settings, list(sockets), pipe))

    return command


def seeded_rng() -> random.Random:
    """Return a generator for jitter; nothing secret comes out of it."""
    return random.Random(int.from_bytes(os.urandom(8), "big"))  # noqa: S311 - jitter


async def all_of(stop: asyncio.Event, *jobs: Awaitable[None]) -> None:
    """
    Run jobs until ``stop`` is set; the first that ends with an error ends them all, and raises it.

    A process with a part missing is worse than one that is started anew.
    """
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        for finished in asyncio.as_completed(tasks):
            await finished
    finally:
        stop.set()
        await asyncio.wait(tasks, timeout=5)
        for task in tasks:
            task.cancel()

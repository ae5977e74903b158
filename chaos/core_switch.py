"""Killing and starting the core of a fleet: one of our own, or a running demo's."""

import os
import signal
import time
from pathlib import Path
from typing import Protocol

import httpx

from chaos.errors import ControlError
from chaos.fleet import Fleet
from chaos.fleet_file import read_fleet_file
from chaos.folder_locks import holder
from chaos.process import process_state

GONE_SECONDS_MAX = 10.0
ASK_SECONDS_MAX = 30.0
_POLL_SECONDS = 0.01


class CoreSwitch(Protocol):
    """Turns a core off the hard way, and on again."""

    def kill(self) -> None:
        """Kill it and return when it is certainly gone."""
        ...

    def start(self) -> None:
        """Start it; does not wait until it answers. Does nothing while it runs."""
        ...


class OwnCore:
    """The core of a fleet that this process started."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def kill(self) -> None:
        """Kill it and return when it is certainly gone."""
        self._fleet.core.kill()

    def start(self) -> None:
        """Start it and tell others its new process."""
        self._fleet.core.start()
        self._fleet.write_file()


class DemoCore:
    """
    The core of a running demo, which starts it again when asked.

    Started by us it would die with us; the demo keeps it, and stops it with everything else.
    """

    def __init__(self, fleet_file: Path) -> None:
        self._file = fleet_file

    def kill(self) -> None:
        """Kill it and return when it is certainly gone. Raises `ControlError` when it does not go."""
        pid = self._pid()
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError as error:
            raise ControlError(f"cannot kill the core (process {pid}): {error}") from error
        until = time.monotonic() + GONE_SECONDS_MAX
        while process_state(pid) not in {"", "Z", "X"}:
            if time.monotonic() > until:
                raise ControlError(f"the core (process {pid}) does not die")
            time.sleep(_POLL_SECONDS)

    def _pid(self) -> int:
        """Find the core that serves now: anybody may have started it again by the command in the file."""
        core = read_fleet_file(self._file).core
        serving = holder(Path(core.data) / "core.lock") if core.data else None
        return serving or core.pid

    def start(self) -> None:
        """Ask the demo to start it. Raises `ControlError` when the demo does not."""
        play_url = read_fleet_file(self._file).play_url
        if not play_url:
            raise ControlError("this fleet has no page that could start its core again")
        try:
            answer = httpx.post(
                f"{play_url}/core",
                data={"action": "heal"},
                headers={"Accept": "application/json"},
                timeout=ASK_SECONDS_MAX,
                trust_env=False,
            )
        except httpx.HTTPError as error:
            raise ControlError(f"the demo did not answer: {error}") from error
        if answer.is_error:
            raise ControlError(f"the demo answered {answer.status_code}")

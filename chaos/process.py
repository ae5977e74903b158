"""One process of a fleet: started tied to us, frozen, killed, stopped; never restarted by itself."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from chaos.errors import FleetError

_PR_SET_PDEATHSIG = 1
_LOG_TAIL_LINES = 12
POLL_SECONDS = 0.05
_libc = ctypes.CDLL(None, use_errno=True)


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the argv that runs one of our commands from any folder, with this very interpreter."""
    return [sys.executable, "-P", "-m", module, *arguments]


def _kernel_facts(pid: int) -> list[str]:
    """Return the fields of the process's line after its name: state, parent, group, session and so on."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def process_state(pid: int) -> str:
    """Tell the kernel's one-letter state of a process (``T`` is frozen); empty when it is gone."""
    facts = _kernel_facts(pid)
    return facts[0] if facts else ""


def _session_of(pid: int) -> int:
    facts = _kernel_facts(pid)
    return int(facts[3]) if facts else 0


def descendants(pid: int) -> list[int]:
    """List the process's children, their children and so on, as of now."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                with contextlib.suppress(OSError):
                    children = (task / "children").read_text(encoding="ascii").split()
                    waiting += [int(child) for child in children]
                    found += [int(child) for child in children]
    return found


def tied_to_us() -> Callable[[], None]:
    """
    Make what a child runs before its program so that the kernel kills it when we are gone, however that happens.

    The tie is to the thread that starts the child: use it from the main thread.
    """
    parent = os.getpid()

    def tie() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return tie


class FleetProcess:
    """
    A process that dies with us, also when we are killed.

    Start it from the main thread: the kernel ties it to the thread that started it. Its output goes to ``log``. With
    ``user`` it runs as somebody else, which only root may order.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.command = command
        self.log = log
        self._user = user
        self._environment = {**os.environ, **(environment or {})}
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the process started last; 0 before the first start."""
        return self._popen.pid if self._popen is not None else 0

    @property
    def alive(self) -> bool:
        """Whether it runs, frozen or not."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def frozen(self) -> bool:
        """Whether it was stopped by a signal."""
        return self.alive and process_state(self.pid) == "T"

    def start(self) -> None:
        """Start it; does nothing while it runs."""
        if self.alive:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                user=self._user,
                extra_groups=None if self._user is None else [],
                # Its own session: a Ctrl-C in the terminal is ours to pass on, in order.
                start_new_session=True,
                preexec_fn=tied_to_us(),  # noqa: PLW1509 - two system calls, resolved before the fork
            )

    def send(self, number: int) -> None:
        """Send it a signal; does nothing when it is gone."""
        if self.alive:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it the hard way and wait until it is gone."""
        self.send(signal.SIGKILL)
        if self._popen is not None:
            self._popen.wait(timeout=10)

    def wait_stopped(self, seconds: float) -> bool:
        """Wait for it to end by itself; whether it did."""
        if self._popen is None:
            return True
        try:
            self._popen.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def clean_up(self) -> None:
        """Kill what is left of it and of everything it started."""
        if self._popen is None:
            return
        left = descendants(self.pid)
        self.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in left:
            # The number may belong to somebody else by now; the session does not.
            if _session_of(pid) == self.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            return "\n".join(lines[-_LOG_TAIL_LINES:])
        return ""


def wait_answering(process: FleetProcess, url: str, *, seconds: float) -> None:
    """
    Wait until ``url`` answers 200.

    Raises:
        FleetError: The process ended or did not answer in time; with the end of its log.
    """
    until = time.monotonic() + seconds
    with httpx.Client(timeout=2, trust_env=False) as client:
        while time.monotonic() < until:
            if not process.alive:
                raise FleetError(f"{process.name} ended at its start:\n{process.log_tail()}")
            with contextlib.suppress(httpx.HTTPError):
                if client.get(url).status_code == httpx.codes.OK:
                    return
            time.sleep(POLL_SECONDS)
    raise FleetError(f"{process.name} was not ready within {seconds:g} s:\n{process.log_tail()}")


def wait_listening(process: FleetProcess, port: int, *, seconds: float) -> None:
    """
    Wait until a process takes connections on a port of this machine.

    Raises:
        FleetError: It ended or did not in time; with the end of its log.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not process.alive:
            raise FleetError(f"{process.name} ended at its start:\n{process.log_tail()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(POLL_SECONDS)
    raise FleetError(f"{process.name} was not ready within {seconds:g} s:\n{process.log_tail()}")

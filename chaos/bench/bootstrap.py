"""
Beginning with a snapshot file: a new edge of many accounts, against copying the file and hashing it.

The population is published into a core's documents table, the core's own command cuts the file, and a real edge
fetches it over HTTP, checks every byte, and shows it. Memory is what is no file's (`Anonymous` of smaps_rollup), at its
highest while the file comes. The disk is what the edge's snapshot takes, against the documents' bodies as text.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx

from cache_sync.documents import DEFAULT_SHARD
from cache_sync.packed_bodies import read_facts
from cache_sync.sqlite import connect
from chaos.bench.asking import account_asks, page_asks
from chaos.bench.figures import Figure, Goal, Result
from chaos.bench.fleet import BenchFleet, fill_core
from chaos.bench.process_facts import anonymous_megabytes, children_of
from chaos.bench.setting import Setting
from chaos.bench.wrk import Ask
from chaos.errors import FleetError
from chaos.fleet import Fleet
from chaos.process import python_module, wait_answering
from core_cis.snapshot_shelves import replica_folder, shelf_of

APPLIER_MB_MAX: Final = 150.0
WORKER_MB_MAX: Final = 120.0
_BUILD_SECONDS: Final = 6 * 3600
_BEGIN_SECONDS: Final = 3600.0
_READY_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05
_BLOCK_BYTES: Final = 4 * 1024 * 1024
_ASKED_MAX: Final = 500


def bench_bootstrap(setting: Setting) -> Result:
    """Make the population, or take over one that was kept; then the copy, then the edge."""
    accounts = setting.sizes.accounts
    begun = time.perf_counter()
    core = _population(setting, accounts)
    made_seconds = time.perf_counter() - begun
    (shelved, *_) = shelf_of(core, DEFAULT_SHARD).files()
    text_bytes = _text_bytes(shelved.path)
    setting.tell("  copying and hashing the file ...")
    copied = _copy_and_hash(shelved.path, setting.folder / "copy.db")
    setting.tell("  an edge begins with the file ...")
    made = BenchFleet(setting.part("fleet"), accounts, setting.tell, core=core)
    (name,) = made.fleet.edges
    made.without_proxy(name)
    with _core_running(made.fleet):
        seconds, applier = _begin(made.fleet, name)
        worker = _worker_memory(made, name)
        disk = _disk_bytes(made.fleet.edge_data(name) / "snapshot")
    size = shelved.manifest.file_bytes
    return Result(
        bench="bootstrap",
        figures=[
            Figure(
                name=f"an edge of {accounts} accounts begins with a file",
                unit="s",
                ours=seconds,
                reference=copied,
                compared_with="copy + sha256",
                goal=Goal("at most", 2.0),
            ),
            Figure(
                name="the applier's anonymous memory meanwhile, highest",
                unit="MB",
                ours=applier,
                goal=Goal("at most", APPLIER_MB_MAX, "figure"),
            ),
            Figure(
                name="a web worker's anonymous memory after serving",
                unit="MB",
                ours=worker,
                goal=Goal("at most", WORKER_MB_MAX, "figure"),
            ),
            Figure(
                name="disk an account",
                unit="bytes",
                ours=disk / accounts,
                reference=text_bytes / accounts,
                compared_with="documents uncompressed",
                goal=Goal("at most", 0.4),
            ),
        ],
        notes=[
            f"{shelved.manifest.rows} documents, a file of {size / 1e6:.0f} MB",
            f"making the population and its file took {made_seconds:.0f} s",
        ],
    )


def _population(setting: Setting, accounts: int) -> Path:
    """Return a core's folder with so many accounts and a snapshot file; made whole, or not at all."""
    folder = setting.kept / f"population-{accounts}"
    if folder.is_dir():
        setting.tell(f"  taking over {folder}")
        return _copied_core(folder, setting.folder / "core")
    setting.tell(f"  making {accounts} accounts ...")
    beside = folder.with_name(f"{folder.name}.new-{os.getpid()}")
    try:
        fill_core(beside, accounts, setting.tell)
        setting.tell("  cutting the snapshot file ...")
        done = subprocess.run(
            python_module("core_cis", "snapshot", "build", "--data", str(beside)),
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
        if done.returncode:
            raise FleetError(f"no snapshot file was built: {done.stderr.strip()}")
        # It is as large as the file, and nobody follows this core any further.
        shutil.rmtree(replica_folder(beside, DEFAULT_SHARD))
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return _copied_core(folder, setting.folder / "core")


def _copied_core(kept: Path, folder: Path) -> Path:
    """Serve a kept core from a folder of this run: links to the large files, which nobody changes."""
    for path in kept.rglob("*"):
        target = folder / path.relative_to(kept)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif "snapshots" in path.parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(path, target)
        else:
            shutil.copyfile(path, target)
    folder.chmod(0o700)
    return folder


def _link(path: Path, target: Path) -> None:
    """Link a file, or copy it where the disks differ."""
    try:
        target.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, target)


def _text_bytes(path: Path) -> int:
    connection = connect(path, synchronous="NORMAL", read_only=True)
    try:
        bodies = connection.execute("SELECT body FROM documents WHERE body IS NOT NULL")
        return sum(read_facts(body).text_bytes for (body,) in bodies)
    finally:
        connection.close()


def _copy_and_hash(source: Path, target: Path) -> float:
    """Copy a file to the disk and hash what was copied; returns the seconds."""
    begun = time.perf_counter()
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.sha256()
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    seconds = time.perf_counter() - begun
    target.unlink()
    return seconds


@contextlib.contextmanager
def _core_running(fleet: Fleet) -> Iterator[None]:
    try:
        fleet.core.start()
        wait_answering(fleet.core, f"{fleet.core_url}/readyz", seconds=_READY_SECONDS)
        yield
    finally:
        fleet.stop()


def _begin(fleet: Fleet, name: str) -> tuple[float, float]:
    """Start an edge without data; returns the seconds from its applier's start to readiness, and that one's memory."""
    edge = fleet.edges[name]
    edge.start()
    highest, begun = 0.0, 0.0
    until = time.monotonic() + _BEGIN_SECONDS
    with httpx.Client(timeout=5, trust_env=False) as client:
        while time.monotonic() < until:
            appliers = children_of(edge.pid, "applier")
            if appliers and not begun:
                begun = time.perf_counter()
            highest = max([highest, *map(anonymous_megabytes, appliers)])
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"{fleet.edge_url(name)}/readyz").status_code == httpx.codes.OK:
                    return time.perf_counter() - begun, highest
            time.sleep(_LOOK_SECONDS)
    raise FleetError(f"the edge did not begin:\n{edge.log_tail()}")


def _worker_memory(made: BenchFleet, name: str) -> float:
    """Have a worker serve some accounts and pages, and return its memory."""
    fleet = made.fleet
    tokens = made.tokens(name, accounts=min(made.accounts, _ASKED_MAX))
    asks: list[Ask] = [*account_asks(tokens), *page_asks(tokens, len(tokens))]
    with httpx.Client(timeout=10, trust_env=False) as client:
        for ask in asks:
            answer = client.get(
                f"{fleet.edge_url(name)}{ask.path}", headers={ask.header: ask.value}
            )
            if answer.status_code != httpx.codes.OK:
                raise FleetError(f"{ask.path} answered {answer.status_code}")
    return max(map(anonymous_megabytes, children_of(fleet.edges[name].pid, "worker")), default=0.0)


def _disk_bytes(folder: Path) -> int:
    """Return what the files of a folder take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

"""The core of a simulated world: the product's services in one life, answering without HTTP."""

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import TypeVar

import msgspec

from cache_sync.clock import Clock
from cache_sync.document_table import read_head
from cache_sync.frames import encode_frame
from cache_sync.offload import inline
from cache_sync.publication import raise_epoch
from cache_sync.sql import Connection, OperationalError
from chaos.simulation.network import Request
from chaos.simulation.virtual_time import Life, NodeClock, VirtualLoop
from core_cis.api.feed import FeedQuestion, ProbeQuestion, answer_feed, answer_probe
from core_cis.api.intents import Delivery, answer_intents
from core_cis.api.returns import answer_returns
from core_cis.audit import by_command, write_down
from core_cis.awaited_edges import await_every_edge
from core_cis.backups import begin_backup, name_backup, release_all
from core_cis.services import CoreServices
from core_cis.settings import ServerSettings
from core_cis.store import CoreStore, Transaction
from core_cis.writer import InlineWriter, Turn
from failover.node_config import CORE_NODE_ID
from failover.web import Problem

_WRITE_SECONDS = 5.0
_PERIOD = 2
_ResultT = TypeVar("_ResultT")


class FallibleWriter(InlineWriter):
    """A writer whose disk can fail: before anything was done, or after all of it was."""

    def __init__(self, open_store: Callable[[], CoreStore], clock: Clock) -> None:
        super().__init__(open_store, clock)
        self.fails: Callable[[], str] = lambda: ""

    async def run(
        self, work: Callable[[CoreStore], _ResultT], *, turn: Turn, within_seconds: float
    ) -> _ResultT:
        """Do a job, or fail it."""
        how = self.fails()
        if how == "before":
            raise OperationalError("disk I/O error")
        result = await super().run(work, turn=turn, within_seconds=within_seconds)
        if how == "after":
            raise OperationalError("disk I/O error")
        return result


class CoreNode:
    """
    A core that can die, freeze, be slow, and be restored from a backup.

    Args:
        loop: Where it lives.
        folder: Its data, made before.
        clock: Its machine's.
        rng: Draws its faults.
    """

    name = CORE_NODE_ID

    def __init__(self, loop: VirtualLoop, folder: Path, clock: NodeClock, rng: Random) -> None:
        self._loop = loop
        self._folder = folder
        self._backup = folder.with_name("backup.db")
        self._rng = rng
        self.disk = 1
        self._writer: FallibleWriter | None = None
        self._services: CoreServices | None = None
        self.clock = clock
        self.life: Life | None = None
        self.slow_seconds = 0.0
        self.fail_chance = 0.0
        self.disk_fail_chance = 0.0
        self.has_backup = False
        self.away: list[list[float]] = []
        """When it did not answer at all: begin and end, in true seconds; the last may have no end yet."""

    @property
    def services(self) -> CoreServices:
        """What runs."""
        assert self._services is not None, "the core runs"
        return self._services

    async def start(self) -> None:
        """Start the process."""
        life = Life(self.name)

        def make(open_store: Callable[[], CoreStore], clock: Clock) -> FallibleWriter:
            self._writer = FallibleWriter(open_store, clock)
            self._writer.fails = self._disk_fails
            return self._writer

        self._services = CoreServices(
            self._folder, self.clock, ServerSettings(), make_writer=make, offload=inline
        )
        await self._loop.start(life, self._services.__aenter__())
        self.life = life
        self._is_back()

    def kill(self) -> None:
        """Kill -9."""
        if self.life is not None:
            self.life.alive = False
            self.life = None
            self._is_away()

    def freeze(self) -> None:
        """SIGSTOP."""
        if self.life is not None:
            self.life.frozen = True
            self._is_away()

    def thaw(self) -> None:
        """SIGCONT."""
        if self.life is not None:
            self._loop.thaw(self.life)
            self._is_back()

    def _is_away(self) -> None:
        if not self.away or len(self.away[-1]) == _PERIOD:
            self.away.append([self._loop.time()])

    def _is_back(self) -> None:
        if self.away and len(self.away[-1]) < _PERIOD:
            self.away[-1].append(self._loop.time())

    def heal(self) -> None:
        """End what makes it weak."""
        self.slow_seconds = self.fail_chance = self.disk_fail_chance = 0.0
        self.thaw()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read the books from outside."""
        with CoreStore.open(self._folder, self.clock) as store:
            yield store.connection

    async def write(self, work: Callable[[Transaction], _ResultT]) -> _ResultT:
        """Change the books, as staff do."""
        result = await self.services.writer.run(
            lambda store: store.run(work), turn=Turn.LIVE, within_seconds=_WRITE_SECONDS
        )
        self.services.feeds.notify()
        return result

    # Backups

    def back_up(self) -> None:
        """Keep a copy of the books, the only one, and name it: edges need not keep any more what it covers."""
        copy = self._backup.with_name("copy.db")
        with CoreStore.open(self._folder, self.clock) as store:
            with store.transaction(alone=True) as tx:
                begun = begin_backup(tx)
            store.connection.execute("VACUUM INTO ?", (str(copy),))
            copy.replace(self._backup)
            with store.transaction(alone=True) as tx:
                act = by_command("backup.name")
                name_backup(tx, begun.mark, "the copy", act, store.keys, keep=1)
        self.has_backup = True

    def restore(self) -> None:
        """Go on from the copy, on another disk; the core is dead meanwhile, and its epoch is not raised."""
        assert self.life is None, "nobody restores under a running core"
        self.disk += 1
        folder = self._folder.with_name(f"core-{self.disk}")
        folder.mkdir()
        shutil.copyfile(self._backup, folder / "core.db")
        shutil.copyfile(self._folder / "secrets.json", folder / "secrets.json")
        self._folder = folder

    def raise_epoch(self) -> None:
        """Do what an operator does after a restore: ``core epoch raise``."""
        with CoreStore.open(self._folder, self.clock) as store, store.transaction(alone=True) as tx:
            epoch = max(read_head(tx.connection, shard).epoch for shard in store.shards) + 1
            for shard in store.shards:
                raise_epoch(tx.connection, shard, epoch)
            write_down(tx, by_command("epoch.raise", epoch=epoch), store.keys)
            release_all(tx)
            await_every_edge(tx, epoch)

    # Answering

    async def answer(self, request: Request) -> bytes:
        """Answer a node."""
        await self._suffer()
        services = self.services
        if services.node_hash(request.caller) is None:
            raise Problem("unauthorized", status=401, title="Not a known node")
        params, node_id, seconds = request.params, request.caller, request.seconds
        match request.path:
            case "/probe":
                names = ("position", "kept", "reads", "limits", "covers")
                said = ProbeQuestion(*(params[name] for name in names))
                probe = await answer_probe(services, node_id, said, seconds)
                return msgspec.json.encode(probe)
            case "/intents":
                delivery = Delivery(node_id, params["position"], params["drain"] == "true")
                return msgspec.msgpack.encode(
                    await answer_intents(services, delivery, request.read_body, seconds)
                )
            case "/outcomes":
                return msgspec.msgpack.encode(
                    await answer_returns(services, node_id, request.read_body, seconds)
                )
            case path if path.startswith("/feed/"):
                question = FeedQuestion(
                    path.rpartition("/")[2],
                    int(params["after"]),
                    int(params["epoch"]),
                    int(params["limit"]),
                    float(params["wait"]),
                    params["proof"],
                )
                return encode_frame(await answer_feed(services, node_id, question, seconds))
        raise Problem("not_found", status=404, title="Not here")

    async def _suffer(self) -> None:
        if self.slow_seconds:
            await asyncio.sleep(self._rng.expovariate(1 / self.slow_seconds))
        if self.fail_chance and self._rng.random() < self.fail_chance:
            raise Problem("internal_error", status=500, title="It fails")

    def _disk_fails(self) -> str:
        if self.disk_fail_chance and self._rng.random() < self.disk_fail_chance:
            return self._rng.choice(["before", "after"])
        return ""

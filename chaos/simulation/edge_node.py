"""
An edge of a simulated world: the product's agent, appliers, feeder and portal, each in a life of its own.

They are processes of one machine: each can be killed alone, the machine can lose its power or its disk.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from functools import partial
from random import Random
from typing import Any, NamedTuple, TypeVar

import msgspec

from cache_sync.errors import UnknownShard
from cache_sync.offload import inline
from cache_sync.replica_feed import ReplicaFeed
from cache_sync.shards import FIRST_SHARD
from cache_sync.sqlite import Connection, connect
from cache_sync.standing import encode_standing
from chaos.simulation.network import Network, Request, SimulatedLinks
from chaos.simulation.virtual_time import Life, NodeClock, VirtualLoop
from core_cis.reconciliation import Journal
from edge_portal.agent import Agent
from edge_portal.agent_link import AgentSilent, Reply
from edge_portal.agent_link import Request as AgentRequest
from edge_portal.applier import FollowedShard
from edge_portal.errors import ArchiveUnavailable
from edge_portal.feeder import path_of, told_as_problems
from edge_portal.form_keys import FormKeys
from edge_portal.held_shards import snapshot_folder
from edge_portal.held_snapshots import open_held
from edge_portal.node_status import mode_view
from edge_portal.portal import Portal
from edge_portal.session import Tokens
from edge_portal.settings import EdgePaths, EdgeSettings
from edge_portal.signin import SignIn
from failover.errors import JournalError, JournalFenced
from failover.group_commit import Change, InlineCommitter
from failover.journal_reader import PAGE_MAX, JournalReader
from failover.mode_lease import LeaseReader
from failover.peer_messages import Ask, CopyBatch, OutcomeNotice
from failover.web import Problem, decode_msgpack
from failover.witness import WitnessHolder

_SYNC_SECONDS = 0.0005
_CONFIRMED = """
    SELECT journal.incarnation, offers.peer, intents.intent_id
    FROM offers JOIN intents USING (ordinal) JOIN journal ON TRUE WHERE offers.confirmed
"""
_HELD = "SELECT writer, incarnation, intent_id FROM copies"
_PRUNED = "SELECT intent_id FROM pruned_receipts"
_OUTSTANDING = "SELECT coalesce(sum(amount_cents * reserved), 0) FROM intents WHERE state IN ('recorded', 'offered')"
_T = TypeVar("_T")


class Disk:
    """How an edge's disk is: how long a sync takes, how often it fails."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.sync_seconds = _SYNC_SECONDS
        self.fail_chance = 0.0

    def mend(self) -> None:
        """Be well again."""
        self.sync_seconds = _SYNC_SECONDS
        self.fail_chance = 0.0

    def delay(self) -> float:
        """Draw how long half of a sync takes."""
        return self._rng.expovariate(1 / self.sync_seconds)

    def fails(self) -> str:
        """Draw whether a commit fails, and whether it is on the disk all the same."""
        if self.fail_chance and self._rng.random() < self.fail_chance:
            return self._rng.choice(["lost", "kept"])
        return ""


class DiskCommitter(InlineCommitter):
    """Commits in order, each after the disk's own time; a death in between leaves it done or not done."""

    def __init__(self, connection: Connection, disk: Disk) -> None:
        super().__init__(connection)
        self._disk = disk
        self._turn = asyncio.Lock()

    async def run(self, change: Change[_T], *, durable: bool = True) -> _T:
        """Run a change; see `Committer`."""
        async with self._turn:
            await asyncio.sleep(self._disk.delay())
            how = "" if self._fenced else self._disk.fails()
            if how == "lost":
                self._fenced = True
                raise JournalFenced(uncertain=True)
            try:
                return await super().run(change, durable=durable)
            finally:
                if how == "kept":
                    self._fenced = True
                    # What it did is on the disk, and nobody is told.
                    raise JournalFenced(uncertain=True)
                await asyncio.sleep(self._disk.delay())


class _NoArchive:
    async def statement(self, account_id: str, statement_id: str) -> None:
        """Refuse: what only the core holds is not part of this world."""
        raise ArchiveUnavailable(f"{statement_id} of {account_id}")


class _Running(NamedTuple):
    """The agent's process."""

    life: Life
    agent: Agent
    holder: WitnessHolder


class _AgentLink:
    """How workers ask the agent of their node."""

    def __init__(self, node: "EdgeNode") -> None:
        self._node = node

    async def ask(self, request: AgentRequest, *, deadline_seconds: float) -> Reply:
        """Ask; see `edge_portal.portal.Agent`."""
        running = self._node.running
        if running is None:
            raise AgentSilent("no agent")
        done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            reply = await running.agent.answer(request)
            if not done.done():
                done.set_result(reply)

        self._node.loop.start(running.life, run())
        try:
            async with asyncio.timeout(deadline_seconds):
                return await done
        except TimeoutError as error:
            raise AgentSilent("no answer in time") from error


class EdgeNode:
    """
    One edge.

    Args:
        loop: Where it lives.
        settings: Of this edge; its data folder is made when it starts.
        network: To the others.
        clock: Its machine's.
        rng: Where jitter and its disk's faults come from.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        settings: EdgeSettings,
        network: Network,
        clock: NodeClock,
        rng: Random,
    ) -> None:
        self.loop = loop
        self.name = settings.config.node_id
        self.clock = clock
        self.disk = Disk(rng)
        self.running: _Running | None = None
        self.disks_lost = 0
        self._settings = settings
        self._network = network
        self._rng = rng
        self._applier: Life | None = None
        self._feeder: tuple[Life, ReplicaFeed] | None = None
        self._portal: Portal | None = None

    @property
    def settings(self) -> EdgeSettings:
        """Its configuration and where its files are."""
        return self._settings

    @property
    def life(self) -> Life | None:
        """The process that answers others."""
        return None if self.running is None else self.running.life

    @property
    def portal(self) -> Portal:
        """What customers come to: its workers are always replaced at once."""
        assert self._portal is not None, "the node has started"
        return self._portal

    # Processes

    async def start(self) -> None:
        """Start all processes of the node that do not run."""
        self._settings.paths.data.mkdir(parents=True, exist_ok=True)
        (self._settings.paths.data / "journal").mkdir(exist_ok=True)
        if self._portal is None:
            self._portal = self._make_portal()
        if self.running is None:
            await self.start_agent()
        if self._applier is None:
            self._applier = Life(f"{self.name} applier")
            self.loop.start(self._applier, self._apply())
        if self._feeder is None:
            self._start_feeder()

    async def start_agent(self) -> None:
        """Start the agent; a journal that cannot be opened lets it die at once, as the supervisor sees it."""
        life = Life(f"{self.name} agent")

        async def begin() -> _Running:
            agent = Agent(
                self._settings,
                clock=self.clock,
                rng=Random(self._rng.random()),
                links=SimulatedLinks(self._settings.config, self._network),
                make_committer=lambda connection: DiskCommitter(connection, self.disk),
                offload=inline,
            )
            for job in agent.jobs(asyncio.Event()):
                self.loop.create_task(job)
            return _Running(life, agent, agent.holder())

        self.running = await self.loop.start(life, begin())

    async def _apply(self) -> None:
        followed = FollowedShard(
            self._settings,
            FIRST_SHARD,
            clock=self.clock,
            rng=Random(self._rng.random()),
            links=SimulatedLinks(self._settings.config, self._network),
            offload=inline,
        )
        await followed.follower.run(asyncio.Event())

    def _start_feeder(self) -> None:
        life = Life(f"{self.name} feeder")
        folder = snapshot_folder(self._settings, FIRST_SHARD)
        feed = ReplicaFeed(
            folder, FIRST_SHARD, clock=self.clock, path=partial(path_of, folder), offload=inline
        )
        self._feeder = (life, feed)

    def _make_portal(self) -> Portal:
        settings, clock = self._settings, self.clock
        lease = LeaseReader(settings.paths.lease, clock)
        return Portal(
            snapshot=open_held(settings, clock=clock),
            journal=JournalReader(settings.paths.journal),
            mode=lambda: mode_view(lease.read()),
            agent=_AgentLink(self),
            archive=_NoArchive(),  # type: ignore[arg-type]
            sign_in=SignIn(lookup_key=settings.keys.lookup, clock=clock),
            tokens=Tokens(settings.keys.session),
            form_keys=FormKeys(settings.keys.form, self._rng.randbytes),
            new_session_id=lambda: self._rng.randbytes(12).hex(),
        )

    def kill_agent(self) -> None:
        """Kill -9 the agent; whoever it was answering hears nothing more."""
        if self.running is not None:
            self.running.life.alive = False
            self.running = None

    def kill_applier(self) -> None:
        """Kill -9 the applier."""
        if self._applier is not None:
            self._applier.alive = False
            self._applier = None

    def kill(self) -> None:
        """Kill -9 all processes."""
        self.kill_agent()
        self.kill_applier()
        if self._feeder is not None:
            self._feeder[0].alive = False
            self._feeder = None

    def lose_disk(self) -> None:
        """Lose power and disk: what comes back is the same node with an empty one."""
        self.kill()
        self.clock.boot()
        self.disks_lost += 1
        data = self._settings.paths.data
        shutil.rmtree(data, ignore_errors=True)
        fresh = data.with_name(f"{self.name}-{self.disks_lost}")
        self._settings = msgspec.structs.replace(self._settings, paths=EdgePaths(fresh))
        self._portal = None

    def lose_power(self) -> None:
        """Lose power, and come back with the disk."""
        self.kill()
        self.clock.boot()
        self._portal = None

    def freeze(self) -> None:
        """SIGSTOP all processes but the workers."""
        for life in self._lives():
            life.frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        for life in self._lives():
            self.loop.thaw(life)

    def _lives(self) -> list[Life]:
        lives = [self.life, self._applier, self._feeder[0] if self._feeder else None]
        return [life for life in lives if life is not None]

    # Looked at from outside

    @contextlib.contextmanager
    def journal(self) -> Iterator[JournalReader]:
        """Read the node's journal, as its workers do."""
        reader = JournalReader(self._settings.paths.journal)
        try:
            yield reader
        finally:
            reader.close()

    def waiting(self) -> int:
        """Count the intents that wait here for the core's decision, copies too."""
        with self.journal() as reader:
            queue = reader.queue(None)
        return queue.pending + queue.copies_held

    def read_all(self) -> Journal:
        """Read everything that the journal holds, as the core's reconciliation does."""
        with self.journal() as reader:
            own = reader.page("own", after=0, limit=PAGE_MAX)
            copies = reader.page("copies", after=0, limit=PAGE_MAX)
        return Journal(
            node_id=self.name,
            incarnation=own.incarnation,
            own=own.items,
            copies=copies.items,
            last_ordinal=own.last_ordinal,
            missing=own.holes,
            pruned=own.pruned,
            pruned_copies=copies.pruned,
        )

    def outstanding_cents(self) -> int:
        """Sum what counts into this edge's stand-in limit, by the rows and not by the journal's own counter."""
        found = self._look(_OUTSTANDING)
        return int(found[0][0]) if found else 0

    def confirmed_copies(self) -> set[tuple[str, str, str, str]]:
        """List what this node has confirmed copies of, by its own word: writer, incarnation, witness, id."""
        return {(self.name, *row) for row in self._look(_CONFIRMED)}

    def held_copies(self) -> set[tuple[str, str, str, str]]:
        """List the copies that this node holds, likewise."""
        return {(writer, of, self.name, id_) for writer, of, id_ in self._look(_HELD)}

    def pruned_ids(self) -> set[str]:
        """List what this node has dropped, and still tells of."""
        return {id_ for (id_,) in self._look(_PRUNED)}

    def _look(self, question: str) -> list[Any]:
        if not self._settings.paths.journal.exists():
            return []
        connection = connect(self._settings.paths.journal, synchronous="NORMAL", read_only=True)
        try:
            return connection.execute(question).fetchall()
        finally:
            connection.close()

    # Answering

    async def answer(self, request: Request) -> bytes:
        """Answer a sibling."""
        if request.path.startswith("/feed/"):
            return await self._answer_feed(request)
        running = self.running
        if running is None:
            raise Problem("gone", status=503, title="No agent")
        holder, caller, body = running.holder, request.caller, request.content
        try:
            match request.path:
                case "/peer/v1/hello":
                    have = request.params.get("have", "").split(",")
                    return msgspec.msgpack.encode(holder.hello(caller, have))
                case "/peer/v1/copies":
                    copies = decode_msgpack(body, CopyBatch)
                    return msgspec.msgpack.encode(await holder.copy(caller, copies))
                case "/peer/v1/outcomes":
                    notice = decode_msgpack(body, OutcomeNotice)
                    return msgspec.msgpack.encode(await holder.outcomes(caller, notice))
                case "/peer/v1/ask":
                    return msgspec.msgpack.encode(holder.ask(decode_msgpack(body, Ask)))
        except JournalError as error:
            raise Problem(
                "journal_unavailable", status=503, title="The journal takes nothing"
            ) from error
        raise Problem("not_found", status=404, title="Not here")

    async def _answer_feed(self, request: Request) -> bytes:
        if self._feeder is None:
            raise Problem("gone", status=503, title="No feeder")
        life, feed = self._feeder
        parts = request.path.split("/")
        with told_as_problems():
            if parts[2] != FIRST_SHARD:
                raise UnknownShard(parts[2])
            if parts[-1] == "standing":
                return encode_standing(feed.standing())
            params = request.params
            reading = feed.page(
                after=int(params["after"]),
                epoch=int(params["epoch"]),
                limit=int(params["limit"]),
                wait_seconds=float(params["wait"]),
            )
            return (await self.loop.start(life, reading)).content

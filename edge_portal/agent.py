"""
The agent: sole writer of the journal, keeper of siblings' copies, drain, probes, the mode.

When it is down nothing can be paid here and everything can be read.
"""

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any

import structlog

from cache_sync.clock import Clock, SystemClock
from cache_sync.offload import Offload, in_thread
from cache_sync.sqlite import Connection
from edge_portal.agent_clients import AgentClients
from edge_portal.agent_link import (
    AgentServer,
    AskRequest,
    ReceiptReply,
    RefusedReply,
    Reply,
    Request,
    SendRequest,
)
from edge_portal.child import all_of, child_command, seeded_rng
from edge_portal.core_clock import CoreClock
from edge_portal.core_word import CoreWord
from edge_portal.door_metrics import counting_refusals
from edge_portal.held_shards import held_shards, snapshot_folder, snapshot_folders
from edge_portal.held_snapshots import open_held
from edge_portal.kept_places import KeptPlaces, all_places
from edge_portal.links import Links
from edge_portal.method_tokens import MethodTokens
from edge_portal.mode_keeper import ModeKeeper, SnapshotAge
from edge_portal.peer_api import peer_app
from edge_portal.settings import EdgeSettings
from failover.breaker import AsyncBreaker
from failover.capturing import CaptureSettings, Capturing
from failover.drain import Drain
from failover.errors import (
    InvalidPayment,
    JournalError,
    KeyReused,
    NotTaken,
    OutcomeUnknown,
    OverLimit,
)
from failover.gossip import Gossip
from failover.group_commit import Committer, ThreadCommitter
from failover.http_server import serve
from failover.intents import Receipt
from failover.journal import Journal
from failover.journal_reader import JournalReader
from failover.mode_lease import LeaseReader
from failover.node_config import CORE_NODE_ID, ProcessorAccess
from failover.node_tls import server_files
from failover.probe import CoreProbe
from failover.pruning import Pruning
from failover.retry_budget import RetryBudget
from failover.returning import Returning
from failover.signing import Signer
from failover.standin import Holding
from failover.submission import Submission
from failover.web import NodeKeys
from failover.wishes import MessageWish, PaymentWish
from failover.witness import PeerWatch, WitnessHolder

log = structlog.get_logger(__name__)


class Agent:
    """
    Everything that an edge does with intents, put together.

    Needs a running event loop. Raises `failover.errors.JournalError` when the journal cannot be trusted.

    Args:
        settings: Of this edge.
        clock: Time.
        rng: Where jitter comes from.
        links: The ways to other nodes, where they are not the ordinary ones.
        make_committer: Who commits to the journal.
        offload: Where many signatures are checked.
    """

    def __init__(
        self,
        settings: EdgeSettings,
        *,
        clock: Clock,
        rng: random.Random,
        links: Links | None = None,
        make_committer: Callable[[Connection], Committer] = ThreadCommitter,
        offload: Offload = in_thread,
    ) -> None:
        config, paths = settings.config, settings.paths
        self._settings = settings
        self._held = open_held(settings, clock=clock)
        self._refused = counting_refusals("peer", clock)
        folders = [snapshot_folder(settings, shard) for shard in held_shards(config)]
        self._lease = LeaseReader(paths.lease, clock)
        self._snapshot = SnapshotAge(self._held, folders, clock)
        self._journal = Journal.open(
            paths.journal,
            node_id=config.node_id,
            signer=Signer(config.signing_key),
            keys=settings.file_keys,
            make_committer=make_committer,
        )
        self._word = CoreWord(settings)
        self._clients = AgentClients(
            links or Links(config, paths.data), known_versions=settings.known_versions
        )
        self._siblings = self._clients.siblings
        self._offload = offload
        breaker = AsyncBreaker(clock=clock, rng=rng, listeners=[self._breaker_moved])
        self._probe = CoreProbe(
            self._clients.prober(
                self._snapshot.proof,
                KeptPlaces(snapshot_folders(settings)),
                self._holding,
                # Made after this, since it asks this.
                lambda: self._pruning.following(),  # noqa: PLW0108 - looked up when called
            ),
            breaker=breaker,
            clock=clock,
            rng=rng,
        )
        self._pruning = self._make_pruning(clock)
        self._budgets = {road: RetryBudget(clock) for road in ("live", "drain")}
        self._core_clock = CoreClock(self._probe, clock)
        self._returning = self._make_returning(breaker, clock, rng)
        self._gossip = self._make_gossip(clock)
        self._peers = PeerWatch(self._siblings, clock=clock, rng=rng, gossip=self._gossip)
        self._submission = self._make_submission(breaker, clock)
        self._drain = self._make_drain(breaker, clock, rng)
        self._keeper = ModeKeeper(
            settings,
            journal=self._journal,
            breaker=breaker,
            probe=self._probe,
            submission=self._submission,
            drain=self._drain,
            peers=self._peers,
            snapshot=self._snapshot,
            budgets=self._budgets,
            core_clock=self._core_clock,
            standin=self._word.limits,
            clock=clock,
        )
        # Before the first probe leaves.
        self._keeper.follow_orders()

    def _make_gossip(self, clock: Clock) -> Gossip:
        """Make what tells siblings of what waits here, and keeps what they tell."""
        config, paths = self._settings.config, self._settings.paths
        return Gossip(
            config.node_id,
            reader=self._journal.reader,
            signer=Signer(config.signing_key),
            public_keys={peer.node_id: peer.public_key for peer in config.peers},
            expelled=lambda peer: peer in self._word.revoked,
            fleet_key=self._settings.keys.lookup,
            normal=lambda: self._lease.read().mode == "normal",
            core_now=self._core_now,
            clock=clock,
            path=paths.sibling_news,
        )

    def _make_submission(self, breaker: AsyncBreaker, clock: Clock) -> Submission:
        config = self._settings.config
        return Submission(
            journal=self._journal,
            core=self._clients.intake("intake", self._snapshot.proof),
            breaker=breaker,
            probe=self._probe,
            siblings=self._siblings,
            peers=self._peers,
            limits=lambda: self._word.limits.limits,
            # The keeper is made after this, since it asks this.
            outage_seconds=lambda: self._keeper.outage_seconds(),  # noqa: PLW0108 - looked up when called
            core_key=config.core_public_key,
            core_takes=self._returning.core_takes_intents,
            budget=self._budgets["live"],
            clock=clock,
            capturing=self._make_capturing(config.processor, clock),
        )

    def _make_capturing(self, access: ProcessorAccess | None, clock: Clock) -> Capturing | None:
        """Make the way to the payment processor, where this edge has one."""
        if access is None:
            return None
        return Capturing(
            journal=self._journal,
            processor=self._clients.processor(access),
            token_of=MethodTokens(self._held, access.token_key).find,
            core_now=self._core_now,
            clock=clock,
            settings=CaptureSettings(
                charge=access.charge_seconds,
                pause=access.pause_seconds,
                nothing_after=access.nothing_after_seconds,
                horizon=access.horizon_seconds,
            ),
        )

    def _make_pruning(self, clock: Clock) -> Pruning:
        settings = self._settings
        return Pruning(
            journal=self._journal,
            probe=self._probe,
            shown=lambda: all_places(snapshot_folders(settings)),
            core_key=settings.config.core_public_key,
            clock=clock,
            settings=settings.pruning,
        )

    def _make_returning(self, breaker: AsyncBreaker, clock: Clock, rng: random.Random) -> Returning:
        return Returning(
            journal=self._journal,
            core=self._clients.intake("return", self._snapshot.proof),
            breaker=breaker,
            probe=self._probe,
            clock=clock,
            rng=rng,
        )

    def _make_drain(self, breaker: AsyncBreaker, clock: Clock, rng: random.Random) -> Drain:
        return Drain(
            journal=self._journal,
            core=self._clients.intake("drain", self._snapshot.proof),
            breaker=breaker,
            probe=self._probe,
            siblings=self._siblings,
            peers=self._peers,
            in_flight=self._submission.in_flight,
            core_now=self._core_now,
            core_takes=self._returning.core_takes_intents,
            budget=self._budgets["drain"],
            clock=clock,
            rng=rng,
        )

    def holder(self) -> WitnessHolder:
        """Return what this node does for its siblings."""
        config = self._settings.config
        return WitnessHolder(
            self._journal,
            public_keys={peer.node_id: peer.public_key for peer in config.peers},
            core_key=config.core_public_key,
            offload=self._offload,
            gossip=self._gossip,
        )

    def jobs(self, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
        """Return all that goes on by itself, until ``stop`` is set."""
        self._probe.on_answer(self._note_fleet)
        workers = (
            self._probe,
            self._peers,
            self._returning,
            self._submission,
            self._drain,
            self._pruning,
        )
        return [*(worker.run(stop) for worker in workers), self._keeper.run(stop)]

    async def run(self, peer_socket: socket.socket, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set; then finish what is under way."""
        config = self._settings.config
        keys = {peer.node_id: peer.secret_sha256 for peer in config.peers}
        keys[CORE_NODE_ID] = config.core_secret_sha256
        app = peer_app(
            node_id=config.node_id,
            holder=self.holder(),
            lease=self._lease,
            outages=self._settings.paths.outages,
            reader=JournalReader(self._settings.paths.journal, keys=self._settings.file_keys),
            keys=NodeKeys(self._word.revoked.among(keys)),
        )
        tls = server_files(self._settings.paths.data, config.tls)
        link = AgentServer(self._settings.paths.data, self.answer)
        await link.start()
        try:
            serving = serve(app, peer_socket, stop=stop, tls=tls, refused=self._refused)
            await all_of(stop, serving, *self.jobs(stop))
        finally:
            await link.close()
            await self.close()

    async def close(self) -> None:
        """Finish what is under way, then let connections and files go."""
        await self._submission.close()
        await self._clients.close()
        self._journal.close()
        self._held.close()

    async def answer(self, request: Request) -> Reply:
        """Answer one request of a worker."""
        if isinstance(request, AskRequest):
            try:
                receipt = await self._submission.ask(request.account_id, request.intent_id)
            except OutcomeUnknown:
                return RefusedReply("unknown")
            return ReceiptReply(receipt)
        snapshot = self._snapshot.state(request.account_id)
        if snapshot is None:
            return RefusedReply("not_taken", message="there is no snapshot to judge by")
        core_time = self._core_clock.now(snapshot)
        age_seconds = None if snapshot.at_least else snapshot.age_seconds
        if isinstance(request, SendRequest):
            message = MessageWish(
                account_id=request.account_id,
                idempotency_key=request.idempotency_key,
                body=request.body,
                core_time=core_time,
                snapshot_age_seconds=age_seconds,
            )
            return await _replied(self._submission.send(message))
        payment = PaymentWish(
            account_id=request.account_id,
            idempotency_key=request.idempotency_key,
            amount_cents=request.amount_cents,
            currency=request.currency,
            method_id=request.method_id,
            method_verified=request.method_verified,
            method_type=request.method_type,
            core_time=core_time,
            snapshot_age_seconds=age_seconds,
        )
        return await _replied(self._submission.pay(payment))

    def _core_now(self) -> datetime | None:
        snapshot = self._snapshot.state()
        return self._core_clock.now(snapshot) if snapshot is not None else None

    def _note_fleet(self) -> None:
        told = self._probe.latest
        if told is not None:
            self._word.note(told)
            if told.cover is not None:
                self._pruning.note(told.cover)

    def _holding(self) -> Holding | None:
        """Tell the core which limits are followed; nothing while it is not known what is outstanding by them."""
        if not self._submission.share_known:
            return None
        try:
            outstanding = self._journal.reader.outstanding_cents()
        except JournalError:
            return None
        return self._word.limits.holding(outstanding)

    def _breaker_moved(self, before: str, after: str) -> None:
        log.info("breaker", before=before, after=after)
        self._keeper.wake()


async def _replied(taking: Awaitable[Receipt]) -> Reply:
    try:
        return ReceiptReply(await taking)
    except InvalidPayment as error:
        return RefusedReply("invalid", error.field, error.rule)
    except KeyReused:
        return RefusedReply("key_reused")
    except OverLimit as error:
        return RefusedReply("over_limit", error.which, str(error))
    except NotTaken as error:
        return RefusedReply("not_taken", message=error.reason)
    except OutcomeUnknown:
        return RefusedReply("unknown")


async def run_agent(settings: EdgeSettings, sockets: list[int], stop: asyncio.Event) -> None:
    """Run the agent of an edge on the peer socket that the supervisor opened."""
    with socket.socket(fileno=sockets[0]) as peer_socket:
        await Agent(settings, clock=SystemClock(), rng=seeded_rng()).run(peer_socket, stop)


main = child_command("agent", run_agent)

if __name__ == "__main__":
    main()

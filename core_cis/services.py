"""What a running core's routes work with: the writer, the readers, the feed, the figures."""

import hmac
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self, TypeVar

import msgspec
import structlog

from cache_sync.clock import Clock
from cache_sync.core_time import close
from cache_sync.digest_desk import DigestDesk
from cache_sync.digests import DigestAnswer, DigestQuestion, answer_question
from cache_sync.document_table import ShardHead, read_head, read_overdue, read_shards
from cache_sync.errors import FeedUnavailable, UnknownShard
from cache_sync.feed import CLOSE_SECONDS_MAX, CoreTimeSource
from cache_sync.frames import Proof
from cache_sync.offload import Offload, in_thread, inline
from cache_sync.publication import oldest_commit, read_chain
from cache_sync.shards import FIRST_SHARD
from cache_sync.snapshot_file import SnapshotManifest
from cache_sync.snapshot_file_desk import SnapshotDesk
from cache_sync.sql import Connection, read, write
from core_cis.awaited_edges import awaited_edges, no_longer_await
from core_cis.backups import hear_mark
from core_cis.cover_desk import CoverDesk
from core_cis.database import Database
from core_cis.database_choice import find_database
from core_cis.edge_reads import EdgeReads
from core_cis.feeds import ShardFeeds
from core_cis.floor_keeper import FloorKeeper, FloorSettings
from core_cis.intake import IntakeResult
from core_cis.intake_desk import IntakeDesk
from core_cis.keys import CoreKeys, load_keys
from core_cis.lineage import Known, Lineage
from core_cis.metrics import CoreMetrics
from core_cis.money_desk import MoneyDesk
from core_cis.readers import Readers, open_readers
from core_cis.registry import edge_keys
from core_cis.registry_look import RegistryLook, open_registry
from core_cis.settings import ServerSettings, Utility
from core_cis.snapshot_shelves import is_of_history, newest_file_seq, shelves
from core_cis.standin_shares import ShareDesk
from core_cis.store import CoreStore, Transaction, read_utility
from core_cis.taking_back import TakenBack, check_returned, take_back
from core_cis.writer import MakeWriter, ThreadWriter, Turn
from failover.covers import Cover, Following
from failover.grants import check_granted
from failover.held_answers import answer_places
from failover.intents import DecidedBatch, Intent, Outcome
from failover.node_tls import read_expiry
from failover.signed_orders import SignedOrder
from failover.signing import Signer, secret_hash
from failover.web import unknown_node

_SIGNED_INLINE_MAX = 4
_ANSWER_SECONDS_MAX = 2.0
_WRITE_SECONDS_MAX = 30.0
_HOUR_SECONDS = 3600.0
_DAY_SECONDS = 86400.0
_DAY = timedelta(days=1)
_ResultT = TypeVar("_ResultT")
_log = structlog.get_logger(__name__)


class CoreServices:
    """
    One running core.

    Use as ``async with``; everything in it belongs to the event loop that entered it, the store to its writer's
    thread.

    Args:
        data_dir: The core's folder.
        clock: Time.
        settings: Limits of the server.
        utility: Whose books these are, for a new core.
        make_writer: Makes who changes the books.
        offload: Where signatures, digests and pages are computed.
    """

    def __init__(
        self,
        data_dir: Path,
        clock: Clock,
        settings: ServerSettings,
        *,
        utility: Utility | None = None,
        make_writer: MakeWriter = ThreadWriter,
        offload: Offload = in_thread,
    ) -> None:
        self.clock = clock
        self.settings = settings
        self.metrics = CoreMetrics()
        self.lineage = Lineage()
        self.writer = make_writer(self._open_store, clock)
        self._offload = offload
        self._data_dir = data_dir
        self._utility = utility
        self._keys: CoreKeys | None = None
        self._signer: Signer | None = None
        self._database: Database | None = None
        self._readers: Readers | None = None
        self._registry: RegistryLook | None = None
        self._feeds: ShardFeeds | None = None
        self._compared: Connection | None = None
        self._snapshots: SnapshotDesk | None = None
        self._counted: Connection | None = None
        self._floors: FloorKeeper | None = None
        self.money = MoneyDesk(settings.processor, self.writer, clock)
        self.intake = IntakeDesk(
            ask=self.ask,
            writer=self.writer,
            money=self.money,
            settings=settings,
            metrics=self.metrics,
            clock=clock,
            offload=offload,
            decided=self._tell_feeds,
        )
        self.digests = DigestDesk(self._read_digests, offload=offload)
        self.answers = answer_places()
        self.edge_reads = EdgeReads(self._write, self.ask, clock=clock)
        self.covers = CoverDesk()
        self.time_source = CoreTimeSource(self._close_time, clock)

    async def __aenter__(self) -> Self:
        await self.writer.start()
        self.money.open()
        self._keys = load_keys(self._data_dir)
        self._signer = Signer(self._keys.signing_key)
        self._database = database = find_database(self._data_dir)
        self._readers = open_readers(database)
        self._registry = open_registry(database, self._readers, self.clock)
        # Read from in a thread, one question at a time.
        self._compared = database.open_reader(same_thread=False)
        shards = read_shards(self._compared)
        self._feeds = ShardFeeds(
            database.documents(),
            shards,
            time_source=self.time_source,
            clock=self.clock,
            seal_key=self._keys.seal_key_bytes,
            offload=self._offload,
        )
        self._snapshots = SnapshotDesk(
            shelves(self._data_dir, shards),
            clock=self.clock,
            accept=self._is_of_history,
        )
        self._counted = database.open_reader(same_thread=False)
        self._floors = self._keep_floors(self._counted)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._feeds is not None:
            await self._feeds.close()
            self._feeds = None
        held = (self._registry, self._readers, self._compared, self._counted, self._database)
        for each in held:
            if each is not None:
                each.close()
        self._registry = self._readers = self._compared = self._counted = self._database = None
        await self.money.close()
        await self.writer.stop()

    async def ask(
        self,
        question: Callable[[Connection], _ResultT],
        *,
        within_seconds: float = _ANSWER_SECONDS_MAX,
    ) -> _ResultT:
        """
        Answer a short question out of the database.

        Raises:
            DatabaseError: It does not answer, or not in time.
        """
        assert self._readers is not None, "the services were entered"
        return await self._readers.ask(question, within_seconds=within_seconds)

    @property
    def feeds(self) -> ShardFeeds:
        """The documents, for followers."""
        assert self._feeds is not None, "the services were entered"
        return self._feeds

    @property
    def snapshots(self) -> SnapshotDesk:
        """The snapshot files, for nodes that begin anew."""
        assert self._snapshots is not None, "the services were entered"
        return self._snapshots

    @property
    def floors(self) -> FloorKeeper:
        """Up to where deletes are forgotten."""
        assert self._floors is not None, "the services were entered"
        return self._floors

    @property
    def ready(self) -> bool:
        """Whether questions can be answered."""
        return self._feeds is not None

    @property
    def shares(self) -> ShareDesk:
        """What edges own of the stand-in total."""
        assert self._keys is not None, "the services were entered"
        return ShareDesk(self.writer, self._keys.signing_key)

    def cover_for(self, cover: Cover | None, following: Following) -> SignedOrder | None:
        """Sign what an edge has to be told of the backups that are kept; None where it knows."""
        assert self._keys is not None, "the services were entered"
        return self.covers.tell(cover, following, self._keys)

    def is_operator(self, token: str | None) -> bool:
        """Tell whether a token is the operators'."""
        assert self._keys is not None, "the services were entered"
        expected = secret_hash(self._keys.operator_token)
        return token is not None and hmac.compare_digest(secret_hash(token), expected)

    async def look_at_registry(self) -> None:
        """
        Have `node_hash` and `check_may_read` tell what is registered now, or was a moment ago.

        Raises:
            DatabaseError: The database does not answer.
        """
        assert self._registry is not None, "the services were entered"
        await self._registry.look()

    def node_hash(self, node_id: str) -> str | None:
        """Tell the hash of a registered edge's secret, as of the last `look_at_registry`."""
        known = None if self._registry is None else self._registry.find(node_id)
        return None if known is None else known.secret_sha256

    def check_may_read(self, node_id: str, shard: str) -> None:
        """
        Let a registered edge read a shard that it was granted, as of the last `look_at_registry`.

        Raises:
            Problem: 403 `wrong_shard`; 401 when it was expelled meanwhile.
        """
        known = None if self._registry is None else self._registry.find(node_id)
        if known is None:
            raise unknown_node()
        check_granted(shard, known.shards)

    def certificate_days(self) -> float | None:
        """Tell how many days the certificate that nodes are shown is still good; None where they do without TLS."""
        expiry = read_expiry(self._data_dir)
        return None if expiry is None else round((expiry - self.clock.now()) / _DAY, 2)

    async def utility(self) -> Utility:
        """Tell whose books these are."""
        return await self.ask(read_utility)

    async def head(self) -> ShardHead:
        """Read how far the documents of the first shard are: a real read of the database."""
        return await self.ask(lambda connection: read_head(connection, FIRST_SHARD))

    async def heads(self) -> dict[str, ShardHead]:
        """Read how far the documents are, by shard."""

        def look(connection: Connection) -> dict[str, ShardHead]:
            return {shard: read_head(connection, shard) for shard in self.feeds.shards}

        return await self.ask(look)

    async def check_lineage(self, shown: str, node_id: str) -> None:
        """
        Compare a proof of a barrier that a node has reached with this core's history.

        What is no proof, or not sealed by this core, says nothing.

        Raises:
            Problem: 503 `restored`.
            DatabaseError: The database does not answer.
        """
        assert self._keys is not None, "the services were entered"
        version = None if self._readers is None else self._readers.version()
        if self.lineage.agrees(shown, version):
            return
        proof = Proof.parse(shown)
        if proof is not None and not proof.is_sealed(self._keys.seal_key_bytes):
            _log.warning("a position that this core has not sealed", edge=node_id)
            proof = None
        try:
            known = await self.ask(lambda connection: _known(connection, proof))
        except UnknownShard:
            return
        self.lineage.check(proof, known, node_id=node_id, now=self.clock.now())
        self.lineage.note_agreed(shown, proof, version)

    async def take_intents(
        self, intents: list[Intent], *, delivered_by: str, drain: bool, within_seconds: float
    ) -> IntakeResult:
        """
        Check and decide intents, and sign what was decided.

        Raises:
            NotBegun: The caller's time was over before its turn came: nothing was done.
            WriterFull: Too many wait: nothing was done.
            DatabaseError: The database refused: nothing was done.
            EdgesAwaited: This core was restored and waits for edges: nothing was done.
        """
        result = await self.intake.take(
            intents, delivered_by=delivered_by, drain=drain, within_seconds=within_seconds
        )
        offload = inline if len(result.outcomes) <= _SIGNED_INLINE_MAX else self._offload
        signed = await offload(lambda: self._signed(result.outcomes))
        return msgspec.structs.replace(result, outcomes=signed)

    async def take_back(
        self, batch: DecidedBatch, *, delivered_by: str, within_seconds: float
    ) -> list[Outcome]:
        """
        Take back what this core once decided, after a restore; returns the outcomes that hold now, signed.

        Raises:
            NotBegun: The caller's time was over before its turn came: nothing was done.
            WriterFull: Too many wait: nothing was done.
            DatabaseError: The database refused: nothing was done.
        """
        assert self._keys is not None, "the services were entered"
        keys, core_key = await self.ask(edge_keys), self._keys.public_key
        genuine = await self._offload(lambda: check_returned(batch.items, keys, core_key))
        if len(genuine) < len(batch.items):
            _log.error(
                "outcomes that this core never gave out",
                alarm="forged_outcome",
                count=len(batch.items) - len(genuine),
                delivered_by=delivered_by,
            )

        def work(store: CoreStore) -> TakenBack:
            taken = TakenBack([], 0)
            if genuine:
                taken = take_back(store, genuine, self.settings, delivered_by=delivered_by)
            if batch.complete_for is not None:
                epoch = batch.complete_for
                store.run(lambda tx: _hear_complete(tx, delivered_by, epoch, batch.pruned_by))
            return taken

        taken = await self.writer.run(work, turn=Turn.DRAIN, within_seconds=within_seconds)
        self.feeds.notify()
        if taken.entered:
            _log.info("outcomes taken back", count=taken.entered, delivered_by=delivered_by)
        return await self._offload(lambda: self._signed(taken.outcomes))

    async def edges_awaited(self) -> bool:
        """Tell whether this core was restored and waits for edges."""
        return bool(await self.ask(awaited_edges))

    def _tell_feeds(self) -> None:
        self.feeds.notify()

    def _signed(self, outcomes: list[Outcome]) -> list[Outcome]:
        assert self._signer is not None, "the services were entered"
        return [self._signer.sign_outcome(each) for each in outcomes]

    def _read_digests(self, shard: str, question: DigestQuestion) -> DigestAnswer:
        connection = self._compared
        if connection is None:
            raise FeedUnavailable("the core is not serving")
        with read(connection):
            return answer_question(connection, shard, question, overdue=read_overdue(self.clock))

    def _keep_floors(self, connection: Connection) -> FloorKeeper:
        away_seconds = self.settings.edge_away_days * _DAY_SECONDS
        return FloorKeeper(
            connection,
            self._write,
            read_shards(connection),
            newest_file=lambda reading, shard: newest_file_seq(
                reading, self._data_dir, shard, clock=self.clock, age_seconds_max=away_seconds
            ),
            clock=self.clock,
            settings=FloorSettings(
                away_seconds=away_seconds,
                keep_seconds=self.settings.tombstone_hours * _HOUR_SECONDS,
            ),
            offload=self._offload,
        )

    async def _write(self, work: Callable[[Connection], _ResultT], /) -> _ResultT:
        """Do what can wait, as a transaction of its own, after everybody else's."""

        def job(store: CoreStore) -> _ResultT:
            with write(store.connection) as connection:
                return work(connection)

        return await self.writer.run(job, turn=Turn.DRAIN, within_seconds=_WRITE_SECONDS_MAX)

    async def _is_of_history(self, manifest: SnapshotManifest) -> bool:
        return await self.ask(lambda connection: is_of_history(connection, manifest))

    async def _close_time(self) -> datetime:
        def work(store: CoreStore) -> datetime:
            with write(store.connection) as connection:
                return close(connection, self.clock.now())

        return await self.writer.run(work, turn=Turn.TIME, within_seconds=CLOSE_SECONDS_MAX)

    def _open_store(self) -> CoreStore:
        return CoreStore.open(
            self._data_dir, self.clock, utility=self._utility, committed=self.time_source.note
        )


def _hear_complete(tx: Transaction, node_id: str, epoch: int, pruned_by: str) -> None:
    """Go on without an edge that has brought back all, unless it has dropped what these books lack: people decide."""
    if hear_mark(tx, node_id, pruned_by):
        no_longer_await(tx, node_id, epoch)


def _known(connection: Connection, proof: Proof | None) -> Known:
    shard = FIRST_SHARD if proof is None else proof.shard
    head = read_head(connection, shard)
    if proof is None:
        return Known(head, None, 0)
    chain = read_chain(connection, shard, proof.seq)
    return Known(head, chain, oldest_commit(connection, shard))

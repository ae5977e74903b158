"""How this edge is, put together from what its processes write down: for ``/status``, metrics and the command line."""

from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from cache_sync.clock import Clock
from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.redis_mirror import MirrorStatus, read_mirrors
from cache_sync.replica_reader import ReplicaReader
from edge_portal.held_snapshots import HeldSnapshots
from edge_portal.settings import EdgePaths
from edge_portal.shard_status import ShardStatus, oldest_shard, read_shards, worst_shard
from edge_portal.verifier import Verifications, read_verifications
from edge_portal.views import ModeView
from failover.errors import JournalError
from failover.journal_reader import JournalReader
from failover.journal_views import JournalSize
from failover.mode_lease import LeaseReader, ModeLease
from failover.node_tls import read_expiry
from failover.retry_budget import RetryCounts
from failover.sibling_news import NO_NEWS, NewsReader, NodeNews
from failover.standin import MethodType

_DAY: Final = timedelta(days=1)
_NOT_LEASED: Final = frozenset({"lease_expired", "starting"})


class VerificationStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    What comparing with the node above has found since this edge exists, and in the newest pass.

    ``clean`` tells whether the newest pass compared everything and found no difference.
    """

    clean: bool | None = None
    upstream: str = ""
    ended_at: datetime | None = None
    stopped: str = ""
    passes: int = 0
    divergent_rows: int = 0
    repaired_rows: int = 0


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for the core; ``amount`` in minor units, copies held for siblings apart."""

    pending: int
    oldest_seconds: float
    amount: int
    parked: int
    copies_held: int
    copies_amount: int


class LimitsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    The stand-in limits in force, as `Limits`, in minor units.

    ``version`` is the operators' order that they are of, 0 where they are the configuration's. ``edge_outstanding`` is
    this edge's share of the total, ``outstanding`` what counts against that, None while it is not known.
    """

    version: int
    per_payment: int
    account_day_count: int
    account_day_sum: int
    edge_outstanding: int
    outstanding: int | None
    snapshot_age_seconds: float
    outage_seconds: float
    method_types: tuple[MethodType, ...]


class SiblingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a sibling said last of the payments that wait with it, by itself or through another; ``amount`` in minor units.

    ``heard_seconds`` is how long ago that was so, None where it never said anything. ``unlisted`` are those of
    ``pending`` of which it told no marks.
    """

    heard_seconds: float | None
    observed_at: datetime | None
    incarnation: str
    last_ordinal: int
    pending: int
    amount: int
    unlisted: int
    normal: bool


class ProcessStatus(msgspec.Struct, frozen=True):
    """One process under the supervisor."""

    name: str
    pid: int
    restarts: int


class ProcessList(msgspec.Struct, frozen=True):
    """What the supervisor writes down."""

    supervisor: int
    processes: list[ProcessStatus]


class BreakerOrderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    An operator's order that holds the breaker.

    ``breaker`` is what it is held as; ``ends_at`` and ``seconds_left`` are None where it stands until the next order.
    """

    breaker: str
    by: str
    reason: str
    given_at: datetime
    given_seconds_ago: float
    ends_at: datetime | None
    seconds_left: float | None


class FileKeyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    The ids of the keys that are held, the current one first, and of the one that the journal is under.

    All empty where files lie plain. Each shard's status names its snapshot's.
    """

    held: list[str] = []
    journal: str = ""


class JournalStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    How large the journal is.

    ``bytes`` on the disk, ``entries`` and ``copies`` that are held whole, ``pruned`` own entries that are in sums only.
    ``pruned_by`` is the mark of the core's backup by which something was dropped last, empty while nothing was.
    """

    bytes: int = 0
    entries: int = 0
    copies: int = 0
    pruned: int = 0
    pruned_by: str = ""


class EdgeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    How an edge is.

    ``as_of`` and ``lag_seconds`` are those of the oldest snapshot, None before there is one of every shard. ``feed`` is
    what the applier does (with the shard that is worst off), ``upstream`` whom it asks for documents, ``feed_path`` all
    the nodes that they come through, the core last.
    ``certificate_days`` is how long this node's certificate is still good, None where nodes do without TLS.
    ``breaker_order`` is an operator's, while it holds the breaker.
    ``limits`` are the stand-in limits, ``outage_seconds`` how long it has not been in normal operation.
    ``retries`` counts offers to the core since the agent started: of what is new (``live``), and the drain's.
    ``siblings`` is what those say of what waits with them.
    ``redis`` says how far the copies in a Redis are, by shard, where there is one.
    """

    node_id: str
    mode: Literal["normal", "degraded", "recovering"]
    reason: str
    since: datetime | None
    as_of: datetime | None
    lag_seconds: float | None
    lag_at_least: bool
    shards: dict[str, ShardStatus]
    queue: QueueStatus
    limits: LimitsStatus
    outage_seconds: float
    breaker: str
    breaker_order: BreakerOrderStatus | None
    retries: dict[str, RetryCounts]
    core_silence_seconds: float | None
    payments_open: bool
    archive_open: bool
    journal_fenced: bool
    journal_full: bool
    journal: JournalStatus
    incarnation: str
    witnesses: dict[str, bool]
    siblings: dict[str, SiblingStatus]
    feed: str
    feed_reason: str
    upstream: str
    feed_path: list[str]
    verification: VerificationStatus
    redis: dict[str, MirrorStatus]
    keys: FileKeyStatus
    certificate_days: float | None
    processes: list[ProcessStatus]
    supervisor: int | None


class NodeStatus:
    """Reads what the processes of this edge write down; everything may be missing."""

    def __init__(
        self,
        node_id: str,
        paths: EdgePaths,
        *,
        lease: LeaseReader,
        snapshot: HeldSnapshots | ReplicaReader,
        clock: Clock,
        journal: JournalReader | None = None,
        keys: FileKeys = PLAIN,
        siblings: NewsReader | None = None,
    ) -> None:
        self._siblings = siblings
        self._node_id = node_id
        self._paths = paths
        self._lease = lease
        self._snapshot = snapshot
        self._clock = clock
        self._journal = journal
        self._keys = keys

    def ready(self) -> bool:
        """Tell whether there is a snapshot of every shard to serve, core or not."""
        return self._snapshot.ready()

    def mode(self) -> ModeView:
        """Tell the mode as pages need it."""
        return mode_view(self._lease.read(), self._siblings)

    def read(self) -> EdgeStatus:
        """Put the status together."""
        lease = self._lease.read()
        processes = self._processes()
        kept = read_verifications(self._paths.verifications)
        shards = read_shards(self._paths.snapshot, kept.reports, self._clock, self._keys)
        oldest, worst = oldest_shard(shards.values()), worst_shard(shards.values())
        queue = lease.queue
        return EdgeStatus(
            node_id=self._node_id,
            mode=lease.mode,
            reason=lease.reason,
            since=lease.since,
            as_of=oldest.as_of,
            lag_seconds=oldest.lag_seconds,
            lag_at_least=oldest.lag_at_least,
            shards=shards,
            queue=QueueStatus(
                pending=queue.pending,
                oldest_seconds=round(queue.oldest_seconds, 3),
                amount=queue.amount_cents,
                parked=queue.parked,
                copies_held=queue.copies_held,
                copies_amount=queue.copies_cents,
            ),
            limits=limits_status(lease),
            outage_seconds=round(lease.standing.outage_seconds, 3),
            breaker=lease.breaker,
            breaker_order=self._breaker_order(lease),
            retries=lease.retries,
            core_silence_seconds=lease.core_silence_seconds,
            payments_open=lease.payments_open,
            archive_open=lease.archive_open,
            journal_fenced=lease.journal_fenced,
            journal_full=lease.journal_full,
            journal=self._journal_status(),
            incarnation=lease.incarnation,
            witnesses=lease.witnesses,
            siblings=self._sibling_status(),
            feed=worst.phase,
            feed_reason=worst.reason,
            upstream=worst.upstream,
            feed_path=worst.path,
            verification=_verification(kept),
            redis=read_mirrors(self._paths.snapshot, self._clock),
            keys=FileKeyStatus(held=self._keys.ids, journal=self._journal_key()),
            certificate_days=self._certificate_days(),
            processes=processes.processes if processes else [],
            supervisor=processes.supervisor if processes else None,
        )

    def _breaker_order(self, lease: ModeLease) -> BreakerOrderStatus | None:
        order = lease.breaker_order
        if order is None:
            return None
        left = order.seconds_left(self._clock)
        return BreakerOrderStatus(
            breaker=order.breaker,
            by=order.by,
            reason=order.reason,
            given_at=order.given_at,
            given_seconds_ago=round(order.seconds_since(self._clock), 1),
            ends_at=order.ends_at,
            seconds_left=None if left is None else round(left, 1),
        )

    def _journal_status(self) -> JournalStatus:
        try:
            size = self._journal.size() if self._journal is not None else JournalSize()
        except JournalError:
            return JournalStatus()
        return JournalStatus(
            bytes=size.bytes,
            entries=size.entries,
            copies=size.copies,
            pruned=size.pruned,
            pruned_by=size.mark,
        )

    def _sibling_status(self) -> dict[str, SiblingStatus]:
        if self._siblings is None:
            return {}
        news = self._siblings.read()
        ages = {node.node_id: self._siblings.age_seconds(node, news) for node in news.nodes}
        return {node.node_id: _sibling_status(node, ages[node.node_id]) for node in news.nodes}

    def _journal_key(self) -> str:
        try:
            return self._journal.key_id() if self._journal is not None else ""
        except JournalError:
            return ""

    def _certificate_days(self) -> float | None:
        expiry = read_expiry(self._paths.data)
        return None if expiry is None else round((expiry - self._clock.now()) / _DAY, 2)

    def _processes(self) -> ProcessList | None:
        try:
            return msgspec.json.decode(self._paths.processes.read_bytes(), type=ProcessList)
        except (OSError, msgspec.DecodeError):
            return None


def _sibling_status(node: NodeNews, age_seconds: float | None) -> SiblingStatus:
    return SiblingStatus(
        heard_seconds=None if age_seconds is None else round(age_seconds, 1),
        observed_at=node.observed_at,
        incarnation=node.incarnation,
        last_ordinal=node.last_ordinal,
        pending=node.count,
        amount=node.cents,
        unlisted=node.unlisted,
        normal=node.normal,
    )


def _verification(kept: Verifications) -> VerificationStatus:
    counts = VerificationStatus(
        passes=kept.passes, divergent_rows=kept.divergent_rows, repaired_rows=kept.repaired_rows
    )
    if not kept.reports:
        return counts
    newest = max(kept.reports.values(), key=lambda report: report.ended_at)
    return msgspec.structs.replace(
        counts,
        clean=all(report.clean for report in kept.reports.values()),
        upstream=newest.upstream,
        ended_at=newest.ended_at,
        stopped=newest.stopped,
    )


def limits_status(lease: ModeLease) -> LimitsStatus:
    """Tell the limits in force as operators are told them."""
    limits = lease.standing.limits
    return LimitsStatus(
        version=lease.standing.version,
        per_payment=limits.per_payment_cents,
        account_day_count=limits.account_day_count,
        account_day_sum=limits.account_day_cents,
        edge_outstanding=limits.edge_outstanding_cents,
        outstanding=lease.standing.outstanding_cents,
        snapshot_age_seconds=limits.snapshot_age_seconds,
        outage_seconds=limits.outage_seconds,
        method_types=limits.method_types,
    )


def mode_view(lease: ModeLease, siblings: NewsReader | None = None) -> ModeView:
    """Tell a lease as pages need it, with the news of the siblings that count in its mode."""
    return ModeView(
        mode=lease.mode,
        reason=lease.reason,
        since=lease.since,
        payments_open=lease.payments_open,
        archive_open=lease.archive_open,
        standing=lease.standing,
        news=siblings.moment(normal=lease.mode == "normal") if siblings is not None else NO_NEWS,
    )


def archive_is_closed(lease: ModeLease) -> bool:
    """Tell whether an agent that is there knows that the core is away; without one, asking finds out."""
    return lease.reason not in _NOT_LEASED and not lease.archive_open

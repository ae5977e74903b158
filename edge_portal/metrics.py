"""
What workers count, and how the edge is, for Prometheus.

Counters live in files that all workers share (one a process, in ``PROMETHEUS_MULTIPROC_DIR``, which the supervisor
sets), so that any worker can tell the sum. Gauges are read from the lease and the snapshot when asked. No label holds
an id of a customer or an account.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from cache_sync.redis_mirror import MirrorStatus
from edge_portal.node_status import BreakerOrderStatus, EdgeStatus
from edge_portal.request_counts import ManyAtOnce, RequestCounts
from edge_portal.settings import metrics_are_shared
from edge_portal.shard_status import ShardStatus
from failover.retry_budget import RetryCounts

CONTENT_TYPE: Final = "text/plain; version=0.0.4"

LOCAL: Final = CollectorRegistry()
REQUEST_COUNTS: Final = RequestCounts(
    Counter(
        "ridethrough_edge_requests",
        "Requests by route and status.",
        ["route", "status"],
        registry=LOCAL,
    ),
    ManyAtOnce(
        "ridethrough_edge_request_seconds",
        "Seconds from a request's first byte to its answer's last.",
        registry=LOCAL,
        buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
    ),
)


def exposition(status: EdgeStatus) -> bytes:
    """Write everything in Prometheus' text format."""
    REQUEST_COUNTS.write_down()
    registry = CollectorRegistry()
    registry.register(_StatusCollector(status))
    gauges = generate_latest(registry)
    if not metrics_are_shared():
        return generate_latest(LOCAL) + gauges
    shared = CollectorRegistry()
    # The library's constructor has no annotations.
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return generate_latest(shared) + gauges


class _StatusCollector(Collector):
    def __init__(self, status: EdgeStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yield the edge's gauges."""
        status = self._status
        yield from _state_metrics(status)
        for name, told, value in _gauges(status):
            if value is not None:
                yield GaugeMetricFamily(f"ridethrough_edge_{name}", told, value=value)
        yield _limits_metric(status)
        yield _key_metric(status)
        yield from _sibling_metrics(status)
        for shard, held in status.shards.items():
            yield from _shard_metrics(shard, held)
        for shard, mirror in status.redis.items():
            yield from _mirror_metrics(shard, mirror)


def _state_metrics(status: EdgeStatus) -> Iterator[Metric]:
    mode = GaugeMetricFamily("ridethrough_edge_mode", "1 for the mode it is in.", labels=["mode"])
    for name in ("normal", "degraded", "recovering"):
        mode.add_metric([name], float(status.mode == name))
    yield mode
    breaker = GaugeMetricFamily(
        "ridethrough_edge_breaker", "1 for the breaker's state.", labels=["state"]
    )
    for name in ("closed", "open", "half_open"):
        breaker.add_metric([name], float(status.breaker == name))
    yield breaker
    yield from _order_metrics(status.breaker_order)
    yield from _retry_metrics(status.retries)
    upstream = GaugeMetricFamily(
        "ridethrough_edge_upstream",
        "1 for the node that documents are asked from.",
        labels=["node"],
    )
    if status.upstream:
        upstream.add_metric([status.upstream], 1.0)
    yield upstream


def _gauges(status: EdgeStatus) -> tuple[tuple[str, str, float | None], ...]:
    """Tell what is one number: name, meaning, value where there is one."""
    return (
        ("feed_hops", "Nodes that documents come through.", float(len(status.feed_path))),
        ("snapshot_age_seconds", "Age of the as-of time.", status.lag_seconds),
        ("queue_pending", "Payments that wait for the core.", status.queue.pending),
        ("queue_oldest_seconds", "How long the oldest waits.", status.queue.oldest_seconds),
        ("queue_amount", "Their sum in minor units.", status.queue.amount),
        ("queue_parked", "Payments set aside.", status.queue.parked),
        ("copies_held", "Undecided copies held for siblings.", status.queue.copies_held),
        ("core_silence_seconds", "Since the core last answered.", status.core_silence_seconds),
        (
            "verification_divergent_rows",
            "Documents that differed from the node above, of all passes.",
            status.verification.divergent_rows,
        ),
        (
            "verification_repaired_rows",
            "Documents put right.",
            status.verification.repaired_rows,
        ),
        ("outage_seconds", "Since it was in normal operation.", status.outage_seconds),
        (
            "limits_version",
            "The operators' order that the limits are of, 0 for the configuration's.",
            float(status.limits.version),
        ),
        ("outstanding", "What counts against its share.", status.limits.outstanding),
        ("payments_open", "1 when payments are taken.", float(status.payments_open)),
        ("journal_fenced", "1 when the journal takes nothing.", float(status.journal_fenced)),
        ("journal_full", "1 when its disk is nearly full.", float(status.journal_full)),
        ("journal_bytes", "What the journal takes on the disk.", status.journal.bytes),
        ("journal_entries", "Own intents that are held whole.", status.journal.entries),
        ("journal_copies", "Copies that are held whole.", status.journal.copies),
        ("journal_pruned", "Own intents that are in sums only.", status.journal.pruned),
        (
            "certificate_days",
            "How long this node's certificate is still good.",
            status.certificate_days,
        ),
        (
            "process_restarts",
            "Processes replaced since the supervisor started.",
            float(sum(process.restarts for process in status.processes)),
        ),
    )


def _limits_metric(status: EdgeStatus) -> Metric:
    family = GaugeMetricFamily(
        "ridethrough_edge_limit",
        "The stand-in limits in force, in minor units, payments or seconds.",
        labels=["limit"],
    )
    for name, value in msgspec.to_builtins(status.limits).items():
        if name not in {"version", "method_types", "outstanding"}:
            family.add_metric([name], float(value))
    return family


def _order_metrics(order: BreakerOrderStatus | None) -> Iterator[Metric]:
    held = GaugeMetricFamily(
        "ridethrough_edge_breaker_held",
        "1 where an operator holds the breaker in this state.",
        labels=["state"],
    )
    for state in ("open", "closed"):
        held.add_metric([state], float(order is not None and order.breaker == state))
    yield held
    if order is not None:
        yield GaugeMetricFamily(
            "ridethrough_edge_breaker_held_seconds",
            "How long ago an operator ordered that.",
            value=order.given_seconds_ago,
        )


def _retry_metrics(retries: Mapping[str, RetryCounts]) -> Iterator[Metric]:
    first = CounterMetricFamily(
        "ridethrough_edge_core_first_tries",
        "What was offered to the core for the first time: intents live, batches by the drain.",
        labels=["road"],
    )
    made = CounterMetricFamily(
        "ridethrough_edge_core_retries", "What was offered again.", labels=["road"]
    )
    refused = CounterMetricFamily(
        "ridethrough_edge_core_retries_refused",
        "Retries that were not made: the budget had none left.",
        labels=["road"],
    )
    for road, counts in retries.items():
        first.add_metric([road], counts.first)
        made.add_metric([road], counts.retries)
        refused.add_metric([road], counts.refused)
    yield from (first, made, refused)


def _key_metric(status: EdgeStatus) -> Metric:
    family = GaugeMetricFamily(
        "ridethrough_edge_file_key",
        "1, by file: the id of the key that it is encrypted under.",
        labels=["file", "key"],
    )
    files = {"journal": status.keys.journal}
    files |= {f"snapshot {shard}": held.key for shard, held in status.shards.items()}
    for name, key in files.items():
        if key:
            family.add_metric([name, key], 1.0)
    return family


def _sibling_metrics(status: EdgeStatus) -> Iterator[Metric]:
    told = (
        ("heard_seconds", "Since it was heard of what waits at a sibling."),
        ("pending", "Payments that wait at a sibling, as it said last."),
        ("amount", "Their sum in minor units."),
        ("unlisted", "Those of them that nobody else can look for."),
    )
    for name, what in told:
        family = GaugeMetricFamily(f"ridethrough_edge_sibling_{name}", what, labels=["node"])
        for node, said in status.siblings.items():
            if said.heard_seconds is not None:
                family.add_metric([node], getattr(said, name))
        yield family


def _shard_metrics(shard: str, held: ShardStatus) -> Iterator[Metric]:
    verified = None if held.verified_at is None else held.verified_at.timestamp()
    told: tuple[tuple[str, str, float | None], ...] = (
        ("epoch", "The core's epoch.", held.epoch),
        ("cursor", "The seq up to which everything is held.", held.cursor),
        ("head", "The feed's newest seq as last heard.", held.head),
        ("lag_seqs", "How many seqs the snapshot is behind.", held.lag),
        ("lag_seconds", "Age of the shard's as-of time.", held.lag_seconds),
        ("heartbeat_seconds", "Since the feed last answered.", held.heartbeat_seconds),
        ("bytes", "What the current snapshot takes on the disk.", held.bytes),
        ("rows_applied", "Documents applied since the applier started.", held.rows_applied),
        ("frames_refused", "Frames that were not applied.", held.frames_refused),
        ("snapshots_built", "Snapshots built and swapped in.", held.snapshots_built),
        ("stopped", "1 while nothing is applied.", float(held.phase == "stopped")),
        ("verified_timestamp_seconds", "End of the last clean comparison.", verified),
    )
    for name, what, value in told:
        if value is None:
            continue
        family = GaugeMetricFamily(f"ridethrough_edge_shard_{name}", what, labels=["shard"])
        family.add_metric([shard], value)
        yield family


def _mirror_metrics(shard: str, mirror: MirrorStatus) -> Iterator[Metric]:
    told: tuple[tuple[str, str, float | None], ...] = (
        ("cursor", "The seq up to which the redis holds everything.", mirror.cursor),
        ("lag_seqs", "How many seqs the redis is behind the disk.", mirror.lag),
        ("rows", "Documents written to the redis.", mirror.rows),
        ("generations_built", "Copies built in the redis from the beginning.", mirror.built),
        ("lost", "How often the redis held something else than was written.", mirror.lost),
        ("following", "1 while the redis follows the disk.", float(mirror.phase == "following")),
    )
    for name, what, value in told:
        if value is None:
            continue
        family = GaugeMetricFamily(f"ridethrough_edge_redis_{name}", what, labels=["shard"])
        family.add_metric([shard], value)
        yield family

"""What the core counts; no label holds an id of a customer or an account."""

from collections.abc import Collection, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from core_cis.floor_keeper import ShardFloor
from core_cis.intake import IntakeResult

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


_TLS_GAUGES = {
    "certificate_days": "How long the core's certificate is still good.",
    "handshakes_refused": "Callers without a certificate of the fleet since the start.",
}
_FLOOR_GAUGES = {
    "floor": "The oldest cursor that still sees every delete.",
    "floor_lag": "How many seqs the floor is behind the head.",
    "tombstones": "Deletes that are still told to followers.",
    "tombstones_forgotten": "Deletes that were forgotten since the start.",
    "edges_away": "Edges that deletes are no longer kept for.",
}


class CoreMetrics:
    """The counters of one running core, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._intents = Counter(
            "ridethrough_core_intents",
            "Intents by what became of them.",
            ["result"],
            registry=self.registry,
        )
        self._alarms = Counter(
            "ridethrough_core_alarms",
            "What an operator should look at.",
            ["alarm"],
            registry=self.registry,
        )
        self._frames = Counter(
            "ridethrough_core_feed_frames", "Frames answered to followers.", registry=self.registry
        )
        self._rows = Counter(
            "ridethrough_core_feed_documents",
            "Documents sent to followers.",
            registry=self.registry,
        )
        self.not_begun = Counter(
            "ridethrough_core_jobs_not_begun",
            "Jobs whose turn at the writer did not come in time.",
            registry=self.registry,
        )
        self.intake_seconds = Histogram(
            "ridethrough_core_intake_seconds",
            "Seconds from a batch's arrival to its commit.",
            registry=self.registry,
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
        )
        self.waiting = Gauge(
            "ridethrough_core_writer_waiting",
            "Jobs that wait for the writer.",
            registry=self.registry,
        )

        self._floor = {
            name: Gauge(f"ridethrough_core_{name}", what, ["shard"], registry=self.registry)
            for name, what in _FLOOR_GAUGES.items()
        }
        self._unread = Gauge(
            "ridethrough_core_edges_not_reading",
            "Active edges that have not said they read the version of a body that is written.",
            ["kind"],
            registry=self.registry,
        )
        self._tls: dict[str, Gauge] = {}
        self._floor_held = Gauge(
            "ridethrough_core_floor_held",
            "1 for who keeps the floor of a shard from rising.",
            ["shard", "by"],
            registry=self.registry,
        )

    def count_frame(self, rows: int) -> None:
        """Count a frame that a follower was answered with."""
        self._frames.inc()
        self._rows.inc(rows)

    def tell_unread(self, unread: Mapping[str, Collection[str]]) -> None:
        """Take over which edges, by kind, cannot read what is written."""
        for kind, edges in unread.items():
            self._unread.labels(kind).set(len(edges))

    def tell_tls(self, certificate_days: float | None, handshakes_refused: int) -> None:
        """Take over how long the certificate is good, where there is one, and how many callers had none."""
        if certificate_days is None:
            return
        # Without TLS there is no such figure: nought days would be an alarm.
        self._tls = self._tls or {
            name: Gauge(f"ridethrough_core_{name}", what, registry=self.registry)
            for name, what in _TLS_GAUGES.items()
        }
        self._tls["certificate_days"].set(certificate_days)
        self._tls["handshakes_refused"].set(handshakes_refused)

    def tell_floors(self, floors: Iterable[ShardFloor]) -> None:
        """Take over up to where the deletes of each shard are forgotten."""
        self._floor_held.clear()
        for floor in floors:
            told = {
                "floor": floor.floor,
                "floor_lag": floor.head - floor.floor,
                "tombstones": floor.tombstones,
                "tombstones_forgotten": floor.forgotten,
                "edges_away": len(floor.away),
            }
            for name, value in told.items():
                self._floor[name].labels(floor.shard).set(value)
            if floor.held_by:
                self._floor_held.labels(floor.shard, floor.held_by).set(1)

    def count_intake(self, result: IntakeResult) -> None:
        """Count what became of a batch, and raise what needs eyes."""
        for name in ("posted", "rejected", "dead_lettered", "repeated", "refused", "failed"):
            self._intents.labels(name).inc(getattr(result, name))
        self._alarms.labels("id_conflict").inc(result.conflicts)
        self._alarms.labels("dead_letter").inc(result.dead_lettered)
        self._alarms.labels("refused_intent").inc(result.refused)

    def exposition(self) -> bytes:
        """Write all figures in Prometheus' text format."""
        return generate_latest(self.registry)

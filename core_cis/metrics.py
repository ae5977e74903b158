"""What the core counts; no label holds an id of a customer or an account."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from core_cis.intake import IntakeResult

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


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
        self.frames = Counter(
            "ridethrough_core_feed_frames", "Frames answered to followers.", registry=self.registry
        )
        self.rows = Counter(
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

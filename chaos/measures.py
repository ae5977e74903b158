"""What a drill measured, in figures: how long things took, what customers saw, what each second looked like."""

from collections import Counter, defaultdict
from datetime import datetime, timedelta

import msgspec

from chaos.charts import GONE
from chaos.history import Attempt, History, Phase, Read
from chaos.label_invariants import seconds_to_degrade

BINS_MAX = 240
PHASES: tuple[Phase, ...] = ("before", "outage", "after")
OK = 200


class PhaseFigures(msgspec.Struct, frozen=True, kw_only=True):
    """
    What customers saw in one phase; latencies in milliseconds, ages in seconds.

    ``turned_away`` counts pages that failed at an edge that the drill itself had taken away; ``failed`` has the others.
    """

    phase: Phase
    pages: int
    failed: int
    turned_away: int
    p50_ms: float
    p95_ms: float
    slowest_ms: float
    oldest_age_seconds: float
    attempts: int
    posted: int
    accepted: int
    checking: int
    refused: int
    untouched_accounts: int


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the drill's timeline; ``seconds`` since its beginning."""

    name: str
    at: datetime
    seconds: float


class EdgeTimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long one edge took, in seconds; None for what did not happen."""

    edge: str
    degraded_after_fault: float | None
    normal_after_heal: float | None
    queue_max: int
    oldest_age_seconds: float


class EdgeSeries(msgspec.Struct, frozen=True, kw_only=True):
    """One edge over time, one value for each bin; None where nothing was seen."""

    edge: str
    mode: list[str]
    age_seconds: list[float | None]
    queue: list[int | None]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """The drill over time in bins of ``bin_seconds``."""

    bin_seconds: float
    requests: list[int]
    failed: list[int]
    p95_ms: list[float | None]
    edges: list[EdgeSeries]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests of one kind ended in one way, by phase."""

    what: str
    outcome: str
    before: int
    outage: int
    after: int


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """Everything measured."""

    duration_seconds: float
    outage_seconds: float | None
    heal_seconds: float | None
    drain_seconds: float | None
    edges: list[EdgeTimes]
    phases: list[PhaseFigures]
    moments: list[Moment]
    outcomes: list[Outcome]
    series: Series


def percentile(values: list[float], share: float) -> float:
    """Return the smallest value that ``share`` of the values do not exceed; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def seconds_between(begin: datetime | None, end: datetime | None) -> float | None:
    """Return how many seconds lie between two instants, None when one did not happen."""
    return None if begin is None or end is None else round((end - begin).total_seconds(), 3)


def _millis(record: Read | Attempt) -> float:
    return (record.received_at - record.sent_at).total_seconds() * 1000


def measure_phase(history: History, phase: Phase) -> PhaseFigures:
    """Sum up what customers saw in one phase."""
    pages = [
        read for read in history.reads if not read.archive and history.phase(read.sent_at) == phase
    ]
    latencies = [_millis(read) for read in pages if not history.out_of_reach(read)]
    failed = [read for read in pages if read.status != OK]
    turned_away = sum(history.out_of_reach(read) for read in failed)
    attempts = [one for one in history.attempts if history.phase(one.sent_at) == phase]
    states = Counter(one.state for one in attempts)
    return PhaseFigures(
        phase=phase,
        pages=len(pages),
        failed=len(failed) - turned_away,
        turned_away=turned_away,
        p50_ms=round(percentile(latencies, 0.5), 1),
        p95_ms=round(percentile(latencies, 0.95), 1),
        slowest_ms=round(max(latencies, default=0.0), 1),
        oldest_age_seconds=max((read.age_seconds or 0.0 for read in pages), default=0.0),
        attempts=len(attempts),
        posted=states["posted"],
        accepted=states["accepted"],
        checking=states["checking"],
        refused=sum(not one.state for one in attempts),
        untouched_accounts=len({read.account_id for read in pages if read.untouched}),
    )


def measure_edge(history: History, edge: str) -> EdgeTimes:
    """Measure how one edge went into the outage and came out of it."""
    moments = history.milestones
    degraded = seconds_to_degrade(history, edge)
    return EdgeTimes(
        edge=edge,
        degraded_after_fault=None if degraded is None else round(degraded, 3),
        normal_after_heal=seconds_between(moments.healed_at, moments.normal_at.get(edge)),
        queue_max=max((s.pending or 0 for s in history.samples if s.edge == edge), default=0),
        oldest_age_seconds=max(
            (read.age_seconds or 0.0 for read in history.reads if read.edge == edge), default=0.0
        ),
    )


def list_moments(history: History) -> list[Moment]:
    """List the drill's milestones in order."""
    moments, fault = history.milestones, history.fault
    named: list[tuple[str, datetime | None]] = [
        ("Traffic began", moments.begun_at),
        (fault.began, moments.broken_at),
        (fault.healing, moments.healing_at),
        (fault.healed, moments.healed_at),
        ("Nothing waits any more", moments.drained_at),
        *((f"{edge} is normal", at) for edge, at in moments.normal_at.items()),
        ("Traffic ended", moments.ended_at),
    ]
    for edge in fault.without_core:
        seconds = seconds_to_degrade(history, edge)
        if moments.broken_from is not None and seconds is not None:
            at = moments.broken_from + timedelta(seconds=seconds)
            named.append((f"{edge} rides through", at))
    begun = moments.begun_at
    return sorted(
        (
            Moment(name=name, at=at, seconds=round((at - begun).total_seconds(), 2))
            for name, at in named
            if at is not None
        ),
        key=lambda moment: moment.at,
    )


def list_outcomes(history: History) -> list[Outcome]:
    """Count requests by kind, outcome and phase."""
    counts: dict[tuple[str, str], Counter[Phase]] = defaultdict(Counter)
    for read in history.reads:
        what = f"{read.what}, archived" if read.archive else read.what
        outcome = f"{read.status} {read.problem}".strip() if read.status else "no answer"
        counts[f"read {what}", outcome][history.phase(read.sent_at)] += 1
    for attempt in history.attempts:
        outcome = f"{attempt.status} {attempt.state or attempt.problem}".strip()
        counts["pay", outcome if attempt.status else "no answer"][
            history.phase(attempt.sent_at)
        ] += 1
    return [
        Outcome(
            what=what,
            outcome=outcome,
            before=by_phase["before"],
            outage=by_phase["outage"],
            after=by_phase["after"],
        )
        for (what, outcome), by_phase in sorted(counts.items())
    ]


def make_series(history: History) -> Series:
    """Cut the drill into bins of equal length."""
    begun = history.milestones.begun_at
    ended = history.milestones.ended_at or max(
        (read.received_at for read in history.reads), default=begun
    )
    duration = max(1.0, (ended - begun).total_seconds())
    width = max(0.5, duration / BINS_MAX)
    bins = int(duration / width) + 1

    def place(at: datetime) -> int:
        return min(bins - 1, max(0, int((at - begun).total_seconds() / width)))

    latencies: list[list[float]] = [[] for _ in range(bins)]
    failed = [0] * bins
    for read in history.reads:
        if not read.archive and not history.out_of_reach(read):
            latencies[place(read.sent_at)].append(_millis(read))
            failed[place(read.sent_at)] += read.status != OK
    edges = []
    for edge in history.edges:
        mode = [""] * bins
        ages: list[float | None] = [None] * bins
        queues: list[int | None] = [None] * bins
        for sample in history.samples:
            if sample.edge != edge:
                continue
            here = place(sample.at)
            if not sample.mode:
                mode[here] = mode[here] or GONE
                continue
            mode[here] = sample.mode
            ages[here] = sample.lag_seconds
            queues[here] = sample.pending
        edges.append(EdgeSeries(edge=edge, mode=mode, age_seconds=ages, queue=queues))
    return Series(
        bin_seconds=round(width, 3),
        requests=[len(values) for values in latencies],
        failed=failed,
        p95_ms=[round(percentile(values, 0.95), 1) if values else None for values in latencies],
        edges=edges,
    )


def measure(history: History) -> Measures:
    """Measure everything."""
    moments = history.milestones
    return Measures(
        duration_seconds=seconds_between(moments.begun_at, moments.ended_at) or 0.0,
        outage_seconds=seconds_between(moments.broken_at, moments.healing_at),
        heal_seconds=seconds_between(moments.healing_at, moments.healed_at),
        drain_seconds=seconds_between(moments.healed_at, moments.drained_at),
        edges=[measure_edge(history, edge) for edge in history.edges],
        phases=[measure_phase(history, phase) for phase in PHASES],
        moments=list_moments(history),
        outcomes=list_outcomes(history),
        series=make_series(history),
    )

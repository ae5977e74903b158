"""How the core is: for operators, for supervisors, for Prometheus."""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from litestar import Request, Response, get

from cache_sync.documents import KNOWN_VERSIONS
from cache_sync.errors import FeedUnavailable
from cache_sync.shards import FIRST_SHARD
from cache_sync.sql import Connection
from core_cis import metrics
from core_cis.api.guards import operator_guard, services
from core_cis.api.problems import problems
from core_cis.backups import Unheld, read_cover, read_unheld
from core_cis.edge_places import EdgePlace, read_places
from core_cis.floor_keeper import ShardFloor
from core_cis.lineage import ForgottenPosition
from core_cis.registry import Edge, read_edges
from core_cis.written_versions import read_reads, read_written, who_cannot_read
from failover.covers import Cover
from failover.web import Problem

# It counts all intents there ever were.
_LOOK_SECONDS_MAX = 10.0
_OUTCOMES = "SELECT state, count(*) FROM inbox GROUP BY state ORDER BY state"


class EdgeStatus(msgspec.Struct, frozen=True):
    """
    A registered edge, by name, and how far it said that it holds each shard for good.

    ``reads`` is the newest version of each kind of body that it said it reads.
    """

    node_id: str
    status: str
    places: list[EdgePlace] = []
    reads: dict[str, int] = {}


class BodyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    In which version a kind of bodies is written, and the newest that this release could write.

    ``unread_by`` are active edges that have not said they read what is written: they serve what they hold.
    """

    written: int
    newest: int
    unread_by: list[str]


class ShardPlace(msgspec.Struct, frozen=True):
    """How far a shard's documents are."""

    epoch: int
    head: int
    floor: int


class CoreStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    How the core is: how far its documents are, what waits, what became of all intents so far.

    ``epoch``, ``head`` and ``floor`` are those of the first shard; ``shards`` has them of all. ``as_of`` is the core
    time that was closed for this answer; ``drain_credits`` the pace that drains are granted. ``restored`` is set when a
    node has reached a position that this core never gave out: it then serves no edge until its epoch is raised.
    ``certificate_days`` is how long its certificate is still good, None where nodes do without TLS;
    ``handshakes_refused`` counts callers without a certificate of the fleet since the start. ``floors`` tells of each
    shard up to where deletes are forgotten, and who needs the others. ``covered`` is the mark of the oldest backup that
    is kept, empty where none is; ``unheld`` are edges that have dropped what these books, restored from an older
    backup, lack.
    """

    node_id: str = "core"
    utility: str
    timezone: str
    currency: str
    retention_months: int
    epoch: int
    head: int
    floor: int
    shards: dict[str, ShardPlace]
    as_of: datetime
    writer_waiting: int
    drain_credits: int
    intents: dict[str, int]
    failing: int
    restored: ForgottenPosition | None
    edges: list[EdgeStatus]
    floors: list[ShardFloor]
    bodies: dict[str, BodyStatus]
    covered: str
    unheld: list[Unheld]
    certificate_days: float | None
    handshakes_refused: int


@get(
    "/status",
    guards=[operator_guard],
    summary="How the core is",
    responses=problems(401, 503),
)
async def show_status(request: Request[Any, Any, Any]) -> CoreStatus:
    """
    Tell how the core is.

    For operators (`Authorization: Bearer`). 503 `core_unavailable` when it cannot write.
    """
    running = services(request)
    try:
        closed = await running.time_source.closed()
    except FeedUnavailable as error:
        raise Problem("core_unavailable", status=503, title="The core cannot write now") from error
    heads, utility = await running.heads(), await running.utility()
    head = heads[FIRST_SHARD]
    seen = await running.ask(_look, within_seconds=_LOOK_SECONDS_MAX)
    return CoreStatus(
        utility=utility.name,
        timezone=utility.timezone,
        currency=utility.currency,
        retention_months=utility.edge_retention_months,
        epoch=head.epoch,
        head=head.head,
        floor=head.floor,
        shards={
            shard: ShardPlace(place.epoch, place.head, place.floor)
            for shard, place in heads.items()
        },
        as_of=closed.as_of,
        writer_waiting=running.writer.waiting,
        drain_credits=running.intake.pacing.credits,
        intents=seen.outcomes,
        failing=seen.failing,
        restored=running.lineage.forgotten(head),
        edges=[
            EdgeStatus(
                edge.node_id,
                edge.status,
                seen.places.get(edge.node_id, []),
                seen.reads.get(edge.node_id, {}),
            )
            for edge in seen.edges
        ],
        floors=list(running.floors.floors.values()),
        bodies={
            kind: BodyStatus(
                written=written,
                newest=KNOWN_VERSIONS[kind],
                unread_by=[edge.node_id for edge in who_cannot_read(seen.reads, kind, written)],
            )
            for kind, written in seen.written.items()
        },
        covered=seen.cover.mark if seen.cover is not None else "",
        unheld=seen.unheld,
        certificate_days=running.certificate_days(),
        handshakes_refused=request.app.state.handshakes.count,
    )


class _Seen(NamedTuple):
    outcomes: dict[str, int]
    failing: int
    edges: list[Edge]
    places: dict[str, list[EdgePlace]]
    reads: dict[str, dict[str, int]]
    written: dict[str, int]
    cover: Cover | None
    unheld: list[Unheld]


def _look(connection: Connection) -> _Seen:
    (failing,) = connection.execute("SELECT count(*) FROM intake_failures").fetchone()
    outcomes = dict(connection.execute(_OUTCOMES).fetchall())
    return _Seen(
        outcomes,
        failing,
        read_edges(connection),
        read_places(connection),
        read_reads(connection),
        read_written(connection),
        read_cover(connection),
        read_unheld(connection),
    )


@get("/healthz", media_type="text/plain", summary="Is the process alive?")
async def healthz() -> str:
    """Answer as long as the process can. Open to all: says nothing about anybody."""
    return "ok\n"


@get("/readyz", media_type="text/plain", summary="Can it serve?")
async def readyz(request: Request[Any, Any, Any]) -> str:
    """
    Answer once the database can be read.

    Open to all: says nothing about anybody.
    """
    await services(request).head()
    return "ready\n"


@get("/metrics", media_type=metrics.CONTENT_TYPE, summary="Figures for Prometheus")
async def show_metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Answer counters and timings in Prometheus' text format. Open to all: no figure is of one customer."""
    running = services(request)
    running.metrics.waiting.set(running.writer.waiting)
    running.metrics.tell_floors(running.floors.floors.values())
    running.metrics.tell_unread(running.edge_reads.unread)
    running.metrics.tell_tls(running.certificate_days(), request.app.state.handshakes.count)
    return Response(running.metrics.exposition(), media_type=metrics.CONTENT_TYPE)

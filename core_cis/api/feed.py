"""The feed: documents downstream, and the probe that edges look at the core with."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from litestar import Request, get
from litestar.params import FromPath, FromQuery, Parameter
from litestar.types import ASGIApp

from cache_sync.body_versions import parse_versions
from cache_sync.document_table import read_head
from cache_sync.errors import BelowFloor, EpochChanged, FeedUnavailable, Forked, UnknownShard
from cache_sync.feed import WAIT_SECONDS_MAX
from cache_sync.frames import FRAME_CONTENT_TYPE, Frame, parse_positions
from cache_sync.shards import FIRST_SHARD
from core_cis.api.guards import fleet_guard, services, shard_guard
from core_cis.api.problems import problems
from core_cis.backups import read_cover
from core_cis.grants import read_word
from core_cis.services import CoreServices
from core_cis.standin_shares import look as look_at_share
from failover.covers import Following
from failover.feed_route import frame_answer
from failover.held_answers import LargeAnswer
from failover.signed_orders import SignedOrder
from failover.standin import Holding
from failover.web import Problem, caller, remaining_seconds

_PROBE_SECONDS = 2.0
_FEED_SECONDS = 10.0
_SEQ_MAX = 2**62


class Probe(msgspec.Struct, frozen=True):
    """
    Proof that the core can read and write: ``as_of`` is a core time that was closed for this answer.

    ``epoch`` and ``head`` say how far the documents of the first shard were then, ``edges_awaited`` that no intent is
    decided until every edge has brought back what it kept of before a restore.
    ``revoked`` are the edges that were expelled, ``grants`` the shards of those that may not read all (``0,3``): their
    siblings refuse them too. ``standin`` is the asking edge's part of the stand-in limits, None where it follows that
    already, or while no operator has set any. ``covered`` is the mark of the oldest backup that operators keep, empty
    where there is none; ``cover`` what that holds, None where the edge knows it.
    """

    epoch: int
    head: int
    as_of: datetime
    edges_awaited: bool = False
    revoked: list[str] = []
    grants: dict[str, str] = {}
    standin: SignedOrder | None = None
    covered: str = ""
    cover: SignedOrder | None = None


class FeedQuestion(NamedTuple):
    """What a follower asks; see `read_feed`. ``asked`` is the boot-clock reading when it came, None for now."""

    shard: str
    after: int
    epoch: int
    limit: int
    wait: float
    proof: str
    asked: float | None = None


async def answer_feed(
    running: CoreServices, node_id: str, question: FeedQuestion, seconds: float
) -> Frame:
    """
    Answer a registered node's question within ``seconds``.

    Raises:
        Problem: As of `read_feed`.
    """
    try:
        feed = running.feeds.of(question.shard)
    except UnknownShard as error:
        raise Problem("unknown_shard", status=404, title="There is no such shard") from error
    await running.check_lineage(question.proof, node_id)
    try:
        async with asyncio.timeout(seconds):
            frame = await feed.page(
                after=question.after,
                epoch=question.epoch,
                limit=min(question.limit, running.settings.feed_rows_max),
                wait_seconds=min(question.wait, seconds, WAIT_SECONDS_MAX),
                asked=question.asked,
            )
    except EpochChanged as error:
        raise Problem(
            "epoch_changed", status=409, title="The core is in another epoch", epoch=error.epoch
        ) from error
    except Forked as error:
        raise Problem(
            "fork", status=409, title="The cursor is ahead of the core", head=error.head
        ) from error
    except BelowFloor as error:
        raise Problem(
            "below_floor",
            status=410,
            title="Deletes after this cursor are forgotten",
            floor=error.floor,
        ) from error
    except (FeedUnavailable, TimeoutError) as error:
        raise Problem(
            "feed_unavailable", status=503, title="The feed cannot answer now", retry="same"
        ) from error
    return frame


@get(
    "/feed/{shard:str}",
    guards=[fleet_guard, shard_guard],
    media_type=FRAME_CONTENT_TYPE,
    summary="Documents after a cursor",
    responses=problems(400, 401, 403, 404, 409, 410, 503),
)
async def read_feed(
    request: Request[Any, Any, Any],
    shard: FromPath[str],
    after: Annotated[int, Parameter(ge=0, le=_SEQ_MAX)] = 0,
    epoch: Annotated[int, Parameter(ge=0, le=_SEQ_MAX)] = 0,
    limit: Annotated[int, Parameter(ge=1, le=_SEQ_MAX)] = 1000,
    wait: Annotated[float, Parameter(ge=0, le=60)] = 0.0,
    proof: FromQuery[str] = "",
) -> ASGIApp:
    """
    Answer the documents after a cursor as a msgpack `Frame`; at the head, wait for news for at most half a second.

    For nodes of the fleet (`Authorization: Node`). Epoch 0 asks from the beginning, whatever the epoch. Problems: 403
    `wrong_shard`, 404 `unknown_shard`, 409 `epoch_changed` (with `epoch`) and `fork` (with `head`), 410 `below_floor`
    (with `floor`), 503 `feed_unavailable`, 503 `too_many_answers` while the asker has not taken earlier ones, 503
    `restored` when ``proof`` shows that this core has forgotten a barrier.
    """
    question = FeedQuestion(shard, after, epoch, limit, wait, proof)
    return feed_answer(services(request), caller(request), question, request.headers)


def feed_answer(
    running: CoreServices, node_id: str, question: FeedQuestion, headers: Mapping[str, str]
) -> LargeAnswer:
    """Make the answer to a registered node's question over HTTP; it raises what `answer_feed` does."""
    seconds = remaining_seconds(headers, default=_FEED_SECONDS, maximum=_FEED_SECONDS)
    asked = running.clock.boot_seconds()

    async def before() -> None:
        with contextlib.suppress(UnknownShard):  # the answer says so
            await running.feeds.of(question.shard).wait_for_news(
                question.after, question.epoch, min(question.wait, seconds)
            )

    async def make() -> bytes:
        at_once = question._replace(wait=0.0, asked=asked)
        frame = await answer_feed(running, node_id, at_once, seconds)
        running.metrics.count_frame(frame.count)
        return running.feeds.encoded.encode(frame)

    return frame_answer(running.answers, node_id, make, headers, seconds=seconds, before=before)


class ProbeQuestion(NamedTuple):
    """What a node says with a probe; see `probe`."""

    position: str
    kept: str
    reads: str
    limits: str
    covers: str


async def answer_probe(
    running: CoreServices, node_id: str, said: ProbeQuestion, seconds: float
) -> Probe:
    """
    Answer a registered node's probe within ``seconds``.

    Raises:
        Problem: As of `probe`.
    """
    await running.check_lineage(said.position, node_id)
    running.floors.note(node_id, parse_positions(said.kept))
    running.edge_reads.note(node_id, parse_versions(said.reads))
    try:
        async with asyncio.timeout(seconds):
            closed = await running.time_source.closed(fresh=True)
    except (FeedUnavailable, TimeoutError) as error:
        raise Problem(
            "core_unavailable", status=503, title="The core cannot write now", retry="same"
        ) from error
    holding = Holding.parse(said.limits)
    head, word, share, cover = await running.ask(
        lambda connection: (
            read_head(connection, FIRST_SHARD),
            read_word(connection),
            look_at_share(connection, node_id, holding),
            read_cover(connection),
        )
    )
    awaited = await running.edges_awaited()
    order = await running.shares.tell(node_id, holding, share, within_seconds=seconds)
    return Probe(
        head.epoch,
        head.head,
        closed.as_of,
        awaited,
        word.revoked,
        word.grants,
        order,
        "" if cover is None else cover.mark,
        running.cover_for(cover, Following.parse(said.covers)),
    )


@get(
    "/probe",
    guards=[fleet_guard],
    summary="Can the core read and write?",
    responses=problems(401, 503),
)
async def probe(
    request: Request[Any, Any, Any],
    position: FromQuery[str] = "",
    kept: FromQuery[str] = "",
    reads: FromQuery[str] = "",
    limits: FromQuery[str] = "",
    covers: FromQuery[str] = "",
) -> Probe:
    """
    Close a core time (a real, durable write) and read the head.

    For nodes of the fleet (`Authorization: Node`), which show the position they have reached, and as ``kept`` what of
    each shard would survive a power loss (``epoch.shard.seq``, separated by commas): deletes up to there are not needed
    for them any more; as ``reads`` the newest version of each kind of body that they read (``usage.2``, separated by
    commas); as ``limits`` the order of stand-in limits that they follow and the most they may have outstanding
    (``epoch.serial.cents``); as ``covers`` the marks of the backup that they know of, and of the one by which they
    dropped something (``mark.mark``). 503 `core_unavailable` when it takes longer than the caller waits, 503 `restored`
    when the position proves a barrier which this core has forgotten.
    """
    seconds = remaining_seconds(request.headers, default=_PROBE_SECONDS, maximum=_PROBE_SECONDS)
    said = ProbeQuestion(position, kept, reads, limits, covers)
    return await answer_probe(services(request), caller(request), said, seconds)

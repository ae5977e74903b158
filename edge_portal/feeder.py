"""
The feeder: passes on what this node's snapshot holds, to siblings and to a tree of nodes, on a socket of its own.

It only reads. When it is down the node serves and follows all the same; when it is flooded, payments and pages do not
notice. Who may ask: the siblings in this node's file, for the shards that they may read, unless the core has said
meanwhile that one of them is expelled.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import structlog
from litestar import Litestar, Request, Response, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, Parameter
from litestar.types import ASGIApp

from cache_sync.clock import Clock, SystemClock
from cache_sync.digest_desk import DigestDesk
from cache_sync.digests import DigestAnswer, DigestQuestion
from cache_sync.errors import (
    Behind,
    BelowFloor,
    EpochChanged,
    FeedUnavailable,
    UnknownShard,
)
from cache_sync.feed import PAGE_ROWS_MAX
from cache_sync.follower_status import read_status
from cache_sync.frames import FRAME_CONTENT_TYPE
from cache_sync.replica_feed import ReplicaFeed
from cache_sync.replica_reader import ReplicaReader
from cache_sync.standing import encode_standing
from edge_portal.child import child_command, seeded_rng
from edge_portal.door_metrics import counting_refusals
from edge_portal.held_shards import snapshot_folders
from edge_portal.settings import EdgeSettings
from edge_portal.snapshot_serving import ServedSnapshots, ServingSettings
from failover.digest_route import QUESTION_BYTES_MAX, digests_answer
from failover.feed_route import frame_answer
from failover.grants import Grants
from failover.held_answers import answer_places
from failover.http_server import serve
from failover.node_tls import server_files
from failover.revocations import Revocations
from failover.signing import sign_bytes
from failover.snapshot_routes import FILE_CONTENT_TYPE, answer_offer, answer_range
from failover.web import (
    MSGPACK,
    NodeKeys,
    Problem,
    caller,
    exception_handlers,
    node_guard,
    remaining_seconds,
)

READERS_MAX: Final = 64
FEED_SECONDS: Final = 10.0
_SEQ_MAX: Final = 2**62

AnyRequest = Request[Any, Any, Any]

log = structlog.get_logger(__name__)


class Feeds:
    """
    The feeds of all shards that this node holds, for a bounded number of readers at once.

    Call `close` at the end.

    Args:
        settings: Of this edge.
        clock: Time.
        readers_max: How many may be answered at the same time; those who wait for news are among them.
    """

    def __init__(
        self, settings: EdgeSettings, *, clock: Clock, readers_max: int = READERS_MAX
    ) -> None:
        folders, keys = snapshot_folders(settings), settings.file_keys
        self._feeds = {
            shard: ReplicaFeed(folder, shard, clock=clock, path=partial(path_of, folder), keys=keys)
            for shard, folder in folders.items()
        }
        self._compared = {
            shard: ReplicaReader(folder, clock=clock, same_thread=False, keys=keys)
            for shard, folder in folders.items()
        }
        self.digests = DigestDesk(self._read_digests)
        self.answers = answer_places()
        self.snapshots = ServedSnapshots(
            folders,
            settings.paths.handed_out,
            node_id=settings.config.node_id,
            sign=lambda content: sign_bytes(settings.config.signing_key, content),
            clock=clock,
            rng=seeded_rng(),
            keys=keys,
            settings=ServingSettings(documents_min=settings.config.snapshot_documents_min),
        )
        self._readers_max = readers_max
        self._readers = 0

    def of(self, shard: str) -> ReplicaFeed:
        """Return a shard's feed. Raises `UnknownShard`."""
        try:
            return self._feeds[shard]
        except KeyError:
            raise UnknownShard(shard) from None

    def _read_digests(self, shard: str, question: DigestQuestion) -> DigestAnswer:
        reader = self._compared.get(shard)
        if reader is None:
            raise UnknownShard(shard)
        with reader.read() as view:
            return view.answer_digests(shard, question)

    @contextlib.contextmanager
    def reader(self) -> Iterator[None]:
        """
        Be one of the readers.

        Raises:
            Problem: 503 `too_many_readers`.
        """
        if self._readers >= self._readers_max:
            raise Problem(
                "too_many_readers",
                status=503,
                title="Too many nodes follow this one",
                retry="same",
                headers={"Retry-After": "1"},
            )
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1

    async def close(self) -> None:
        """Let the snapshots go."""
        await self.snapshots.close()
        for feed in self._feeds.values():
            await feed.close()
        for reader in self._compared.values():
            reader.close()


def path_of(folder: Path) -> list[str]:
    """Name the nodes that a snapshot's documents come through, as its applier last wrote down."""
    status = read_status(folder)
    return list(status.path) if status is not None else []


async def sibling_guard(
    connection: ASGIConnection[Any, Any, Any, Any], route_handler: BaseRouteHandler
) -> None:
    """Let siblings in that were not expelled, to what they may read. A coroutine: others are run in threads."""
    node_guard(connection, route_handler)
    grants: Grants = connection.app.state.grants
    grants.check(connection.state.node_id, connection.path_params["shard"])


@get("/feed/{shard:str}", media_type=FRAME_CONTENT_TYPE)
async def read_feed(
    request: AnyRequest,
    shard: FromPath[str],
    after: Annotated[int, Parameter(ge=0, le=_SEQ_MAX)] = 0,
    epoch: Annotated[int, Parameter(ge=0, le=_SEQ_MAX)] = 0,
    limit: Annotated[int, Parameter(ge=1, le=_SEQ_MAX)] = 1000,
    wait: Annotated[float, Parameter(ge=0, le=60)] = 0.0,
) -> ASGIApp:
    """
    Answer as the core's feed does; 409 `behind` (with `epoch` and `head`) where this node has not got as far yet.

    Other problems: 403 `wrong_shard`, 404 `unknown_shard`, 409 `epoch_changed`, 410 `below_floor`, 503
    `feed_unavailable`, 503 `too_many_readers`, 503 `too_many_answers`.
    """
    feeds: Feeds = request.app.state.feeds
    seconds = remaining_seconds(request.headers, default=FEED_SECONDS, maximum=FEED_SECONDS)

    async def before() -> None:
        with feeds.reader(), told_as_problems():
            await feeds.of(shard).wait_for_news(after, epoch, min(wait, seconds))

    async def make() -> bytes:
        with feeds.reader(), told_as_problems():
            async with asyncio.timeout(seconds):
                answer = await feeds.of(shard).page(
                    after=after, epoch=epoch, limit=min(limit, PAGE_ROWS_MAX)
                )
        return answer.content

    return frame_answer(
        feeds.answers, caller(request), make, request.headers, seconds=seconds, before=before
    )


@get("/feed/{shard:str}/standing", media_type="application/json", sync_to_thread=False)
def read_standing(request: AnyRequest, shard: FromPath[str]) -> Response[bytes]:
    """Answer where this node stands, as JSON. Problems: 404 `unknown_shard`, 503 `feed_unavailable`."""
    feeds: Feeds = request.app.state.feeds
    with feeds.reader(), told_as_problems():
        standing = feeds.of(shard).standing()
    return Response(encode_standing(standing), media_type="application/json")


@post(
    "/digests/{shard:str}",
    media_type=MSGPACK,
    status_code=200,
    request_max_body_size=QUESTION_BYTES_MAX,
)
async def compare_digests(request: AnyRequest, shard: FromPath[str]) -> ASGIApp:
    """Answer a node that compares itself with this one, as the core does (`failover.digest_route`)."""
    feeds: Feeds = request.app.state.feeds
    body = await request.body()
    return digests_answer(
        feeds.answers, caller(request), feeds.digests, shard, body, request.headers
    )


@get("/snapshots/{shard:str}", media_type="application/json")
async def offer_snapshot(request: AnyRequest, shard: FromPath[str]) -> Response[bytes]:
    """Answer with a `SnapshotOffer`, as the core does; 503 `snapshot_being_made` while this node cuts a file."""
    feeds: Feeds = request.app.state.feeds
    feeds.snapshots.note_asked(shard)
    return await answer_offer(feeds.snapshots.desk, shard, request.headers)


@get("/snapshots/{shard:str}/{name:str}", media_type=FILE_CONTENT_TYPE)
async def fetch_snapshot(request: AnyRequest, shard: FromPath[str], name: FromPath[str]) -> ASGIApp:
    """Answer with a part of a snapshot file, as the core does."""
    feeds: Feeds = request.app.state.feeds
    feeds.snapshots.note_asked(shard)
    desk = feeds.snapshots.desk
    return answer_range(desk, shard, name, request.headers, node_id=caller(request))


@contextlib.contextmanager
def told_as_problems() -> Iterator[None]:
    """Tell why a feed does not answer as the problems of `read_feed`."""
    try:
        yield
    except UnknownShard as error:
        raise Problem("unknown_shard", status=404, title="This node has no such shard") from error
    except EpochChanged as error:
        raise Problem(
            "epoch_changed", status=409, title="This node is in another epoch", epoch=error.epoch
        ) from error
    except Behind as error:
        raise Problem(
            "behind",
            status=409,
            title="This node has not got as far",
            epoch=error.epoch,
            head=error.head,
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


def feeder_app(feeds: Feeds, keys: NodeKeys, grants: Grants) -> Litestar:
    """Make the application that the feeder serves."""
    return Litestar(
        [read_feed, read_standing, compare_digests, offer_snapshot, fetch_snapshot],
        guards=[sibling_guard],
        exception_handlers=exception_handlers,
        logging_config=None,
        openapi_config=None,
        state=State({"feeds": feeds, "node_keys": keys, "grants": grants}),
    )


async def run_feeder(settings: EdgeSettings, sockets: list[int], stop: asyncio.Event) -> None:
    """Pass documents on, on the socket that the supervisor opened, until told to stop."""
    config, data = settings.config, settings.paths.data
    hashes = {peer.node_id: peer.secret_sha256 for peer in config.peers}
    keys = NodeKeys(Revocations(data).among(hashes))
    grants = Grants(data, {peer.node_id: peer.granted_shards for peer in config.peers})
    tls = server_files(data, config.tls)
    feeds = Feeds(settings, clock=SystemClock())
    feeds.snapshots.start()
    with socket.socket(fileno=sockets[0]) as feed_socket:
        try:
            app, refused = feeder_app(feeds, keys, grants), counting_refusals("feed", SystemClock())
            await serve(app, feed_socket, stop=stop, tls=tls, refused=refused)
        finally:
            await feeds.close()


main = child_command("feeder", run_feeder)

if __name__ == "__main__":
    main()

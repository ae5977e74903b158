"""Snapshot files: what a node begins with that has nothing, or is far behind."""

from typing import Any

from litestar import Request, Response, get
from litestar.params import FromPath
from litestar.types import ASGIApp

from core_cis.api.guards import fleet_guard, services, shard_guard
from core_cis.api.problems import problems
from failover.snapshot_routes import FILE_CONTENT_TYPE, answer_offer, answer_range
from failover.web import caller


@get(
    "/snapshots/{shard:str}",
    guards=[fleet_guard, shard_guard],
    media_type="application/json",
    summary="The newest snapshot file",
    responses=problems(401, 403, 404, 503),
)
async def offer_snapshot(request: Request[Any, Any, Any], shard: FromPath[str]) -> Response[bytes]:
    """
    Answer with a `SnapshotOffer`: the signed manifest of the furthest snapshot file, and how old its core time is.

    For nodes of the fleet (`Authorization: Node`). Problems: 403 `wrong_shard`, 404 `unknown_shard`, 404
    `no_snapshot_file`.
    """
    return await answer_offer(services(request).snapshots, shard, request.headers)


@get(
    "/snapshots/{shard:str}/{name:str}",
    guards=[fleet_guard, shard_guard],
    media_type=FILE_CONTENT_TYPE,
    summary="A part of a snapshot file",
    responses=problems(400, 401, 403, 404, 416, 503),
)
async def fetch_snapshot(
    request: Request[Any, Any, Any], shard: FromPath[str], name: FromPath[str]
) -> ASGIApp:
    """
    Answer with the bytes of one ``Range``, 206; with less than was asked for where that is much.

    For nodes of the fleet (`Authorization: Node`). Problems: 400 `range_required`, 403 `wrong_shard`, 404
    `no_snapshot_file`, 416 `range_not_satisfiable`, 503 `too_many_downloads`.
    """
    snapshots = services(request).snapshots
    return answer_range(snapshots, shard, name, request.headers, node_id=caller(request))

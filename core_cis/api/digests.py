"""Digests: how an edge finds out where it differs from the core."""

from typing import Any

from litestar import Request, post
from litestar.params import FromPath
from litestar.types import ASGIApp

from core_cis.api.guards import fleet_guard, services, shard_guard
from core_cis.api.problems import problems
from failover.digest_route import QUESTION_BYTES_MAX, digests_answer
from failover.web import MSGPACK, caller


@post(
    "/digests/{shard:str}",
    guards=[fleet_guard, shard_guard],
    media_type=MSGPACK,
    status_code=200,
    request_max_body_size=QUESTION_BYTES_MAX,
    summary="Digests of key ranges",
    responses=problems(400, 401, 403, 404, 409, 413, 503),
)
async def compare_digests(request: Request[Any, Any, Any], shard: FromPath[str]) -> ASGIApp:
    """
    Answer a msgpack `DigestQuestion` with a `DigestAnswer`: hashes over ranges of accounts at the asker's barrier.

    For nodes of the fleet (`Authorization: Node`). Problems: 400 `bad_question`, 403 `wrong_shard`, 404
    `unknown_shard`, 409 `epoch_changed` and `not_comparable`, 503 `digests_unavailable` and `too_many_answers`.
    """
    running = services(request)
    body = await request.body()
    return digests_answer(
        running.answers, caller(request), running.digests, shard, body, request.headers
    )

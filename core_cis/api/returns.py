"""Outcomes upstream: what a restored core has forgotten comes back from those who kept it."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar import Request, Response, post

from core_cis.api.deciding import deciding
from core_cis.api.guards import fleet_guard, services
from core_cis.api.problems import problems
from core_cis.services import CoreServices
from failover.intents import DecidedBatch, OutcomeBatch
from failover.web import MSGPACK, Problem, caller, decode_msgpack, remaining_seconds

_SECONDS = 10.0


async def answer_returns(
    running: CoreServices,
    node_id: str,
    read_body: Callable[[], Awaitable[bytes]],
    seconds: float,
) -> OutcomeBatch:
    """
    Take back a msgpack `DecidedBatch` within ``seconds``.

    Raises:
        Problem: As of `take_outcomes_back`.
    """
    limits = running.settings
    batch = decode_msgpack(await read_body(), DecidedBatch, max_bytes=limits.body_bytes_max)
    if len(batch.items) > limits.intent_batch_max:
        raise Problem("too_many_intents", status=413, title="Too many outcomes at once")
    with deciding(running.intake.pacing.pause_seconds):
        outcomes = await running.take_back(batch, delivered_by=node_id, within_seconds=seconds)
    return OutcomeBatch(outcomes=outcomes)


@post(
    "/outcomes",
    guards=[fleet_guard],
    status_code=200,
    media_type=MSGPACK,
    summary="Bring back outcomes after a restore",
    responses=problems(400, 401, 413, 422, 503, 504),
)
async def take_outcomes_back(request: Request[Any, Any, Any]) -> Response[bytes]:
    """
    Take back a msgpack `DecidedBatch`; answer a msgpack `OutcomeBatch` with the outcomes that hold now.

    For nodes of the fleet (`Authorization: Node`), after the epoch was raised. What this core did not sign, or cannot
    enter, has no outcome in the answer. With `complete_for` the caller has nothing more for that epoch. Problems: as
    of `POST /intents`.
    """
    seconds = remaining_seconds(request.headers, default=_SECONDS, maximum=_SECONDS)
    answer = await answer_returns(services(request), caller(request), request.body, seconds)
    return Response(msgspec.msgpack.encode(answer), status_code=200, media_type=MSGPACK)

"""Intents upstream: what edges recorded comes in, what the core decided goes out."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery

from core_cis.api.deciding import deciding
from core_cis.api.guards import fleet_guard, operator_guard, services
from core_cis.api.problems import problems
from core_cis.intent_records import IntentRecord, read_intent
from core_cis.services import CoreServices
from failover.intents import IntentBatch, OutcomeBatch
from failover.web import (
    MSGPACK,
    Problem,
    caller,
    decode_msgpack,
    remaining_seconds,
)

_INTAKE_SECONDS = 10.0


class Delivery(NamedTuple):
    """Which registered node delivers, the position that it shows, and whether this is queued work."""

    node_id: str
    position: str
    drain: bool


async def answer_intents(
    running: CoreServices,
    delivery: Delivery,
    read_body: Callable[[], Awaitable[bytes]],
    seconds: float,
) -> OutcomeBatch:
    """
    Decide a msgpack `IntentBatch` within ``seconds``.

    Raises:
        Problem: As of `deliver_intents`.
    """
    await running.check_lineage(delivery.position, delivery.node_id)
    body = await read_body()
    batch = decode_msgpack(body, IntentBatch, max_bytes=running.settings.body_bytes_max)
    if len(batch.intents) > running.settings.intent_batch_max:
        raise Problem(
            "too_many_intents",
            status=413,
            title="Too many intents at once",
            detail=f"At most {running.settings.intent_batch_max} are taken in one call.",
        )
    with deciding(running.intake.pacing.pause_seconds):
        result = await running.take_intents(
            batch.intents,
            delivered_by=delivery.node_id,
            drain=delivery.drain,
            within_seconds=seconds,
        )
    return OutcomeBatch(
        outcomes=result.outcomes,
        credits=running.intake.pacing.turn(running.clock.boot_seconds())
        if delivery.drain
        else None,
        retry_after_seconds=result.pause_seconds or None,
        held=result.held > 0,
        held_last=result.held,
    )


@post(
    "/intents",
    guards=[fleet_guard],
    status_code=200,
    media_type=MSGPACK,
    summary="Deliver intents",
    responses=problems(400, 401, 413, 422, 503, 504),
)
async def deliver_intents(
    request: Request[Any, Any, Any],
    drain: FromQuery[bool] = False,  # noqa: FBT002 - a query parameter
    position: FromQuery[str] = "",
) -> Response[bytes]:
    """
    Decide a msgpack `IntentBatch`, at most once each; answer a msgpack `OutcomeBatch`.

    For nodes of the fleet (`Authorization: Node`); any registered edge may deliver what another signed. With
    `drain=true` the batch yields to live traffic, and the answer grants a pace; what operators or the core's pace hold
    back of it, at its end, has no outcome, and `held` and `held_last` say so. Nothing is begun for a caller whose
    deadline has passed, nothing for one who shows a position that this core never gave out (503 `restored`), and
    nothing while a restored core waits for edges to bring back what it decided before (503 `edges_awaited`).
    Problems: 400 and 422 for a body that is no batch, 413 for one too large or with too many intents, 503 (`retry:
    same`) when nothing was done, 504 (likewise) when that is not known.
    """
    seconds = remaining_seconds(request.headers, default=_INTAKE_SECONDS, maximum=_INTAKE_SECONDS)
    delivery = Delivery(caller(request), position, drain)
    answer = await answer_intents(services(request), delivery, request.body, seconds)
    return Response(msgspec.msgpack.encode(answer), status_code=200, media_type=MSGPACK)


@get(
    "/intents/{intent_id:str}",
    guards=[operator_guard],
    summary="What became of an intent",
    responses=problems(401, 404),
)
async def show_intent(request: Request[Any, Any, Any], intent_id: FromPath[str]) -> IntentRecord:
    """
    Tell what the core knows of an intent: its first outcome and, in `others`, what lost against it.

    For operators (`Authorization: Bearer`). 404 `unknown_intent` when it never arrived.
    """
    record = await services(request).ask(lambda connection: read_intent(connection, intent_id))
    if record is None:
        raise Problem("unknown_intent", status=404, title="This intent has not arrived")
    return record

"""What the payment processor tells of its own accord."""

from typing import Any

from litestar import Request, Response, post

from cache_sync.sql import DatabaseError
from core_cis.api.guards import services
from core_cis.api.problems import problems
from core_cis.errors import NotBegun, WriterFull
from failover.stripe_events import is_genuine, read_event
from failover.web import Problem, read_body

_EVENT_BYTES_MAX = 262_144


@post(
    "/processor/events",
    status_code=200,
    summary="Hear of a charge",
    responses=problems(400, 413, 503),
)
async def hear_event(request: Request[Any, Any, Any]) -> Response[None]:
    """
    Take over what the processor tells of a charge that is waited for; the same event again changes nothing.

    Open to all: the header `Stripe-Signature` proves who tells it. 400 `bad_signature` without, 503 (`retry: same`)
    when it could not be written down: the processor tells it again.
    """
    running = services(request)
    payload = await read_body(request, max_bytes=_EVENT_BYTES_MAX)
    secret = running.settings.processor.webhook_secret if running.settings.processor else ""
    now_seconds = running.clock.now().timestamp()
    signature = request.headers.get("Stripe-Signature", "")
    if not is_genuine(payload, signature, secret, now_seconds=now_seconds):
        raise Problem("bad_signature", status=400, title="Nobody proves to have sent this")
    event = read_event(payload)
    if event is not None:
        try:
            await running.money.hear(event.reference, event.found)
        except (NotBegun, WriterFull, DatabaseError) as error:
            raise Problem(
                "not_heard", status=503, title="The core cannot write now", retry="same"
            ) from error
    return Response(None, status_code=200)

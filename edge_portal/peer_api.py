"""What the agent answers to its siblings and to the core's reconciliation: ``/peer/v1``."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Litestar, Request, Response, Router, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery, QueryParameter

from failover.errors import JournalError
from failover.journal_reader import PAGE_MAX, JournalReader
from failover.mode_lease import LeaseReader, ModeLease
from failover.node_config import CORE_NODE_ID
from failover.outages import read_outages
from failover.peer_messages import Ask, CopyBatch, NodeStanding, OutcomeNotice
from failover.web import (
    MSGPACK,
    NodeKeys,
    Problem,
    caller,
    decode_msgpack,
    exception_handlers,
    node_guard,
    read_body,
)
from failover.witness import WitnessHolder

BATCH_BYTES_MAX: Final = 1024 * 1024

AnyRequest = Request[Any, Any, Any]


async def fleet_guard(
    connection: ASGIConnection[Any, Any, Any, Any], route_handler: BaseRouteHandler
) -> None:
    """Let only siblings and the core in. A coroutine, because the framework runs plain functions in threads."""
    node_guard(connection, route_handler)


async def core_guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let only the core in, after `fleet_guard`."""
    if connection.state.node_id != CORE_NODE_ID:
        raise Problem("not_the_core", status=403, title="This is for the core")


@get("/hello", sync_to_thread=False)
def hello(request: AnyRequest, have: FromQuery[str] = "") -> Response[bytes]:
    """Say who this is, what is held of the caller, and what waits where; not the sets that it does ``have``."""
    try:
        return _packed(_holder(request).hello(caller(request), frozenset(have.split(","))))
    except JournalError as error:
        raise _no_journal() from error


@post("/copies", status_code=200)
async def copies(request: AnyRequest) -> Response[bytes]:
    """Keep copies; answered once they are durable."""
    body = await read_body(request, max_bytes=BATCH_BYTES_MAX)
    batch = decode_msgpack(body, CopyBatch, max_bytes=BATCH_BYTES_MAX)
    try:
        return _packed(await _holder(request).copy(caller(request), batch))
    except JournalError as error:
        raise _no_journal() from error


@post("/outcomes", status_code=200)
async def outcomes(request: AnyRequest) -> Response[bytes]:
    """Take over what the core decided; answered once that is durable."""
    body = await read_body(request, max_bytes=BATCH_BYTES_MAX)
    notice = decode_msgpack(body, OutcomeNotice, max_bytes=BATCH_BYTES_MAX)
    try:
        return _packed(await _holder(request).outcomes(caller(request), notice))
    except JournalError as error:
        raise _no_journal() from error


@post("/ask", status_code=200)
async def ask(request: AnyRequest) -> Response[bytes]:
    """Say what is known here of one payment."""
    question = decode_msgpack(await read_body(request), Ask)
    return _packed(_holder(request).ask(question))


@get("/intents", guards=[core_guard], sync_to_thread=False)
def intents(
    request: AnyRequest,
    source: FromQuery[Literal["own", "copies"]] = "own",
    after: Annotated[int, QueryParameter(ge=0)] = 0,
    limit: Annotated[int, QueryParameter(ge=1)] = PAGE_MAX,
    undecided: FromQuery[bool] = False,  # noqa: FBT002 - a query parameter
) -> Response[bytes]:
    """List every recorded intent with what became of it, or those that wait only; for the core's operators."""
    reader: JournalReader = request.app.state.journal_reader
    try:
        page = reader.page(source, after=after, limit=limit, undecided=undecided)
    except JournalError as error:
        raise _no_journal() from error
    if source == "own":
        page = msgspec.structs.replace(page, outages=read_outages(request.app.state.outages))
    return Response(msgspec.json.encode(page), media_type="application/json")


@get("/standing", guards=[core_guard], sync_to_thread=False)
def standing(request: AnyRequest) -> Response[bytes]:
    """Say how this node is and what waits here; for the core's operators."""
    reader: JournalReader = request.app.state.journal_reader
    lease: ModeLease = request.app.state.lease.read()
    try:
        waiting = reader.waiting()
    except JournalError as error:
        raise _no_journal() from error
    told = NodeStanding(
        node_id=request.app.state.node_id,
        mode=lease.mode,
        reason=lease.reason,
        breaker=lease.breaker,
        limits_version=lease.standing.version,
        limits_share_cents=lease.standing.limits.edge_outstanding_cents,
        **msgspec.structs.asdict(waiting),
    )
    return Response(msgspec.json.encode(told), media_type="application/json")


def peer_app(
    *,
    node_id: str,
    holder: WitnessHolder,
    reader: JournalReader,
    lease: LeaseReader,
    outages: Path,
    keys: NodeKeys,
) -> Litestar:
    """Make the application that the agent serves on its peer port."""
    router = Router(
        path="/peer/v1",
        guards=[fleet_guard],
        route_handlers=[hello, copies, outcomes, ask, intents, standing],
    )
    return Litestar(
        [router],
        exception_handlers=exception_handlers,
        logging_config=None,
        openapi_config=None,
        request_max_body_size=None,
        state=State(
            {
                "node_id": node_id,
                "holder": holder,
                "journal_reader": reader,
                "lease": lease,
                "outages": outages,
                "node_keys": keys,
            }
        ),
    )


def _holder(request: AnyRequest) -> WitnessHolder:
    holder: WitnessHolder = request.app.state.holder
    return holder


def _packed(message: msgspec.Struct | None) -> Response[bytes]:
    return Response(msgspec.msgpack.encode(message), media_type=MSGPACK, status_code=200)


def _no_journal() -> Problem:
    return Problem(
        "journal_unavailable",
        status=503,
        title="This node's journal takes nothing now",
        retry="same",
        headers={"Retry-After": "1"},
    )

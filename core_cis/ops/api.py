"""The console for programs: ``/ops/v1``, JSON, with the operators' token."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from core_cis.api.guards import operator_guard
from core_cis.api.problems import problems
from core_cis.audit import Act, AuditFinding, AuditLine
from core_cis.cases import Case, RejectionReason
from core_cis.drain_orders import FLEET, PACE_MAX, DrainOrder
from core_cis.errors import CaseRefused, UnknownCase, UnknownEdge
from core_cis.ops.desk import OperationsDesk
from core_cis.ops.rehearsal import Rehearsal
from core_cis.ops.session import operator_name
from core_cis.ops.standings import Overview
from failover.web import Problem, decode_json

AnyRequest = Request[Any, Any, Any]
REASON_LENGTH_MAX = 500
_KEY_LENGTH_MAX = 128
ReasonText = Annotated[str, msgspec.Meta(min_length=1, max_length=REASON_LENGTH_MAX)]
OperatorName = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]


class OrderBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order to the drain of one edge, or of all (``edge`` empty); ``pace`` None: the core's own."""

    operator: OperatorName
    reason: ReasonText
    edge: str = FLEET
    held: bool
    pace: Annotated[int, msgspec.Meta(ge=1, le=PACE_MAX)] | None = None


class CaseBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to do about a dead letter; ``rejection`` is what the customer is told when it is rejected."""

    operator: OperatorName
    reason: ReasonText
    action: Literal["retry", "reject", "refund"]
    rejection: RejectionReason | None = None


class RehearsalBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks for a dry run."""

    operator: OperatorName


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of the audit log, the newest first."""

    items: list[AuditLine]


def desk(request: AnyRequest) -> OperationsDesk:
    """Return the operators' desk of the running core."""
    found: OperationsDesk = request.app.state.desk
    return found


@get("/ops/v1/overview", guards=[operator_guard], summary="What waits", responses=problems(401))
async def show_overview(request: AnyRequest) -> Overview:
    """Tell what waits at which edge, and the orders in force. For operators (`Authorization: Bearer`)."""
    return await desk(request).overview()


@post(
    "/ops/v1/drain",
    guards=[operator_guard],
    status_code=200,
    summary="Hold, resume or pace the drain",
    responses=problems(401, 404, 422),
)
async def order_drain(request: AnyRequest) -> AuditLine:
    """
    Give an order to the drain (`OrderBody`); answer the line of the audit log.

    For operators (`Authorization: Bearer`). With an `Idempotency-Key` the same request is done once. 404 for an edge
    that is not registered.
    """
    body = decode_json(await request.body(), OrderBody)
    act = act_of(request, body.operator, action_of(body.held, body.pace), body.edge, body.reason)
    try:
        return await desk(request).order(act, DrainOrder(held=body.held, pace=body.pace))
    except UnknownEdge as error:
        raise Problem("unknown_edge", status=404, title="There is no such edge") from error


@post(
    "/ops/v1/rehearsal",
    guards=[operator_guard],
    status_code=200,
    summary="Dry run of the drain",
    responses=problems(401, 422),
)
async def rehearse_drain(request: AnyRequest) -> Rehearsal:
    """
    Tell what the drain would do with everything that waits, decided by the real intake and undone again.

    For operators (`Authorization: Bearer`); the body is a `RehearsalBody`.
    """
    body = decode_json(await request.body(), RehearsalBody)
    return await desk(request).rehearse(act_of(request, body.operator, "drain.rehearse", "", ""))


@get("/ops/v1/cases", guards=[operator_guard], summary="Dead letters", responses=problems(401))
async def list_cases(
    request: AnyRequest,
    everything: FromQuery[bool] = False,  # noqa: FBT002 - a query parameter
) -> list[Case]:
    """List the dead letters, with `everything` the decided ones too. For operators (`Authorization: Bearer`)."""
    return await desk(request).cases(everything=everything)


@post(
    "/ops/v1/cases/{case_number:str}",
    guards=[operator_guard],
    status_code=200,
    summary="Retry, reject or refund a dead letter",
    responses=problems(401, 404, 409, 422),
)
async def act_on_case(request: AnyRequest, case_number: FromPath[str]) -> AuditLine:
    """
    Do something about a dead letter (`CaseBody`); answer the line of the audit log, with the result in its detail.

    For operators (`Authorization: Bearer`). With an `Idempotency-Key` the same request is done once. 404
    `unknown_case`, 409 `case_refused` when it is decided already or this cannot be done.
    """
    body = decode_json(await request.body(), CaseBody)
    act = act_of(request, body.operator, f"case.{body.action}", case_number, body.reason)
    try:
        return await desk(request).act_on_case(act, body.action, body.rejection)
    except UnknownCase as error:
        raise Problem("unknown_case", status=404, title="There is no such case") from error
    except CaseRefused as error:
        raise Problem(
            "case_refused", status=409, title="This cannot be done", detail=str(error)
        ) from error


@get("/ops/v1/audit", guards=[operator_guard], summary="The audit log", responses=problems(401))
async def list_audit(
    request: AnyRequest,
    before: FromQuery[int | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 100,
) -> AuditPage:
    """List what operators did, the newest first. For operators (`Authorization: Bearer`)."""
    return AuditPage(items=await desk(request).log(limit=limit, before=before))


@get("/ops/v1/audit/verify", guards=[operator_guard], summary="Verify", responses=problems(401))
async def verify_audit(request: AnyRequest) -> AuditFinding:
    """Walk the audit log and compare every line. For operators (`Authorization: Bearer`)."""
    return await desk(request).verify()


def action_of(held: bool, pace: int | None) -> str:  # noqa: FBT001 - what an order has
    """Name an order as the audit log does."""
    return "drain.hold" if held else "drain.pace" if pace else "drain.resume"


def act_of(request: AnyRequest, operator: str, action: str, subject: str, reason: str) -> Act:
    """Describe what a program asks for in an operator's name."""
    key = request.headers.get("Idempotency-Key", "")[:_KEY_LENGTH_MAX]
    return Act(
        operator=operator_name(operator) or "unnamed",
        via="api",
        action=action,
        subject=subject,
        reason=reason,
        request_key=f"api {action} {subject} {key}" if key else None,
    )


API_ROUTES = [
    show_overview,
    order_drain,
    rehearse_drain,
    list_cases,
    act_on_case,
    list_audit,
    verify_audit,
]

"""The stand-in limits for programs: read and set."""

import msgspec
from litestar import get, post

from core_cis.api.guards import operator_guard
from core_cis.api.problems import problems
from core_cis.audit import AuditLine
from core_cis.ops.api import AnyRequest, OperatorName, ReasonText, act_of, desk
from core_cis.ops.desk import EdgeLimits
from core_cis.standin_limits import ACTION, FleetLimits, LimitsInForce
from failover.web import decode_json


class LimitsBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The stand-in limits that are to hold, all of them."""

    operator: OperatorName
    reason: ReasonText
    limits: FleetLimits


class LimitsAnswer(LimitsInForce, frozen=True, kw_only=True):
    """The limits in force, and what every active edge holds of them."""

    fleet: list[EdgeLimits]


@get("/ops/v1/limits", guards=[operator_guard], summary="Stand-in limits", responses=problems(401))
async def show_limits(request: AnyRequest) -> LimitsAnswer:
    """Tell the stand-in limits, and which order each edge follows. For operators (`Authorization: Bearer`)."""
    found, fleet = await desk(request).limits_heard()
    return LimitsAnswer(**msgspec.structs.asdict(found), fleet=fleet)


@post(
    "/ops/v1/limits",
    guards=[operator_guard],
    status_code=200,
    summary="Set the stand-in limits",
    responses=problems(401, 422),
)
async def set_limits(request: AnyRequest) -> AuditLine:
    """
    Set the stand-in limits (`LimitsBody`); answer the line of the audit log.

    For operators (`Authorization: Bearer`). With an `Idempotency-Key` the same request is done once.
    """
    body = decode_json(await request.body(), LimitsBody)
    act = act_of(request, body.operator, ACTION, "", body.reason)
    return await desk(request).set_limits(act, body.limits)


LIMIT_ROUTES = [show_limits, set_limits]

"""The console's page of the stand-in limits: what holds, who follows it, and a change, checked before it is made."""

import secrets
from typing import Final

from litestar import Response, get, post

from core_cis.audit import Act
from core_cis.errors import LimitInvalid
from core_cis.ops import limit_form
from core_cis.ops.api import REASON_LENGTH_MAX
from core_cis.ops.visit import Visit, open_form, open_visit
from core_cis.standin_limits import ACTION, FleetLimits
from failover.own_pages import AnyRequest, see_other

FORM_BYTES_MAX: Final = 16_384


class _Wanted:
    """What an operator typed: the limits and why, or what is wrong with which field."""

    def __init__(self, form: dict[str, str], currency: str) -> None:
        self.typed = form
        self.reason = form.get("reason", "").strip()[:REASON_LENGTH_MAX]
        self.limits: FleetLimits | None = None
        self.field = self.wrong = ""
        try:
            self.limits = limit_form.read(form, currency)
        except LimitInvalid as error:
            self.field, self.wrong = error.field, error.rule
            return
        if not self.reason:
            self.field, self.wrong = "reason", "Please say why."


async def _page(
    request: AnyRequest, visit: Visit, wanted: _Wanted | None = None
) -> Response[bytes]:
    found, fleet = await visit.desk.limits_heard()
    return visit.answer(
        request,
        "limits.html",
        422 if wanted else 200,
        title="Error: Limits" if wanted else "Limits",
        current="Limits",
        found=found,
        fleet=fleet,
        fields=limit_form.FIELDS,
        methods=limit_form.METHODS,
        typed=wanted.typed if wanted else limit_form.typed(found.limits),
        told=wanted.wrong if wanted else "",
        wrong=wanted.field if wanted else "",
        units={"money": visit.utility.currency, "count": "payments", "hours": "hours"},
    )


@get("/ops/limits", include_in_schema=False)
async def limits_page(request: AnyRequest) -> Response[bytes]:
    """Show the limits in force and which order each edge follows."""
    return await _page(request, await open_visit(request))


@post(
    "/ops/limits/review",
    status_code=200,
    include_in_schema=False,
    request_max_body_size=FORM_BYTES_MAX,
)
async def review_limits(request: AnyRequest) -> Response[bytes]:
    """Show limits before they are set."""
    visit, form = await open_form(request)
    wanted = _Wanted(form, visit.utility.currency)
    if wanted.limits is None or wanted.wrong:
        return await _page(request, visit, wanted)
    return visit.answer(
        request,
        "review.html",
        title="Check the limits",
        action="/ops/limits",
        back="/ops/limits",
        button="Set the limits",
        facts=[
            *limit_form.told(wanted.limits, visit.utility.currency),
            ("Why", wanted.reason),
        ],
        fields={
            **limit_form.typed(wanted.limits),
            "reason": wanted.reason,
            "key": secrets.token_urlsafe(16),
        },
    )


@post("/ops/limits", status_code=200, include_in_schema=False, request_max_body_size=FORM_BYTES_MAX)
async def set_limits(request: AnyRequest) -> Response[bytes]:
    """Set limits that were checked; sent twice, they are set once."""
    visit, form = await open_form(request)
    wanted = _Wanted(form, visit.utility.currency)
    if wanted.limits is None or wanted.wrong:
        return await _page(request, visit, wanted)
    act = Act(
        operator=visit.operator,
        via="console",
        action=ACTION,
        reason=wanted.reason,
        request_key=f"console {form.get('key', '')}"[:128],
    )
    await visit.desk.set_limits(act, wanted.limits)
    return see_other("/ops/limits")


LIMIT_PAGES = [limits_page, review_limits, set_limits]

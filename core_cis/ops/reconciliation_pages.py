"""The console's pages of reconciliation: sums by edge, day and outage, each payment behind them, and as CSV."""

from datetime import date, datetime
from typing import Final

from litestar import Response, get, post
from litestar.params import FromQuery

from core_cis.api.guards import operator_guard
from core_cis.api.problems import problems
from core_cis.ops.reconciling import ReconciliationDesk
from core_cis.ops.visit import open_form, open_visit
from core_cis.reconciliation import Line, Report
from core_cis.report_csv import payments_csv
from failover.own_pages import PERSONAL, SECURITY_HEADERS, AnyRequest, see_other

FORM_BYTES_MAX: Final = 16_384
_SHOWN: Final = 500
_ADDRESS: Final = "/ops/reconciliation"


def _desk(request: AnyRequest) -> ReconciliationDesk:
    found: ReconciliationDesk = request.app.state.reconciling
    return found


@get("/ops/reconciliation", include_in_schema=False)
async def reconciliation_page(request: AnyRequest) -> Response[bytes]:
    """Show the newest report."""
    visit = await open_visit(request)
    return visit.answer(
        request,
        "reconciliation.html",
        title="Reconciliation",
        current="Reconciliation",
        report=_desk(request).latest,
    )


@post(
    "/ops/reconciliation",
    status_code=200,
    include_in_schema=False,
    request_max_body_size=FORM_BYTES_MAX,
)
async def reconcile_now(request: AnyRequest) -> Response[bytes]:
    """Make a new report."""
    await open_form(request)
    await _desk(request).make()
    return see_other(_ADDRESS)


@get("/ops/reconciliation/payments", include_in_schema=False)
async def payments_page(
    request: AnyRequest,
    edge: FromQuery[str] = "",
    day: FromQuery[date | None] = None,
    outage: FromQuery[datetime | None] = None,
) -> Response[bytes]:
    """Show the payments behind one line of the newest report."""
    visit = await open_visit(request)
    report = _desk(request).latest
    if report is None or day is None:
        return see_other(_ADDRESS)
    lines = [
        line
        for line in _all_lines(report)
        if (line.edge_id, line.day, line.outage) == (edge, day, outage)
    ]
    return visit.answer(
        request,
        "payments.html",
        title=f"Payments of {edge}, {day}",
        current="Reconciliation",
        edge=edge,
        day=day,
        outage=outage,
        lines=lines[:_SHOWN],
        count=len(lines),
    )


@get("/ops/reconciliation/payments.csv", include_in_schema=False)
async def payments_file(request: AnyRequest) -> Response[bytes]:
    """Hand out every payment of the newest report as CSV."""
    await open_visit(request)
    report = _desk(request).latest
    if report is None:
        return see_other(_ADDRESS)
    headers = {
        **SECURITY_HEADERS,
        "Cache-Control": PERSONAL,
        "Content-Disposition": 'attachment; filename="reconciliation.csv"',
    }
    content = payments_csv(_all_lines(report)).encode()
    return Response(content, media_type="text/csv; charset=utf-8; header=present", headers=headers)


@post(
    "/ops/v1/reconciliation",
    guards=[operator_guard],
    status_code=200,
    summary="Reconcile",
    responses=problems(401),
)
async def make_reconciliation(request: AnyRequest) -> Report:
    """Compare what edges accepted with the books now; signed by the core. For operators (`Authorization: Bearer`)."""
    return await _desk(request).make()


def _all_lines(report: Report) -> list[Line]:
    return sorted(
        (*report.payments, *report.pending),
        key=lambda line: (line.edge_id, line.accepted_at, line.intent_id),
    )


RECONCILIATION_ROUTES = [
    reconciliation_page,
    reconcile_now,
    payments_page,
    payments_file,
    make_reconciliation,
]

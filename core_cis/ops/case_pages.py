"""The console's pages of dead letters: the list, a case, and what to do about it, checked before it is done."""

import secrets
from typing import Annotated, Final

from litestar import Response, get, post
from litestar.params import FromPath, QueryParameter

from core_cis.audit import Act, AuditLine
from core_cis.cases import REJECTION_REASONS, Case, RejectionReason
from core_cis.errors import CaseRefused
from core_cis.ops.api import REASON_LENGTH_MAX
from core_cis.ops.desk import CaseAction
from core_cis.ops.rendering import moment, money
from core_cis.ops.visit import NotOurForm, Visit, open_form, open_visit
from failover.own_pages import AnyRequest, see_other

FORM_BYTES_MAX: Final = 16_384
_REJECTIONS: Final[dict[RejectionReason, str]] = {
    "refused_by_operator": "We reviewed it and could not take it",
    "account_closed": "The account is closed",
    "method_unknown": "The payment method is not saved any more",
    "method_expired": "The payment method has expired",
    "amount_out_of_range": "We cannot take this amount online",
}
_ACTIONS: Final[dict[CaseAction, str]] = {
    "retry": "Retry the payment",
    "reject": "Reject the payment",
    "refund": "Refund the payment",
}


@get("/ops/cases", include_in_schema=False)
async def cases_page(
    request: AnyRequest, all_: Annotated[str, QueryParameter(name="all")] = ""
) -> Response[bytes]:
    """List the dead letters."""
    visit = await open_visit(request)
    cases = await visit.desk.cases(everything=bool(all_))
    return visit.answer(
        request,
        "cases.html",
        title="Dead letters",
        current="Cases",
        cases=cases,
        everything=bool(all_),
    )


@get("/ops/cases/{case_number:str}", include_in_schema=False)
async def case_page(request: AnyRequest, case_number: FromPath[str]) -> Response[bytes]:
    """Show a dead letter; raises `UnknownCase`."""
    visit = await open_visit(request)
    case, lines = await visit.desk.case(case_number)
    return _case_page(request, visit, case, lines)


@post(
    "/ops/cases/{case_number:str}/review",
    status_code=200,
    include_in_schema=False,
    request_max_body_size=FORM_BYTES_MAX,
)
async def review_case(request: AnyRequest, case_number: FromPath[str]) -> Response[bytes]:
    """Show an action before it is done."""
    visit, form = await open_form(request)
    case, lines = await visit.desk.case(case_number)
    action, rejection, reason = _read(form)
    if not reason:
        return _case_page(request, visit, case, lines, told="Please say why.")
    facts = [
        ("Case", case.case_number),
        ("Amount", money(case.amount, case.currency)),
        ("Action", _ACTIONS[action]),
        *([("The customer is told", _REJECTIONS[rejection])] if action == "reject" else []),
        ("Why", reason),
    ]
    return visit.answer(
        request,
        "review.html",
        title="Check the action",
        current="Cases",
        action=f"/ops/cases/{case.case_number}",
        back=f"/ops/cases/{case.case_number}",
        button=_ACTIONS[action],
        facts=facts,
        fields={
            "action": action,
            "rejection": rejection,
            "reason": reason,
            "key": secrets.token_urlsafe(16),
        },
    )


@post(
    "/ops/cases/{case_number:str}",
    status_code=200,
    include_in_schema=False,
    request_max_body_size=FORM_BYTES_MAX,
)
async def act_on_case(request: AnyRequest, case_number: FromPath[str]) -> Response[bytes]:
    """Do what was checked; sent twice, it is done once."""
    visit, form = await open_form(request)
    action, rejection, reason = _read(form)
    act = Act(
        operator=visit.operator,
        via="console",
        action=f"case.{action}",
        subject=case_number,
        reason=reason,
        request_key=f"console {form.get('key', '')}"[:128],
    )
    try:
        await visit.desk.act_on_case(act, action, rejection)
    except CaseRefused as error:
        case, lines = await visit.desk.case(case_number)
        return _case_page(request, visit, case, lines, told=str(error))
    return see_other(f"/ops/cases/{case_number}")


def _case_page(
    request: AnyRequest, visit: Visit, case: Case, lines: list[AuditLine], *, told: str = ""
) -> Response[bytes]:
    title = f"Case {case.case_number}"
    zone = visit.utility.timezone
    return visit.answer(
        request,
        "case.html",
        409 if told else 200,
        title=f"Error: {title}" if told else title,
        current="Cases",
        case=case,
        lines=lines,
        told=told,
        rejections=list(_REJECTIONS.items()),
        facts=[
            ("Amount", money(case.amount, case.currency)),
            ("Account", case.account_id),
            ("Accepted", moment(case.accepted_at, zone)),
            ("Came to the core", moment(case.received_at, zone)),
            ("Recorded by", case.edge_id),
            ("Delivered by", case.delivered_by),
            ("Kind", case.kind),
            ("Payment", case.intent_id),
        ],
    )


def _read(form: dict[str, str]) -> tuple[CaseAction, RejectionReason, str]:
    action, rejection = form.get("action", ""), form.get("rejection", REJECTION_REASONS[0])
    if action not in _ACTIONS or rejection not in REJECTION_REASONS:
        raise NotOurForm
    reason = form.get("reason", "").strip()[:REASON_LENGTH_MAX]
    return action, rejection, reason


CASE_PAGES = [cases_page, case_page, review_case, act_on_case]

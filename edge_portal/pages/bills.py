"""The list of bills, one bill, and its PDF."""

from litestar import Response, get
from litestar.params import FromPath

from cache_sync.documents import ArchivedStatement, StatementBody
from edge_portal import words
from edge_portal.cookies import AnyRequest
from edge_portal.errors import ArchiveUnavailable, NotFound
from edge_portal.pages.bill_states import BillState, bill_rows, state_of
from edge_portal.pages.bill_words import bill_parts
from edge_portal.pages.visit import Visit, answer, carry, open_visit
from edge_portal.pdf import statement_pdf
from failover.own_pages import PERSONAL, SECURITY_HEADERS


@get("/bills", sync_to_thread=False, include_in_schema=False)
def bills(request: AnyRequest) -> Response[bytes]:
    """List all bills, those in the archive marked."""
    visit = open_visit(request)
    rows = bill_rows(visit)
    return answer(
        visit,
        "bills.html",
        title=f"Your bills{visit.band.in_title}",
        current="Bills",
        held=[row for row in rows if not row.archived],
        archived=[row for row in rows if row.archived],
        months=words.count_of(visit.site.retention_months, "month"),
    )


@get("/bills/{statement_id:str}", include_in_schema=False)
async def bill(request: AnyRequest, statement_id: FromPath[str]) -> Response[bytes]:
    """Show one bill; an archived one is asked of the core, and while that is away the page says so."""
    visit = open_visit(request)
    try:
        statement = await find_statement(visit, statement_id)
    except ArchiveUnavailable:
        return _resting(visit, _archived(visit, statement_id))
    state = state_of(visit, statement)
    payable = state.left_cents > 0 and visit.can_pay and not visit.checked
    when = visit.period(statement.period_from, statement.period_to)
    return answer(
        visit,
        "bill.html",
        title=f"Your bill for {when}{visit.band.in_title}",
        current="Bills",
        statement=statement,
        parts=bill_parts(visit, statement),
        state=state,
        pay=visit.money(state.left_cents) if payable else None,
        when=when,
    )


@get("/bills/{statement_id:str}/pdf", include_in_schema=False)
async def bill_pdf(request: AnyRequest, statement_id: FromPath[str]) -> Response[bytes]:
    """Give a bill as a PDF file; an archived one while the core is away is a page that says so."""
    visit = open_visit(request)
    try:
        statement = await find_statement(visit, statement_id)
    except ArchiveUnavailable:
        return _resting(visit, _archived(visit, statement_id))
    content = await statement_pdf(visit.view.account, statement)
    name = f"bill-{statement.issued_on.isoformat()}.pdf"
    headers = {
        **SECURITY_HEADERS,
        "Cache-Control": PERSONAL,
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    return carry(visit, Response(content, media_type="application/pdf", headers=headers))


async def find_statement(visit: Visit, statement_id: str) -> StatementBody:
    """
    Return a bill of this account, from here or from the core's archive.

    Raises:
        NotFound: No such bill of this account.
        ArchiveUnavailable: It exists, and only the core has it.
    """
    for statement in visit.view.statements:
        if statement.statement_id == statement_id:
            return statement
    archived = _archived(visit, statement_id)
    account_id = visit.view.account.account_id
    return await visit.portal.archived_statement(account_id, archived.statement_id)


def _archived(visit: Visit, statement_id: str) -> ArchivedStatement:
    for older in visit.view.archived:
        if older.statement_id == statement_id:
            return older
    raise NotFound(statement_id)


def _resting(visit: Visit, archived: ArchivedStatement) -> Response[bytes]:
    """Show what is known here of a bill that only the core has; 200, because nothing is wrong with the page."""
    when = visit.period(archived.period_from, archived.period_to)
    return answer(
        visit,
        "bill_archived.html",
        title=f"Your bill for {when}",
        current="Bills",
        archived=archived,
        when=when,
        months=words.count_of(visit.site.retention_months, "month"),
        state=BillState(mark="none", told="In the archive"),
    )

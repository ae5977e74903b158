"""The console's page of collections, and the same for programs: whom to disconnect, and what was done about bills."""

from typing import Any, Final

from litestar import Request, Response, get

from core_cis.api.guards import operator_guard
from core_cis.api.problems import problems
from core_cis.domain.collecting import Step
from core_cis.ops.api import desk
from core_cis.ops.collection_view import CollectionView
from core_cis.ops.visit import open_visit
from failover.own_pages import AnyRequest

_SHOWN: Final = 200
_WORDS: Final[dict[Step, str]] = {
    "late_fee": "Late fee",
    "past_due_notice": "Past-due notice",
    "disconnection_notice": "Disconnection notice",
    "disconnection_order": "Disconnection order",
}


@get("/ops/collections", include_in_schema=False)
async def collections_page(request: AnyRequest) -> Response[bytes]:
    """Show the orders that stand and what was done."""
    visit = await open_visit(request)
    seen = await visit.desk.collections()
    return visit.answer(
        request,
        "collections.html",
        title="Collections",
        current="Collections",
        seen=seen,
        steps=seen.steps[:_SHOWN],
        words=_WORDS,
    )


@get(
    "/ops/v1/collections",
    guards=[operator_guard],
    summary="Late fees, notices, disconnection orders",
    responses=problems(401),
)
async def list_collections(request: Request[Any, Any, Any]) -> CollectionView:
    """List the disconnection orders that stand, and every step taken. For operators (`Authorization: Bearer`)."""
    return await desk(request).collections()


COLLECTION_ROUTES = [collections_page, list_collections]

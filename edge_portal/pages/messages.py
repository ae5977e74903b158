"""What customers sent besides payments: each message in its state, settling by itself; and the list of all."""

from typing import Any

from litestar import Response, get
from litestar.params import FromPath

from edge_portal.cookies import AnyRequest
from edge_portal.pages.happenings import message_event
from edge_portal.pages.message_words import message_facts, message_words
from edge_portal.pages.receipts import PaymentState, mark_of_words, tell_state
from edge_portal.pages.visit import Visit, answer, open_visit
from failover.intents import Receipt


@get("/messages", sync_to_thread=False, include_in_schema=False)
def messages(request: AnyRequest) -> Response[bytes]:
    """List everything that was sent."""
    visit = open_visit(request)
    title = f"What you sent us{visit.band.in_title}"
    events = [message_event(visit, message) for message in visit.view.messages]
    return answer(visit, "messages.html", title=title, current="", events=events)


@get("/messages/{message_id:str}", include_in_schema=False)
async def message(request: AnyRequest, message_id: FromPath[str]) -> Response[bytes]:
    """Show a message in its state."""
    visit = open_visit(request)
    found = await _find(visit, message_id)
    told = message_words(visit, found)
    facts = message_facts(visit, found)
    return answer(
        visit,
        "message.html",
        title=told.heading,
        current="",
        message=found,
        told=told,
        facts=facts,
        mark=mark_of_words(visit, told, facts),
    )


@get("/messages/{message_id:str}/state", include_in_schema=False)
async def message_state(request: AnyRequest, message_id: FromPath[str]) -> Response[Any]:
    """Tell only a message's state, for the script of a waiting receipt."""
    visit = open_visit(request)
    found = await _find(visit, message_id)
    told = message_words(visit, found)
    words = mark_of_words(visit, told, message_facts(visit, found))
    return tell_state(visit, PaymentState(state=found.state, settled=told.settled, words=words))


async def _find(visit: Visit, message_id: str) -> Receipt:
    for known in visit.view.messages:
        if known.intent_id == message_id:
            return known
    return await visit.portal.message(visit.view.account.account_id, message_id)

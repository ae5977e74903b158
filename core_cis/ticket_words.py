"""What customers said about tickets, in operators' words: the same on the command line and in the console."""

from core_cis.ticket_history import Said
from failover.message_bodies import MessageBody, OutageReport, ServiceRequest

_EXTENTS = {"all": "all lights out", "part": "some lights out"}
_REASONS = {
    "joined_ticket": "joined the ticket",
    "later_wish": "counted instead of an earlier wish",
    "superseded": "a later wish was known",
    "": "opened the ticket",
}


def said_lines(body: MessageBody | None) -> list[str]:
    """Tell what a message said, in lines; nothing is left of one that was emptied."""
    if isinstance(body, OutageReport):
        return [_EXTENTS[body.extent]]
    if isinstance(body, ServiceRequest):
        day = f", wished for {body.wished_on}" if body.wished_on else ""
        return [f"{body.kind}{day}", *body.text.splitlines()]
    return ["emptied: what was said is not kept any more"]


def became(said: Said) -> str:
    """Tell what became of a message."""
    told = _REASONS.get(said.reason, said.reason)
    return f"{told}; its wish holds" if said.counts else told

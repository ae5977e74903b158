"""
Outages that customers report: one ticket for each service point and event.

The conflict rule: a report joins the ticket of its service point whose reports it is within twelve hours of, by when
it was accepted, in whatever order reports come. After a ticket was closed another event begins.
"""

from datetime import datetime, timedelta

from core_cis.message_verdicts import Verdict, posted, rejected
from core_cis.store import Transaction
from core_cis.tickets import Ticket, put_under, tickets_of
from failover.intents import Intent, receipt_number
from failover.message_bodies import MessageBody, OutageReport

JOINED = "joined_ticket"
EVENT = timedelta(hours=12)
_POINT = "SELECT 1 FROM service_points WHERE service_point_id = ? AND account_id = ?"


def judge_outage(tx: Transaction, intent: Intent, body: MessageBody) -> Verdict:
    """Find the ticket that a report stands under: one that is there, or a new one."""
    assert isinstance(body, OutageReport), "the type names the body"
    place = (body.service_point_id, intent.account_id)
    if tx.connection.execute(_POINT, place).fetchone() is None:
        return rejected("service_point_unknown")
    known = tickets_of(tx.connection, "outage", body.service_point_id)
    same = [ticket for ticket in known if is_same_event(ticket, intent.accepted_at)]
    if same:
        return posted(JOINED, case_number=same[-1].ticket_number)
    return posted(case_number=f"T-{receipt_number(intent.intent_id)}")


def enter_outage(tx: Transaction, intent: Intent, body: MessageBody, case_number: str) -> None:
    """Put a report under its ticket."""
    assert isinstance(body, OutageReport), "the type names the body"
    put_under(
        tx,
        case_number,
        type_="outage",
        account_id=intent.account_id,
        service_point_id=body.service_point_id,
        accepted_at=intent.accepted_at,
    )


def is_same_event(ticket: Ticket, accepted_at: datetime) -> bool:
    """Tell whether a report that was accepted then is about a ticket's event."""
    if accepted_at < ticket.opened_at - EVENT:
        return False
    if ticket.closed_at is not None:
        return accepted_at <= ticket.closed_at
    return accepted_at <= ticket.reported_at + EVENT

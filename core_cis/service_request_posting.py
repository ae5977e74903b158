"""
Services that customers ask for: one open ticket for each account and kind, and one wish that holds for it.

The conflict rule: a request joins the open ticket of its account and kind, never a second one. Of the requests under a
ticket the one that was accepted last is the wish that holds, the others are kept as history, in whatever order they
come. A ticket is closed with the wish that it had. A request that was accepted before that wish and comes late is its
history, since somebody saw to what the customer said later. One that was accepted after it nobody has seen yet: it
opens another ticket, also where it was accepted before the closing.
"""

from core_cis.acceptance_order import acceptance_order
from core_cis.instants import local_date
from core_cis.message_verdicts import SUPERSEDED, Verdict, posted, rejected
from core_cis.store import Transaction
from core_cis.tickets import put_under
from failover.intents import Intent, receipt_number
from failover.message_bodies import MessageBody, ServiceRequest
from failover.service_request_rules import problem_of_service_request

LATER_WISH = "later_wish"
# Wishes of closed tickets are earlier than those of the next: the first ticket that is left is the one.
_STANDS_UNDER = """
    SELECT r.ticket_number, r.told_as FROM service_requests r JOIN tickets t USING (ticket_number)
    WHERE r.account_id = ? AND r.kind = ? AND (t.closed_at IS NULL OR r.told_as > ?)
    ORDER BY r.told_as LIMIT 1
"""
_HOLD = """
    INSERT INTO service_requests (ticket_number, account_id, kind, message_id, fingerprint, told_as)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (ticket_number) DO UPDATE
    SET message_id = excluded.message_id, fingerprint = excluded.fingerprint, told_as = excluded.told_as
    WHERE service_requests.told_as < excluded.told_as
"""


def judge_service_request(tx: Transaction, intent: Intent, body: MessageBody) -> Verdict:
    """Find the ticket that a request stands under: one that is there, or a new one."""
    assert isinstance(body, ServiceRequest), "the type names the body"
    sent_on = local_date(intent.accepted_at, tx.utility.timezone)
    problem = problem_of_service_request(body, today=sent_on)
    if problem is not None:
        return rejected(problem)
    told_as = acceptance_order(intent, now=tx.stamp)
    wanted = (intent.account_id, body.kind, told_as)
    known = tx.connection.execute(_STANDS_UNDER, wanted).fetchone()
    if known is None:
        return posted(case_number=f"T-{receipt_number(intent.intent_id)}")
    ticket_number, wish_told_as = known
    return posted(SUPERSEDED if wish_told_as > told_as else LATER_WISH, case_number=ticket_number)


def enter_service_request(
    tx: Transaction, intent: Intent, body: MessageBody, case_number: str
) -> None:
    """Put a request under its ticket; it is the wish that holds unless a later one is known."""
    assert isinstance(body, ServiceRequest), "the type names the body"
    put_under(
        tx,
        case_number,
        type_="service",
        account_id=intent.account_id,
        service_point_id="",
        accepted_at=intent.accepted_at,
    )
    told_as = acceptance_order(intent, now=tx.stamp)
    wish = (intent.intent_id, intent.fingerprint, told_as)
    tx.connection.execute(_HOLD, (case_number, intent.account_id, body.kind, *wish))

"""All that customers said about a ticket, and all that operators did about it."""

from datetime import datetime
from typing import Final

import msgspec

from cache_sync.sql import Connection, read
from core_cis.audit import AuditLine, read_log
from core_cis.instants import from_text
from core_cis.tickets import Ticket, read_ticket
from failover.message_bodies import MessageBody, decode_body

ACTIONS_MAX: Final = 100
_SAID = """
    SELECT m.message_id, m.account_id, m.accepted_at, m.decided_at, m.reason, m.body,
        EXISTS (SELECT 1 FROM service_requests r WHERE r.ticket_number = m.case_number
            AND r.message_id = m.message_id AND r.fingerprint = m.fingerprint)
    FROM messages m WHERE m.state = 'posted' AND m.case_number = ? ORDER BY m.accepted_at, m.message_id
"""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """
    A message that stands under a ticket; ``body`` is what it said, None once that was emptied.

    ``counts`` says that its wish is the one that holds. Outage reports wish nothing.
    """

    message_id: str
    account_id: str
    accepted_at: datetime
    decided_at: datetime
    reason: str
    counts: bool
    body: MessageBody | None


class TicketHistory(msgspec.Struct, frozen=True, kw_only=True):
    """A ticket with what customers said of it and what operators did about it, both the oldest first."""

    ticket: Ticket
    messages: list[Said]
    actions: list[AuditLine]


def read_history(connection: Connection, ticket_number: str) -> TicketHistory:
    """
    Read everything about a ticket, as of one moment.

    Raises:
        UnknownTicket: There is none of this number.
    """
    with read(connection):
        ticket = read_ticket(connection, ticket_number)
        rows = connection.execute(_SAID, (ticket_number,)).fetchall()
        actions = read_log(connection, limit=ACTIONS_MAX, subject=ticket_number)
    messages = [
        Said(
            message_id=message_id,
            account_id=account_id,
            accepted_at=from_text(accepted_at),
            decided_at=from_text(decided_at),
            reason=reason,
            counts=bool(counts),
            body=None if body is None else decode_body(bytes(body)),
        )
        for message_id, account_id, accepted_at, decided_at, reason, body, counts in rows
    ]
    return TicketHistory(ticket=ticket, messages=messages, actions=actions[::-1])

"""Tickets: what customers report and somebody at the utility has to see to."""

from datetime import date, datetime

import msgspec

from cache_sync.sql import Connection
from core_cis.errors import TicketRefused, UnknownTicket
from core_cis.instants import from_text, to_text
from core_cis.store import Transaction
from failover.message_bodies import ServiceKind, ServiceRequest, decode_body

_COLUMNS = "ticket_number, type, account_id, service_point_id, opened_at, reported_at, closed_at"
_OF_POINT = (
    f"SELECT {_COLUMNS} FROM tickets WHERE type = ? AND service_point_id = ? ORDER BY opened_at"  # noqa: S608 - our own names
)
_ONE = f"SELECT {_COLUMNS} FROM tickets WHERE ticket_number = ?"  # noqa: S608 - likewise
_LIST = f"SELECT {_COLUMNS} FROM tickets WHERE closed_at IS NULL OR ? > 0 ORDER BY opened_at, ticket_number"  # noqa: S608 - likewise
_WISHES = """
    SELECT r.ticket_number, r.kind, m.body
    FROM service_requests r JOIN tickets t USING (ticket_number)
    LEFT JOIN messages m ON m.message_id = r.message_id AND m.fingerprint = r.fingerprint
    WHERE t.closed_at IS NULL OR ? > 0
"""
_INSERT = f"INSERT INTO tickets ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, NULL)"  # noqa: S608 - likewise
_WIDEN = "UPDATE tickets SET opened_at = ?, reported_at = ? WHERE ticket_number = ?"
_CLOSE = "UPDATE tickets SET closed_at = ? WHERE ticket_number = ?"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """The wish that holds for a ticket of service requests; what was said is gone once the message was emptied."""

    kind: ServiceKind
    wished_on: date | None
    text: str


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """
    A ticket; ``opened_at`` and ``reported_at`` are when its first and its last message were accepted.

    ``wish`` is there where tickets are listed and it is one of service requests.
    """

    ticket_number: str
    type: str
    account_id: str
    service_point_id: str
    opened_at: datetime
    reported_at: datetime
    closed_at: datetime | None
    wish: Wish | None = None


def read_ticket(connection: Connection, ticket_number: str) -> Ticket:
    """
    Read one ticket, without its wish.

    Raises:
        UnknownTicket: There is none of this number.
    """
    row = connection.execute(_ONE, (ticket_number,)).fetchone()
    if row is None:
        raise UnknownTicket(ticket_number)
    return _ticket(row)


def tickets_of(connection: Connection, type_: str, service_point_id: str) -> list[Ticket]:
    """List a service point's tickets of a type, the oldest first."""
    return [_ticket(row) for row in connection.execute(_OF_POINT, (type_, service_point_id))]


def list_tickets(connection: Connection, *, everything: bool = False) -> list[Ticket]:
    """List what is open, with ``everything`` what is closed too; the oldest first."""
    which = (int(everything),)
    wishes = {
        number: _wish(kind, body) for number, kind, body in connection.execute(_WISHES, which)
    }
    found = [_ticket(row) for row in connection.execute(_LIST, which)]
    return [msgspec.structs.replace(each, wish=wishes.get(each.ticket_number)) for each in found]


def put_under(
    tx: Transaction,
    ticket_number: str,
    *,
    type_: str,
    account_id: str,
    service_point_id: str,
    accepted_at: datetime,
) -> None:
    """Put a message that was accepted then under a ticket; opens the ticket where there is none of this number."""
    row = tx.connection.execute(_ONE, (ticket_number,)).fetchone()
    at = to_text(accepted_at)
    if row is None:
        values = (ticket_number, type_, account_id, service_point_id, at, at)
        tx.connection.execute(_INSERT, values)
        return
    tx.connection.execute(_WIDEN, (min(row[4], at), max(row[5], at), ticket_number))


def close_ticket(tx: Transaction, ticket_number: str) -> Ticket:
    """
    Close a ticket now: what is reported after is another event.

    Raises:
        UnknownTicket: There is none of this number.
        TicketRefused: It is closed.
    """
    known = read_ticket(tx.connection, ticket_number)
    if known.closed_at is not None:
        raise TicketRefused(f"ticket {ticket_number} is closed")
    tx.connection.execute(_CLOSE, (to_text(tx.stamp), ticket_number))
    return msgspec.structs.replace(known, closed_at=tx.stamp)


def _wish(kind: ServiceKind, body: bytes | None) -> Wish:
    said = None if body is None else decode_body(body)
    if not isinstance(said, ServiceRequest):
        return Wish(kind=kind, wished_on=None, text="")
    return Wish(kind=kind, wished_on=said.wished_on, text=said.text)


def _ticket(row: tuple[str, str, str, str, str, str, str | None]) -> Ticket:
    number, type_, account_id, service_point_id, opened_at, reported_at, closed_at = row
    return Ticket(
        ticket_number=number,
        type=type_,
        account_id=account_id,
        service_point_id=service_point_id,
        opened_at=from_text(opened_at),
        reported_at=from_text(reported_at),
        closed_at=None if closed_at is None else from_text(closed_at),
    )

"""``core tickets``: what customers reported and somebody has to see to."""

from datetime import datetime
from pathlib import Path

import click
import msgspec

from core_cis.audit import by_command, write_down
from core_cis.errors import TicketRefused, UnknownTicket
from core_cis.options import data_option, json_option, open_known_store
from core_cis.ticket_history import read_history
from core_cis.ticket_words import became, said_lines
from core_cis.tickets import Wish, close_ticket, list_tickets


@click.group("tickets")
def tickets_group() -> None:
    """See what customers reported, such as outages, and what they asked for, and close what is done."""


@tickets_group.command("list")
@data_option
@json_option
@click.option("--all", "everything", is_flag=True, help="Closed ones too.")
def list_command(data_dir: Path, as_json: bool, everything: bool) -> None:  # noqa: FBT001 - click's flags
    """List the open tickets, the oldest first."""
    with open_known_store(data_dir) as store:
        found = list_tickets(store.connection, everything=everything)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for ticket in found:
        closed = f"closed {ticket.closed_at:%Y-%m-%d %H:%M}Z" if ticket.closed_at else "open"
        click.echo(
            f"{ticket.ticket_number:<12}{ticket.type:<10}{ticket.account_id:<14}{ticket.service_point_id:<16}"
            f"{ticket.opened_at:%Y-%m-%d %H:%M}Z  {closed}"
        )
        if ticket.wish is not None:
            for line in _told(ticket.wish):
                click.echo(f"    {line}")


@tickets_group.command("history")
@data_option
@json_option
@click.argument("ticket_number")
def history_command(data_dir: Path, as_json: bool, ticket_number: str) -> None:  # noqa: FBT001 - click's flag
    """Show everything that was said about a ticket, and what was done about it, the oldest first."""
    with open_known_store(data_dir) as store:
        try:
            found = read_history(store.connection, ticket_number)
        except UnknownTicket as error:
            raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    ticket = found.ticket
    state = f"closed {_minute(ticket.closed_at)}" if ticket.closed_at else "open"
    click.echo(f"{ticket.ticket_number}  {ticket.type}  account {ticket.account_id}  {state}")
    for said in found.messages:
        click.echo(f"{_minute(said.accepted_at)}  {said.account_id}  {became(said)}")
        for line in said_lines(said.body):
            click.echo(f"    {line}")
    for did in found.actions:
        click.echo(f"{_minute(did.at)}  {did.operator} ({did.via})  {did.action}: {did.reason}")


@tickets_group.command("close")
@data_option
@click.argument("ticket_number")
@click.option("--reason", required=True, help="Why, for the audit log.")
def close_command(data_dir: Path, ticket_number: str, reason: str) -> None:
    """Close a ticket: what is reported after is another event."""
    with open_known_store(data_dir) as store, store.transaction(alone=True) as tx:
        try:
            closed = close_ticket(tx, ticket_number)
        except (TicketRefused, UnknownTicket) as error:
            raise click.ClickException(str(error)) from error
        act = by_command("ticket.close", subject=ticket_number, reason=reason)
        write_down(tx, act, store.keys)
    click.echo(f"{closed.ticket_number}: closed")


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z"


def _told(wish: Wish) -> list[str]:
    day = f", wished for {wish.wished_on}" if wish.wished_on else ""
    return [f"{wish.kind}{day}", *wish.text.splitlines()]

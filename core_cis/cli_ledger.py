"""``core ledger``: one account's ledger."""

from pathlib import Path

import click
import msgspec

from core_cis.bookkeeping import read_ledger
from core_cis.errors import UnknownAccount
from core_cis.options import data_option, json_option, open_known_store

_CENTS = 100


@click.command("ledger")
@data_option
@json_option
@click.argument("account")
def ledger_command(data_dir: Path, as_json: bool, account: str) -> None:  # noqa: FBT001 - click's flag
    """List what happened to an account, oldest first, and what it owes."""
    with open_known_store(data_dir) as store:
        ledger = read_ledger(store.connection, account, currency=store.utility().currency)
        if ledger is None:
            raise UnknownAccount(account)
    if as_json:
        click.echo(msgspec.json.encode(ledger))
        return
    for entry in ledger.entries:
        amount = money(entry.amount)
        click.echo(f"{entry.value_date}  {amount:>14}  {entry.kind:<10}  {entry.description}")
    click.echo(f"{'balance':<10}  {money(ledger.balance):>14}  {ledger.currency}")


def money(cents: int) -> str:
    """Write minor units with two decimals and thousands."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // _CENTS:,}.{abs(cents) % _CENTS:02d}"

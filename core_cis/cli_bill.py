"""``core bill``: the billing run on the command line."""

from datetime import date, timedelta
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cache_sync.clock import SystemClock
from core_cis.billing_run import BillingReport, all_accounts, run_billing
from core_cis.cli_ledger import money
from core_cis.instants import local_date
from core_cis.options import data_option, json_option, open_known_store
from core_cis.store import CoreStore

REFUSED_EXIT = 1


@click.command("bill")
@data_option
@json_option
@click.option(
    "--through",
    required=True,
    type=click.DateTime(["%Y-%m-%d"]),
    help="The last day that may be billed; every period that is over by then is.",
)
@click.option(
    "--issued-on",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day the statements are issued, from which they fall due. Default: today.",
)
@click.option("--account", "accounts", multiple=True, help="Only this account; may be repeated.")
@click.pass_context
def bill_command(
    ctx: click.Context,
    data_dir: Path,
    as_json: bool,  # noqa: FBT001 - click's flag
    through: object,
    issued_on: object,
    accounts: tuple[str, ...],
) -> None:
    """
    Make statements from readings and tariffs; a period that was billed is not billed again.

    Exits with 1 when a bill was refused; every other account's are made all the same.
    """
    day = date.fromisoformat(str(through)[:10])
    with open_known_store(data_dir) as store:
        today = local_date(SystemClock().now(), store.utility().timezone)
        issued = date.fromisoformat(str(issued_on)[:10]) if issued_on else today
        yesterday = today - timedelta(days=1)
        if day > today:
            raise click.BadParameter(
                f"{day} is not over yet where the utility is; the latest day to bill is {yesterday}",
                param_hint="--through",
            )
        if day == today:
            click.echo(f"Today is not over yet: billing through {yesterday}.", err=True)
            day = yesterday
        report = _run(store, day, issued, accounts or None)
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        _say(report)
    if report.refused:
        ctx.exit(REFUSED_EXIT)


def _run(
    store: CoreStore, day: date, issued_on: date, accounts: tuple[str, ...] | None
) -> BillingReport:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Billing", total=len(accounts or all_accounts(store.connection)))
        return run_billing(
            store,
            day,
            account_ids=accounts,
            issued_on=issued_on,
            progress=lambda: progress.advance(task),
        )


def _say(report: BillingReport) -> None:
    for statement in report.issued:
        click.echo(
            f"{statement.account_id}  {_days(statement.period_from, statement.period_to)}"
            f"  new charges {money(statement.total):>12}  amount due {money(statement.amount_due):>12}"
        )
    for refusal in report.refused:
        click.echo(
            f"{refusal.account_id}  {_days(refusal.period_from, refusal.period_to)}  REFUSED: {refusal.detail}"
        )
    for waiting in report.waiting:
        click.echo(f"{waiting.account_id}  not yet: {waiting.detail}")
    click.echo(
        f"{len(report.issued)} statements, {len(report.refused)} refused,"
        f" {len(report.waiting)} accounts not yet billable, {report.up_to_date} up to date, through {report.through}"
    )


def _days(period_from: date, period_to: date) -> str:
    """Write a period by its first and its last day, as bills print it."""
    return f"{period_from} to {period_to - timedelta(days=1)}"

"""``ridethrough core demo-data``: an empty core becomes a demo utility."""

import json
import os
from datetime import date
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cache_sync.clock import SystemClock
from core_cis.demo_data.filling import DEMO_UTILITY, Login, fill_demo, is_filled
from core_cis.instants import local_date
from core_cis.options import data_option, database_option, open_store
from core_cis.store import CoreStore


@click.command("demo-data")
@data_option
@database_option
@click.option(
    "--accounts", type=click.IntRange(1, 100_000), default=200, show_default=True, help="How many."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of everything drawn.")
@click.option(
    "--today",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day the demo is made on; readings end the day before. Default: today.",
)
@click.option(
    "--logins",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write e-mail addresses and passwords (JSON, mode 0600). Default: DATA/logins.json",
)
def demo_data_command(
    data_dir: Path,
    database: str | None,
    accounts: int,
    seed: int,
    today: object,
    logins: Path | None,
) -> None:
    """Fill an empty core with made-up customers, real tariffs and a year of readings, bills and payments."""
    target = logins or data_dir / "logins.json"
    with open_store(data_dir, database, **msgspec.structs.asdict(DEMO_UTILITY)) as store:
        if is_filled(store.connection):
            click.echo(f"{data_dir} is filled already; nothing was changed.")
            return
        made_on = local_date(SystemClock().now(), DEMO_UTILITY.timezone)
        if today is not None:
            made_on = date.fromisoformat(str(today)[:10])
        _fill(store, accounts, seed, made_on, target)
    click.echo(f"{accounts} accounts are in {data_dir}; logins are in {target}")


def _fill(store: CoreStore, accounts: int, seed: int, made_on: date, logins: Path) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("Metering and billing a year of accounts", total=accounts)
        fill_demo(
            store,
            accounts=accounts,
            seed=seed,
            today=made_on,
            keep_logins=lambda made: _write_logins(logins, made),
            progress=lambda: progress.advance(task),
        )


def _write_logins(target: Path, logins: list[Login]) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        # One that was there keeps its mode otherwise.
        os.fchmod(descriptor, 0o600)
        json.dump([msgspec.structs.asdict(login) for login in logins], file, indent=1)

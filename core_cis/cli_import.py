"""``core import``: a utility's own customers, tariffs and meter readings."""

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from core_cis.domain.green_button import parse_green_button
from core_cis.domain.tariff_files import parse_tariff
from core_cis.importing.customer_file import FILE_BYTES_MAX, CustomerRow, read_customer_file
from core_cis.importing.customers import Passwords, import_customers, prepare_passwords
from core_cis.importing.readings import ReadingsImported, import_readings
from core_cis.instants import local_date
from core_cis.options import data_option, json_option, open_known_store, open_store, utility_options
from core_cis.store import CoreStore
from core_cis.tariff_store import save_tariff, tariff_keys

_file_argument = click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
_SHOWN_MAX = 20


@click.group("import")
def import_group() -> None:
    """Take in customers, tariffs and meter readings. Import tariffs first: customers name them."""


@import_group.command("tariff")
@data_option
@json_option
@utility_options
@click.option(
    "--effective-from",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The first day it applies, instead of the file's own dates; bills name it.",
)
@_file_argument
def import_tariff(
    data_dir: Path,
    as_json: bool,  # noqa: FBT001 - click's flag
    effective_from: object,
    file: Path,
    **utility: str | int | None,
) -> None:
    """Take in a tariff (JSON, in the shape of the US Utility Rate Database)."""
    day = date.fromisoformat(str(effective_from)[:10]) if effective_from else None
    with open_store(data_dir, **utility) as store:
        tariff = parse_tariff(_read(file), effective_from=day)
        with store.transaction(alone=True) as tx:
            key = save_tariff(tx, tariff)
    started = tariff.effective_from.isoformat() if tariff.effective_from else None
    if as_json:
        click.echo(msgspec.json.encode({"tariff": key, "effective_from": started}))
        return
    since = f"from {started}" if started else "from the beginning (the file gives no date)"
    click.echo(f"{key}: {tariff.utility}, {tariff.name}, in force {since}")
    click.echo(f"Next: name it as {key} in the column tariff of: core import customers FILE")


@import_group.command("customers")
@data_option
@json_option
@utility_options
@click.option(
    "--initial-passwords",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write passwords made for new customers whose rows name none (CSV, mode 0600).",
)
@_file_argument
def import_customers_command(
    data_dir: Path,
    as_json: bool,  # noqa: FBT001 - click's flag
    initial_passwords: Path | None,
    file: Path,
    **utility: str | int | None,
) -> None:
    """Take in customers, accounts, service points, meters, tariffs and payment methods (CSV)."""
    with open_store(data_dir, **utility) as store:
        rows = read_customer_file(_read(file), tariffs=tariff_keys(store.connection))
        passwords = _prepare(store, rows)
        with (
            _initial_passwords(initial_passwords, passwords),
            store.transaction(alone=True) as tx,
        ):
            done = import_customers(tx, rows, passwords)
    if as_json:
        counts = msgspec.to_builtins(done) | {"initial_passwords": len(passwords.initial)}
        click.echo(msgspec.json.encode(counts))
        return
    click.echo(
        f"{done.customers} customers ({done.new_customers} new), {done.accounts} accounts,"
        f" {done.service_points} service points, {done.payment_methods} payment methods"
    )
    if passwords.initial:
        click.echo(f"{len(passwords.initial)} initial passwords are in {initial_passwords}")
    click.echo("Next, their readings: core import green-button FILE --service-point ID")


def _prepare(store: CoreStore, rows: list[CustomerRow]) -> Passwords:
    """Make verifiers under a progress bar: of many customers it takes minutes."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        total = len({row.customer_id for row in rows})
        task = progress.add_task("Passwords", total=total)
        return prepare_passwords(store.connection, rows, progress=lambda: progress.advance(task))


@import_group.command("green-button")
@data_option
@json_option
@click.option("--service-point", "service_point_id", required=True, help="Whose readings they are.")
@_file_argument
def import_green_button(
    data_dir: Path,
    as_json: bool,  # noqa: FBT001 - click's flag
    service_point_id: str,
    file: Path,
) -> None:
    """Take in interval readings (Green Button, ESPI). Bad readings are kept out and reported by line."""
    with open_known_store(data_dir) as store, file.open("rb") as stream:
        feed = parse_green_button(stream)
        with store.transaction() as tx:
            done = import_readings(tx, feed, service_point_id=service_point_id, source=file.name)
            timezone = tx.utility.timezone
    if as_json:
        click.echo(msgspec.json.encode(done))
        return
    _say_readings(done, timezone)


def _say_readings(done: ReadingsImported, timezone: str) -> None:
    minutes = done.interval_seconds // 60
    first_day = local_date(datetime.fromisoformat(done.first), timezone)
    last_day = local_date(datetime.fromisoformat(done.end) - timedelta(seconds=1), timezone)
    click.echo(
        f"{done.service_point_id}: {done.intervals} readings of {minutes} minutes on {done.days} days,"
        f" {done.usage_wh / 1000:,.3f} kWh, {first_day} to {last_day}"
    )
    found = (*done.findings, *done.conflicts)
    for finding in found[:_SHOWN_MAX]:
        where = f"line {finding.line}: " if finding.line else ""
        click.echo(
            f"  {where}{finding.rule} at {finding.start or 'an unreadable time'}: {finding.detail}"
        )
    if len(found) > _SHOWN_MAX:
        click.echo(f"  and {len(found) - _SHOWN_MAX} more; --json lists them all")
    for refusal in done.refused:
        click.echo(f"  left out: {refusal}")
    click.echo(f"Next: core bill --through {last_day}, or another last day to be billed")


def _read(file: Path) -> bytes:
    if file.stat().st_size > FILE_BYTES_MAX:
        raise click.ClickException(f"{file} is larger than {FILE_BYTES_MAX // 1_000_000} MB")
    return file.read_bytes()


@contextmanager
def _initial_passwords(target: Path | None, passwords: Passwords) -> Iterator[None]:
    """
    Write initial passwords before the import is committed: a customer nobody can sign in as would be lost.

    The file goes again when the import fails. One that is there is never overwritten: it may hold the only copy.
    """
    if not passwords.initial:
        yield
        return
    if target is None:
        raise click.ClickException(
            f"{len(passwords.initial)} new customers have no password; name a file for initial ones with"
            " --initial-passwords FILE, or fill the column password. Nothing was imported."
        )
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise click.ClickException(
            f"{target} is there already and may hold passwords; name another file. Nothing was imported."
        ) from error
    except OSError as error:
        raise click.ClickException(f"{target}: {error.strerror}. Nothing was imported.") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(("email", "password"))
            writer.writerows(passwords.initial)
            out.flush()
            os.fsync(out.fileno())
        yield
    except BaseException:
        target.unlink(missing_ok=True)
        raise

"""``core audit``: what operators did, and whether the log of it is whole."""

from pathlib import Path

import click
import msgspec

from core_cis.audit import read_log, verify_log
from core_cis.options import data_option, json_option, open_known_store

_LISTED = 100


@click.group("audit")
def audit_group() -> None:
    """List what operators did, or prove that the log of it is whole."""


@audit_group.command("list")
@data_option
@json_option
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=_LISTED,
    show_default=True,
    help="How many of the newest lines.",
)
def list_command(data_dir: Path, as_json: bool, limit: int) -> None:  # noqa: FBT001 - click's flag
    """List the newest lines, the newest first."""
    with open_known_store(data_dir) as store:
        lines = read_log(store.connection, limit=limit)
    if as_json:
        click.echo(msgspec.json.encode(lines))
        return
    for line in lines:
        subject = f" {line.subject}" if line.subject else ""
        reason = f": {line.reason}" if line.reason else ""
        click.echo(
            f"{line.number:>6}  {line.at:%Y-%m-%d %H:%M:%S}Z  {line.operator} ({line.via})  "
            f"{line.action}{subject}{reason}"
        )


@audit_group.command("verify")
@data_option
@json_option
@click.option(
    "--head", metavar="HASH", help="A head that was noted earlier: the log must still contain it."
)
def verify_command(data_dir: Path, as_json: bool, head: str | None) -> None:  # noqa: FBT001 - click's flag
    """
    Compare every line with its hash and the core's signature.

    Exits with 0 when the chain is whole, with 1 and the number of the first wrong line when it is not.
    """
    with open_known_store(data_dir) as store, store.reading() as connection:
        found = verify_log(connection, store.keys.public_key, known_head=head)
    if as_json:
        click.echo(msgspec.json.encode(found))
    elif found.whole:
        click.echo(f"the log is whole: {found.lines} lines, head {found.head or 'none'}")
    else:
        click.echo(f"the log is broken at line {found.broken_at}: {found.problem}")
    raise SystemExit(0 if found.whole else 1)

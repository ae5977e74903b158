"""``core backups``: which backups of the books there are, and which may be restored."""

from pathlib import Path

import click
import msgspec

from core_cis.audit import by_command
from core_cis.backups import begin_backup, name_backup, read_backups, release_backup
from core_cis.cli_backup import keep_option, tell_released
from core_cis.options import data_option, json_option, open_known_store

reason_option = click.option("--reason", default="", help="Why, for the log.")
"""``--reason TEXT``, as ``reason: str``."""


@click.group("backups")
def backups_group() -> None:
    """List, begin, name or release backups; `core backup` does it all for books in a file."""


@backups_group.command("list")
@data_option
@json_option
def list_command(data_dir: Path, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """List the backups that these books know, the oldest first; the kept ones may be restored."""
    with open_known_store(data_dir) as store:
        known = read_backups(store.connection)
    if as_json:
        click.echo(msgspec.json.encode(known))
        return
    for each in known:
        click.echo(
            f"{each.mark}  {each.begun_at:%Y-%m-%d %H:%M:%S}Z  epoch {each.epoch}  {each.state:<8}  {each.label}"
        )


@backups_group.command("begin")
@data_option
def begin_command(data_dir: Path) -> None:
    """
    Write the mark of a backup that you are about to make, and print it.

    Make the copy afterwards, by any means that copies the books whole and at one moment: `pg_dump`, a snapshot of the
    volume. Then name it.
    """
    with open_known_store(data_dir) as store, store.transaction(alone=True) as tx:
        begun = begin_backup(tx)
    click.echo(begun.mark)


@backups_group.command("name")
@data_option
@keep_option
@reason_option
@click.argument("mark")
@click.argument("label")
def name_command(data_dir: Path, keep: int, reason: str, mark: str, label: str) -> None:
    """
    Say that the backup begun with MARK lies at LABEL for good, and can be restored; written into the signed log.

    From then on edges drop what the oldest kept backup covers. Name none that you have not seen restored, or verified
    as its tool does it.
    """
    with open_known_store(data_dir) as store, store.transaction(alone=True) as tx:
        act = by_command("backup.name", reason=reason)
        released = name_backup(tx, mark, label, act, store.keys, keep=keep)
    click.echo(f"{mark} is kept, as {label}; you keep the newest {keep}")
    tell_released(released)


@backups_group.command("release")
@data_option
@reason_option
@click.argument("mark")
def release_command(data_dir: Path, reason: str, mark: str) -> None:
    """Say that a backup is not kept any more, such as one that was lost; written into the signed log."""
    with open_known_store(data_dir) as store, store.transaction(alone=True) as tx:
        known = release_backup(tx, mark, by_command("backup.release", reason=reason), store.keys)
    click.echo(f"not kept any more, do not restore from it: {mark}, {known.label}")

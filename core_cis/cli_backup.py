"""``core backup``: a copy of the books that can be restored."""

import os
from pathlib import Path

import click

from cache_sync.sql import DatabaseError
from core_cis.audit import by_command
from core_cis.backups import KEPT, Backup, begin_backup, name_backup, verify_copy
from core_cis.errors import CoreError
from core_cis.options import data_option, open_known_store
from core_cis.store import CoreStore
from failover.noted_file import flush_folder

keep_option = click.option(
    "--keep",
    type=click.IntRange(1, 1000),
    default=KEPT,
    show_default=True,
    help="How many of the newest backups you keep. Edges drop what the oldest of them covers.",
)
"""``--keep N``, as ``keep: int``."""


@click.command("backup")
@data_option
@keep_option
@click.option(
    "--aside",
    is_flag=True,
    help="A copy that nobody will restore from: edges go on keeping what it covers.",
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup_command(
    data_dir: Path,
    keep: int,
    aside: bool,  # noqa: FBT001 - click's flag
    file: Path,
) -> None:
    """
    Copy the database, whole and at one moment, beside a serving core; the copy has mode 0600.

    The copy is verified, and named in the books as one that can be restored: from then on edges drop what the oldest
    kept backup covers. Keep `secrets.json` of the core's folder with it: edges know the core, and each other, by what
    stands there.
    """
    if file.exists():
        raise click.ClickException(f"{file} is there already; a backup overwrites nothing")
    with open_known_store(data_dir) as store:
        if store.database.file is None:
            raise click.ClickException(
                f"the books are in {store.database.name}, which its own tool copies whole beside a serving core:"
                f" core backups begin, then pg_dump --format=custom --file={file} URL, then core backups name; keep"
                " secrets.json and database.json with it"
            )
        with store.transaction(alone=True) as tx:
            begun = begin_backup(tx)
        _copy(store, begun, file)
        click.echo(f"{file}: {file.stat().st_size} bytes; keep secrets.json with it")
        if aside:
            click.echo("not named: restore from another one")
            return
        with store.transaction(alone=True) as tx:
            act = by_command("backup.name", begun_at=f"{begun.begun_at:%Y-%m-%dT%H:%M:%SZ}")
            released = name_backup(tx, begun.mark, str(file.absolute()), act, store.keys, keep=keep)
    click.echo(f"named as {begun.mark}; you keep the newest {keep}")
    tell_released(released)


def tell_released(released: list[Backup]) -> None:
    """Name the backups that the books must not be restored from any more."""
    for each in released:
        click.echo(f"not kept any more, do not restore from it: {each.mark}, {each.label}")


def _copy(store: CoreStore, begun: Backup, file: Path) -> None:
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    previous = os.umask(0o077)
    try:
        store.connection.execute("VACUUM INTO ?", (str(beside.absolute()),))
        with beside.open("rb") as copied:
            os.fsync(copied.fileno())
        verify_copy(beside, begun)
        beside.rename(file)
        flush_folder(file.parent)
    except (DatabaseError, OSError, CoreError) as error:
        raise click.ClickException(f"{file} could not be written: {error}") from error
    finally:
        beside.unlink(missing_ok=True)
        os.umask(previous)

"""``core backup``: a copy of the books that can be restored."""

import os
from pathlib import Path

import click

from cache_sync.sql import DatabaseError
from core_cis.options import data_option, open_known_store


@click.command("backup")
@data_option
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup_command(data_dir: Path, file: Path) -> None:
    """
    Copy the database, whole and at one moment, beside a serving core; the copy has mode 0600.

    Keep `secrets.json` of the core's folder with it: edges know the core, and each other, by what stands there.
    """
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    if file.exists():
        raise click.ClickException(f"{file} is there already; a backup overwrites nothing")
    with open_known_store(data_dir) as store:
        if store.database.file is None:
            raise click.ClickException(
                f"the books are in {store.database.name}, which its own tool copies whole beside a serving core:"
                f" pg_dump --format=custom --file={file} URL; keep secrets.json and database.json with it"
            )
        previous = os.umask(0o077)
        try:
            store.connection.execute("VACUUM INTO ?", (str(beside.absolute()),))
            with beside.open("rb") as copied:
                os.fsync(copied.fileno())
            beside.rename(file)
        except (DatabaseError, OSError) as error:
            beside.unlink(missing_ok=True)
            raise click.ClickException(f"{file} could not be written: {error}") from error
        finally:
            os.umask(previous)
    click.echo(f"{file}: {file.stat().st_size} bytes; keep secrets.json with it")

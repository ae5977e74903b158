"""``edge key`` makes a key for files at rest, ``edge rekey`` changes the files' keys."""

from pathlib import Path

import click

from cache_sync.clock import SystemClock
from cache_sync.errors import KeyFileInvalid, SyncError
from cache_sync.file_keys import FileKeys, write_key_file
from edge_portal.errors import ConfigError
from edge_portal.file_check import check_files
from edge_portal.folder_lock import locked_folder
from edge_portal.given_keys import KEY_FILE_VARIABLE, given_keys
from edge_portal.options import data_option
from edge_portal.rekeying import rekey_folder
from edge_portal.settings import EdgePaths

key_file_option = click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keys of its files, the current one first, as made by: edge key.",
)


def fitting_keys(data: Path, key_file: Path | None) -> FileKeys:
    """
    Read the keys for a folder that is only looked at, and check that they fit.

    Raises:
        ConfigError: They do not, or cannot be read.
    """
    keys = given_keys(key_file)
    check_files(EdgePaths(data.absolute()), keys)
    return keys


@click.command("key")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def key_command(file: Path) -> None:
    """
    Make a key in a new FILE, which only you may read.

    Keep a copy away from this machine: without its key a file cannot be read by anybody.
    """
    try:
        keys = write_key_file(file)
    except KeyFileInvalid as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"key {keys.current_id} in {file}")


def _some_keys(key_file: Path | None) -> FileKeys:
    keys = given_keys(key_file)
    if not keys:
        raise ConfigError(f"no key was given: --key-file FILE, or {KEY_FILE_VARIABLE}")
    return keys


@click.command("rekey")
@data_option
@key_file_option
def rekey_command(data: Path, key_file: Path | None) -> None:
    """
    Encrypt the files of an edge that is stopped under the first key of its key file.

    Put a new key above the old one to rotate. Safe to kill and to repeat.
    """
    paths = EdgePaths(data.absolute())
    if not paths.data.is_dir():
        raise click.ClickException(f"{data} is no edge's data folder")
    try:
        keys = _some_keys(key_file)
        with locked_folder(paths, SystemClock()):
            rekey_folder(
                paths,
                keys,
                lambda path: click.echo(
                    f"{path.relative_to(paths.data)} is under {keys.current_id}"
                ),
            )
    except (ConfigError, SyncError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{data}: {error.strerror}") from error
    click.echo(f"all files are under key {keys.current_id}")
    for older in keys.ids[1:]:
        click.echo(f"key {older} is needed no more: take it out of {keys.source}")

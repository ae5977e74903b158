"""
Do the keys that were given fit the files of an edge's data folder?

Asked before anything is opened for use: a node that began anew because its key was forgotten would have thrown away
what its customers were told is recorded.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from cache_sync.file_keys import FileKeys, is_plain, named_key, read_salt
from cache_sync.snapshot_folder import SnapshotFolder
from edge_portal.errors import WrongFileKeys
from edge_portal.settings import EdgePaths


def snapshot_folders_in(paths: EdgePaths) -> list[Path]:
    """List the snapshot folders of all shards that lie in a data folder."""
    return sorted(
        folder
        for folder in paths.data.glob(f"{paths.snapshot.name}*")
        if folder.is_dir() and not folder.is_symlink()
    )


def keyed_files(paths: EdgePaths) -> list[Path]:
    """List what is lost without its key or must be fetched anew: the journal, then every current snapshot."""
    currents = [SnapshotFolder(folder).current() for folder in snapshot_folders_in(paths)]
    return [paths.journal, *(path for path in currents if path is not None)]


def check_keys(paths: EdgePaths, keys: FileKeys) -> None:
    """
    Check that journal and snapshots can be opened with these keys; reads their first bytes and changes nothing.

    Not while this process has one of them open: closing a file lets go of SQLite's locks on it.

    Raises:
        WrongFileKeys: One is encrypted under a key that is not held.
    """
    try:
        for path in keyed_files(paths):
            wanted = named_key(read_salt(path))
            if wanted is None or keys.find(wanted) is not None:
                continue
            missing = (
                f"which {keys.source} does not hold"
                if keys
                else "and no key was given (--key-file)"
            )
            raise WrongFileKeys(f"{path} is encrypted under key {wanted}, {missing}")
    except OSError as error:
        raise WrongFileKeys(f"{paths.data}: {error.strerror}") from error


def check_files(paths: EdgePaths, keys: FileKeys) -> None:
    """
    Check as `check_keys` does, and that nothing in the folder is plain although there are keys.

    Raises:
        WrongFileKeys: A file does not fit the keys.
    """
    check_keys(paths, keys)
    if not keys:
        return
    try:
        plain = next((path for path in _files(paths.data) if is_plain(read_salt(path))), None)
    except OSError as error:
        raise WrongFileKeys(f"{paths.data}: {error.strerror}") from error
    if plain is not None:
        raise WrongFileKeys(
            f"{plain} is not encrypted, but {keys.source} gives a key: run `edge rekey` first"
        )


def _files(folder: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(directory) / name
            if path.is_file() and not path.is_symlink():
                yield path

"""
Another key for the files of an edge that does not run, or the first one.

Each file is changed in one step (`cache_sync.rekey`), the journal first. Whatever ends the process in between, every
file is whole, under an older key or the current one, and doing it again finishes.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from cache_sync.file_keys import FileKeys
from cache_sync.rekey import rekey_file
from cache_sync.snapshot_folder import SnapshotFolder
from edge_portal.file_check import check_files, check_keys, keyed_files, snapshot_folders_in
from edge_portal.settings import EdgePaths


def rekey_folder(paths: EdgePaths, keys: FileKeys, told: Callable[[Path], None]) -> None:
    """
    Encrypt the journal and every current snapshot under the current key, and remove what can be fetched or made anew.

    Args:
        paths: Of the edge, whose folder the caller has locked.
        keys: The current key, and the older ones that files are under now.
        told: Called with every file that was changed.

    Raises:
        WrongFileKeys: A file is under a key that is not held, and nothing was changed; or one is plain that is none
            of the edge's.
        SyncError: A file is damaged, or the disk refused; it is as it was.
        OSError: The disk refused to remove something.
    """
    check_keys(paths, keys)
    folders = snapshot_folders_in(paths)
    for leftover in (paths.handed_out, *(folder / "download" for folder in folders)):
        if leftover.exists():
            shutil.rmtree(leftover)
    for folder in folders:
        SnapshotFolder(folder).remove_unneeded(keep=set())
    for path in keyed_files(paths):
        if rekey_file(path, keys, keys):
            told(path)
    check_files(paths, keys)

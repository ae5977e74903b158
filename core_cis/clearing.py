"""
What a forgotten person leaves beside the rows of the books, and how it goes.

That is snapshot files, the replica that they are cut from, and pages of the database where deleted rows were.
"""

from pathlib import Path
from shutil import rmtree

from cache_sync.errors import StorageFailed
from cache_sync.sql import OperationalError
from core_cis.database import Database
from core_cis.errors import SnapshotsBusy
from core_cis.snapshot_builder import building
from core_cis.snapshot_shelves import FOLDER_NAME, replica_folder, shelf_of

# Where `forgetting` deletes or empties rows, and where the documents of them stood.
TABLES = (
    "customers",
    "payment_methods",
    "service_points",
    "meters",
    "interval_blocks",
    "register_reads",
    "import_findings",
    "service_point_tariffs",
    "statements",
    "payments",
    "messages",
    "tickets",
    "service_requests",
    "documents",
)


def clear_files(data_dir: Path, shards: list[str]) -> str:
    """
    Remove the snapshot files of shards and what they are cut from; return why that cannot be now, empty when done.

    The next ones are built anew when they are due. Nodes are not offered the old ones meanwhile in any case.
    """
    if not (data_dir / FOLDER_NAME).is_dir():
        return ""
    try:
        with building(data_dir):
            for shard in shards:
                shelf_of(data_dir, shard).clear()
                if replica_folder(data_dir, shard).is_dir():
                    rmtree(replica_folder(data_dir, shard))
    except (SnapshotsBusy, StorageFailed, OSError) as error:
        return f"old snapshot files are still there: {error}"
    return ""


def clear_database(database: Database) -> str:
    """Rewrite the database; return why that cannot be now, empty when it is done."""
    try:
        done = database.rewrite(TABLES)
    except OperationalError as error:
        return f"the database could not be rewritten now: {error}"
    return "" if done else "the database was rewritten, but its write-ahead log is being read"

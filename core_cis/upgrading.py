"""
Bringing a core that an older release made up to date, in one transaction that others wait for.

The steps are alembic's, in `migrations`. A core of this release never comes here: its version is compared first.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, NullPool, create_engine, event

from cache_sync import sqlite
from core_cis.versions import SCHEMA_VERSION, revision

_SCRIPTS = Path(__file__).parent / "migrations"


def upgrade_file(path: Path, version: int) -> None:
    """
    Bring a SQLite core from a schema version to this release's.

    Safe when several processes do it at once: the first one does it, the others then find it done.

    Raises:
        sqlalchemy.exc.DBAPIError: The disk refused; nothing was changed.
    """
    engine = create_engine(
        "sqlite+pysqlite://",
        creator=lambda: sqlite.connect(path, synchronous="FULL"),
        module=sqlite.dbapi2,  # type: ignore[attr-defined] # the driver of the file, for SQLAlchemy alone
        poolclass=NullPool,
    )
    # The driver begins nothing by itself; without this every statement would be committed alone.
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as connection:
        found = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
        if found == version:
            config = _config(connection)
            command.stamp(config, revision(version), purge=True)
            command.upgrade(config, revision(SCHEMA_VERSION))
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def upgrade_server(engine: Engine, lock: str) -> None:
    """
    Bring a PostgreSQL core to this release's schema version.

    Args:
        engine: Whose connections begin transactions as SQLAlchemy expects it.
        lock: The statement that lets one process do it at a time.
    """
    with engine.begin() as connection:
        connection.exec_driver_sql(lock)
        command.upgrade(_config(connection), revision(SCHEMA_VERSION))


def _config(connection: object) -> Config:
    config = Config()
    # The reader of configurations takes a percent sign for a variable.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config

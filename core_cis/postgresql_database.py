"""A core's books on PostgreSQL."""

from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom

import psycopg
from sqlalchemy import URL, NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from cache_sync.document_source import DocumentSource
from cache_sync.sql import Connection, OperationalError, write
from core_cis.errors import DatabaseUnreachable
from core_cis.postgresql import PostgresConnection, open_engine
from core_cis.postgresql_watch import NOTIFY, PostgresSource
from core_cis.versions import SCHEMA_VERSION, check_version, revision, version_of

# Two numbers, so that it is never the lock of an account (`core_cis.locks`), which has one.
_SCHEMA_LOCK = "SELECT pg_advisory_xact_lock(7311, 1)"
# A table of a large core takes minutes.
REWRITE_SECONDS_MAX = 3600.0
_VERSION_TABLE = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"


class PostgresDatabase:
    """
    A database on a PostgreSQL server; every core of it has a database of its own.

    Args:
        url: Where it is; with a password only where nobody else can read it.
        connections_max: The most connections that this process opens.
    """

    def __init__(self, url: URL, *, connections_max: int) -> None:
        self._url = url
        self._engine = open_engine(url, connections_max=connections_max)
        self._documents = PostgresSource(self._engine, SystemRandom())

    @property
    def name(self) -> str:
        """Its URL without a password."""
        return self._url.set(password=None).render_as_string()

    @property
    def file(self) -> Path | None:
        """It is in no file of ours."""
        return None

    def is_made(self) -> bool:
        """Tell whether it has the tables of a core."""
        connection = self._connect()
        try:
            return self._version(connection) is not None
        finally:
            connection.close()

    def make(self) -> None:
        """Make the tables in an empty database, or upgrade them."""
        connection = self._connect()
        try:
            version = self._version(connection)
            if version is None:
                with write(connection):
                    connection.execute(_SCHEMA_LOCK)
                    # Asked again: another process may have been faster.
                    if self._version(connection) is None:
                        self._create(connection)
                version = self._version(connection) or 0
        finally:
            connection.close()
        check_version(version, self.name)
        if version < SCHEMA_VERSION:
            self._upgrade()

    def _connect(self) -> PostgresConnection:
        connection = PostgresConnection(self._engine)
        try:
            connection.execute("SELECT 1").fetchone()
        except OperationalError as error:
            raise DatabaseUnreachable(
                f"{self.name} cannot be used: {error}. A password comes from PGPASSFILE, PGPASSWORD or the file that"
                " RIDETHROUGH_DATABASE_PASSWORD_FILE names"
            ) from error
        return connection

    def _version(self, connection: Connection) -> int | None:
        (there,) = connection.execute(
            "SELECT to_regclass('alembic_version') IS NOT NULL"
        ).fetchone()
        if not there:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return version_of(row[0]) if row else None

    def _create(self, connection: Connection) -> None:
        from core_cis.schema import create_statements  # noqa: PLC0415 - a made core starts without it

        (there,) = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p')"
            " AND relnamespace = current_schema()::regnamespace"
        ).fetchone()
        if there:
            check_version(0, self.name)
        for statement in (*create_statements("postgresql"), _VERSION_TABLE):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO alembic_version (version_num) VALUES (?)", (revision(SCHEMA_VERSION),)
        )

    def _upgrade(self) -> None:
        from core_cis.upgrading import upgrade_server  # noqa: PLC0415 - likewise

        engine = create_engine(self._url.set(drivername="postgresql+psycopg"), poolclass=NullPool)
        try:
            upgrade_server(engine, _SCHEMA_LOCK)
        except (SQLAlchemyError, psycopg.Error) as error:
            raise DatabaseUnreachable(f"{self.name} could not be upgraded: {error}") from error

    def open_writer(self) -> Connection:
        """Open a connection that may write."""
        return PostgresConnection(self._engine)

    def open_reader(self, *, same_thread: bool = True) -> Connection:
        """Open a connection for questions; read transactions refuse to write."""
        del same_thread
        return PostgresConnection(self._engine)

    def documents(self) -> DocumentSource:
        """Give what the feed reads."""
        return self._documents

    def announce(self, connection: Connection) -> None:
        """Have the server tell those who listen, when it commits."""
        connection.execute(NOTIFY)

    def rewrite(self, tables: Sequence[str]) -> bool:
        """
        Have the server write the tables anew; each is closed to everybody meanwhile.

        Its statistics quote from the tables (the commonest values, the bounds of histograms): they are made anew, and
        written anew, too. The owner of a database may do that; another user is warned by the server, not refused.
        """
        connection = PostgresConnection(self._engine, statement_seconds_max=REWRITE_SECONDS_MAX)
        try:
            for table in tables:
                connection.execute(f"VACUUM (FULL, ANALYZE) {table}")
            connection.execute("VACUUM (FULL) pg_statistic")
        finally:
            connection.close()
        return True

    def close(self) -> None:
        """Close every connection."""
        self._documents.close()
        self._engine.dispose()

"""
PostgreSQL, called as `cache_sync.sql` says: the one place that knows its driver.

A connection belongs to one thread at a time. Between transactions it heals by itself: one that the server has lost is
replaced when the next transaction begins, or the next single question is asked. Within a transaction nothing is
repeated: the caller is told, and knows what has to be done again.

What a session is bounded by is set when it begins (`SESSION`): nobody waits for ever for a lock, and a client that
stands still in the middle of a transaction is thrown out instead of keeping all others waiting.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.types.numeric import Int8BinaryDumper, NumericBinaryLoader
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection

from cache_sync.sql import (
    CommitUnknown,
    DatabaseError,
    Error,
    IntegrityError,
    OperationalError,
    Rows,
    TransactionConflict,
)

CONNECT_SECONDS_MAX = 5
SESSION = {
    # Whoever waits longer than this for another transaction is told that the core is busy.
    "lock_timeout": "10s",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "15s",
    # The answer to a commit means that it is on the disk.
    "synchronous_commit": "on",
}
# A connection whose other end has vanished without a word is given up after some 15 s.
_KEEPALIVE = {
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
_STREAMED_ROWS = 500
_BEGIN_WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_ResultT = TypeVar("_ResultT")


def open_engine(url: URL, *, connections_max: int) -> Engine:
    """
    Make the pool of connections to a database.

    Args:
        url: Where it is and as whom; a password that is not in it comes from where libpq looks (`PGPASSFILE`,
            `PGPASSWORD`, `~/.pgpass`).
        connections_max: The most that are open at once.
    """
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=connections_max,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS_MAX,
        # Its own transactions are ours to begin; a question costs no empty one around it.
        connect_args={
            "autocommit": True,
            "connect_timeout": CONNECT_SECONDS_MAX,
            "application_name": "ridethrough core",
            **_KEEPALIVE,
        },
    )
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(raw: psycopg.Connection[Any], _: object) -> None:
    settings = "; ".join(f"SET {name} = '{value}'" for name, value in SESSION.items())
    raw.execute(settings.encode())
    adapters = raw.adapters
    # Every whole number is sent as the same type, whatever its size: a statement is then prepared once.
    adapters.register_dumper(int, _WholeNumber)
    adapters.register_dumper(bool, _Refused)
    adapters.register_dumper(float, _Refused)
    # Sums of bigint are numeric there; ours are whole.
    adapters.register_loader("numeric", _WholeSum)


class _WholeNumber(Int8BinaryDumper):
    def upgrade(self, obj: Any, format: Any) -> Dumper:  # noqa: A002, ARG002 - as the driver calls it
        return self

    def get_key(self, obj: Any, format: Any) -> Any:  # noqa: A002, ARG002 - as the driver calls it
        return self.cls


class _Refused(Dumper):
    """PostgreSQL would round a float into an integer column, and SQLite's strict tables refuse it: so is it here."""

    def dump(self, obj: Any) -> Buffer:
        raise psycopg.DataError(f"the books hold no {type(obj).__name__}")


class _WholeSum(NumericBinaryLoader):
    def load(self, data: Buffer) -> Any:
        number = super().load(data)
        whole = int(number)
        return whole if whole == number else number


@lru_cache(maxsize=1024)
def translated(sql: str) -> bytes:
    """Write a statement's ``?`` and ``:name`` as the driver wants them; what stands in quotes stays."""
    return _PLACES.sub(_place, sql).encode()


_PLACES = re.compile(r"'(?:[^']|'')*'|::|\?|%|:([a-z_]+)")


def _place(found: re.Match[str]) -> str:
    whole = found.group()
    if whole == "?":
        return "%s"
    if found.group(1):
        return f"%({found.group(1)})s"
    return whole.replace("%", "%%")


class PostgresConnection:
    """
    A connection out of the pool, kept until it is closed or broken.

    Args:
        engine: The pool.
        statement_seconds_max: How long a statement may take, and a transaction stand still; None for as long as in
            every session.
    """

    def __init__(self, engine: Engine, *, statement_seconds_max: float | None = None) -> None:
        self._engine = engine
        self._statement_seconds_max = statement_seconds_max
        self._held: PoolProxiedConnection | None = None
        self._raw: psycopg.Connection[Any] | None = None
        self._begun = False
        self._listening: psycopg.Connection[Any] | None = None

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open; not when the connection is lost, and the transaction with it."""
        raw = self._raw
        return self._begun and raw is not None and not raw.closed

    def begin(self, *, writing: bool) -> None:
        """Begin a transaction, on a new connection when the server has lost this one."""
        self._begun = False
        self._alone(lambda raw: raw.execute(_BEGIN_WRITING if writing else _BEGIN_READING))
        self._begun = True

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = (), /) -> Rows:
        """
        Run one statement.

        Raises:
            IntegrityError: The database refused what it should hold.
            TransactionConflict: Another transaction was in the way: repeat the whole one.
            CommitUnknown: The connection was lost while committing.
            OperationalError: The server does not answer, or not in time.
        """

        def run(raw: psycopg.Connection[Any]) -> Rows:
            cursor = raw.cursor(binary=True)
            # Without values nothing is a placeholder for the driver either.
            cursor.execute(translated(sql), parameters)
            return cursor

        if not self._begun:
            return self._alone(run, again=sql.lstrip().startswith("SELECT"))
        if sql in {"COMMIT", "ROLLBACK"}:
            return self._end(sql)
        with _told():
            return run(self._within())

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Rows:
        """Run one statement for each set of values, in one exchange with the server; within a transaction."""
        assert self._begun, "several statements belong into a transaction"
        with _told():
            cursor = self._within().cursor(binary=True)
            cursor.executemany(translated(sql), parameters)
            return cursor

    def stream(self, sql: str, parameters: Sequence[Any] = (), /) -> Iterator[Any]:
        """Run a query and fetch its rows some hundred at a time; within a transaction."""
        assert self._begun, "a result in parts belongs into a transaction"
        with _told(), self._within().cursor("streamed", binary=True) as cursor:
            cursor.itersize = _STREAMED_ROWS
            cursor.execute(translated(sql), parameters)
            yield from cursor

    def wait_for_notice(self, channel: str, seconds: float) -> None:
        """Wait until somebody notifies a channel, but no longer than told; not at all when it only begins to listen."""
        with _told():
            raw = self._connected()
            if raw is not self._listening:
                raw.execute(f"LISTEN {channel}".encode())
                self._listening = raw
                return
            for _ in raw.notifies(timeout=seconds, stop_after=1):
                pass

    def close(self) -> None:
        """Give the connection back."""
        # Back in the pool, one in the middle of something, or one that was changed, would surprise the next.
        changed = self._listening is not None or self._statement_seconds_max is not None
        self._drop(broken=self._begun or changed)
        self._begun = False

    def _within(self) -> psycopg.Connection[Any]:
        # A statement must never slip out of a transaction that was lost, onto another connection.
        if self._raw is None or self._raw.closed:
            raise psycopg.OperationalError("the connection was lost, and the transaction with it")
        return self._raw

    def _end(self, how: str) -> Rows:
        begun, self._begun = self._begun, False
        assert begun, "only what was begun can end"
        with _told():
            raw = self._within()
        with _told(committing=how == "COMMIT"):
            cursor = raw.execute(how.encode())
            # Asked to commit what had failed before, the server rolls back and calls it a success.
            if cursor.statusmessage != how:
                raise psycopg.InternalError("the transaction had failed before, and was undone")
            return cursor

    def _alone(
        self, run: Callable[[psycopg.Connection[Any]], _ResultT], *, again: bool = True
    ) -> _ResultT:
        """Run what stands alone: on a connection that the server had already lost, nothing was done, so once more."""
        with _told():
            kept = self._raw is not None
            raw = self._connected()
            try:
                return run(raw)
            except psycopg.OperationalError:
                if not raw.closed:
                    raise
                self._drop(broken=True)
                if not (kept and again):
                    raise
            return run(self._connected())

    def _connected(self) -> psycopg.Connection[Any]:
        if self._raw is not None and self._raw.closed:
            self._drop(broken=True)
        if self._raw is None:
            self._held = self._engine.raw_connection()
            raw = self._held.driver_connection
            assert isinstance(raw, psycopg.Connection), "the pool is of this driver"
            self._raw = raw
            try:
                self._bound(raw)
            except BaseException:
                self._drop(broken=True)
                raise
        return self._raw

    def _bound(self, raw: psycopg.Connection[Any]) -> None:
        if self._statement_seconds_max is not None:
            limit = int(self._statement_seconds_max * 1000)
            for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
                raw.execute(f"SET {name} = {limit}".encode())

    def _drop(self, *, broken: bool) -> None:
        held, self._held, self._raw = self._held, None, None
        if held is not None:
            with suppress(SQLAlchemyError, psycopg.Error):
                if broken:
                    held.invalidate()
                else:
                    held.close()


@contextmanager
def _told(*, committing: bool = False) -> Iterator[None]:
    """Say what went wrong in the words of `cache_sync.sql`; the server's own sentence may quote a customer's data."""
    try:
        yield
    except psycopg.Error as error:
        raise _meaning(error, committing=committing) from error
    except SQLAlchemyError as error:
        raise OperationalError(f"PostgreSQL: {type(error).__name__}") from error


def _meaning(error: psycopg.Error, *, committing: bool) -> Error:
    code = error.sqlstate or ""
    sentence = (error.diag.message_primary or str(error)).strip().splitlines()
    told = f"PostgreSQL: {sentence[0] if sentence else type(error).__name__}"
    if isinstance(error, psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected):
        return TransactionConflict(told)
    if isinstance(error, psycopg.IntegrityError | psycopg.DataError):
        return IntegrityError(told)
    if isinstance(error, psycopg.OperationalError):
        # Without a code the server said nothing: the connection was lost, and it may have done what it was told.
        lost = not code or code.startswith(("08", "57P"))
        return CommitUnknown(told) if committing and lost else OperationalError(told)
    return DatabaseError(told)

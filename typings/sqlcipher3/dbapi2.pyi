# Types of sqlcipher3, which ships none: the standard library's sqlite3 of Python 3.11, with keys for encryption and
# without what the package leaves out (iterdump, serialize, limits). Checked by calling it, version 0.6.4.
import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Protocol, Self, SupportsIndex, TypeAlias, TypeVar, final, overload

from _typeshed import ReadableBuffer, SupportsLenAndGetItem

_CursorT = TypeVar("_CursorT", bound=Cursor)
_ConnectionT = TypeVar("_ConnectionT", bound=Connection)
_Value: TypeAlias = str | ReadableBuffer | int | float | None
# Any: registered adapters accept more than SQLite's own types.
_Parameters: TypeAlias = SupportsLenAndGetItem[Any] | Mapping[str, Any]
_Isolation: TypeAlias = Literal["DEFERRED", "IMMEDIATE", "EXCLUSIVE"] | None
_RowFactory: TypeAlias = type[Row] | Callable[[Cursor, tuple[Any, ...]], object] | None

class _Aggregate(Protocol):
    step: Callable[..., object]
    def finalize(self) -> _Value: ...

class _WindowAggregate(Protocol):
    step: Callable[..., object]
    inverse: Callable[..., object]
    def value(self) -> _Value: ...
    def finalize(self) -> _Value: ...

class Error(Exception):
    # Absent on errors that the driver raises without asking SQLite.
    sqlite_errorcode: int
    sqlite_errorname: str

class Warning(Exception): ...
class InterfaceError(Error): ...
class DatabaseError(Error): ...
class DataError(DatabaseError): ...
class IntegrityError(DatabaseError): ...
class InternalError(DatabaseError): ...
class NotSupportedError(DatabaseError): ...
class OperationalError(DatabaseError): ...
class ProgrammingError(DatabaseError): ...

class Connection:
    isolation_level: _Isolation
    row_factory: _RowFactory
    text_factory: Callable[[bytes], object]
    def __init__(
        self,
        database: str | bytes | PathLike[str] | PathLike[bytes],
        timeout: float = 5.0,
        detect_types: int = 0,
        isolation_level: _Isolation = "DEFERRED",
        check_same_thread: bool = True,
        factory: type[Connection] = ...,
        cached_statements: int = 128,
        uri: bool = False,
        flags: int = ...,
        vfs: str | None = None,
    ) -> None: ...
    @property
    def in_transaction(self) -> bool: ...
    @property
    def total_changes(self) -> int: ...
    # Encryption: a passphrase, or raw key material; before the first statement.
    def set_key(self, key: str | bytes) -> None: ...
    def reset_key(self, key: str | bytes) -> None: ...
    def set_busy_timeout(self, timeout: float) -> None: ...
    def set_busy_handler(self, handler: Callable[[int], int] | None) -> None: ...
    def close(self) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def interrupt(self) -> None: ...
    @overload
    def cursor(self, factory: None = None) -> Cursor: ...
    @overload
    def cursor(self, factory: Callable[[Connection], _CursorT]) -> _CursorT: ...
    def execute(self, sql: str, parameters: _Parameters = ..., /) -> Cursor: ...
    def executemany(self, sql: str, parameters: Iterable[_Parameters], /) -> Cursor: ...
    def executescript(self, sql_script: str, /) -> Cursor: ...
    def create_function(
        self,
        name: str,
        narg: int,
        func: Callable[..., _Value] | None,
        *,
        deterministic: bool = False,
    ) -> None: ...
    def create_aggregate(
        self, name: str, n_arg: int, aggregate_class: Callable[[], _Aggregate]
    ) -> None: ...
    def create_window_function(
        self, name: str, num_params: int, aggregate_class: Callable[[], _WindowAggregate] | None, /
    ) -> None: ...
    def create_collation(
        self, name: str, callback: Callable[[str, str], SupportsIndex] | None, /
    ) -> None: ...
    def set_authorizer(
        self,
        authorizer_callback: Callable[[int, str | None, str | None, str | None, str | None], int]
        | None,
    ) -> None: ...
    def set_progress_handler(
        self, progress_handler: Callable[[], int | None] | None, n: int
    ) -> None: ...
    def set_trace_callback(self, trace_callback: Callable[[str], object] | None) -> None: ...
    def enable_load_extension(self, enable: bool, /) -> None: ...
    def load_extension(self, name: str, /) -> None: ...
    def backup(
        self,
        target: Connection,
        *,
        pages: int = -1,
        progress: Callable[[int, int, int], object] | None = None,
        name: str = "main",
        sleep: float = 0.25,
    ) -> None: ...
    def open_blob(
        self, table: str, column: str, row: int, readonly: bool = False, dbname: str = "main"
    ) -> Blob: ...
    def __call__(self, sql: str, /) -> Statement: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Literal[False]: ...

class Cursor(Iterator[Any]):
    arraysize: int
    row_factory: _RowFactory
    def __init__(self, connection: Connection, /) -> None: ...
    @property
    def connection(self) -> Connection: ...
    # Any beside None: a caller who has just run a SELECT knows that it is there.
    @property
    def description(self) -> tuple[tuple[str, None, None, None, None, None, None], ...] | Any: ...
    @property
    def lastrowid(self) -> int | None: ...
    @property
    def rowcount(self) -> int: ...
    def close(self) -> None: ...
    def execute(self, sql: str, parameters: _Parameters = (), /) -> Self: ...
    def executemany(self, sql: str, parameters: Iterable[_Parameters], /) -> Self: ...
    def executescript(self, sql_script: str, /) -> Cursor: ...
    def fetchone(self) -> Any: ...
    def fetchmany(self, size: int = 1) -> list[Any]: ...
    def fetchall(self) -> list[Any]: ...
    def setinputsizes(self, sizes: object, /) -> None: ...
    def setoutputsize(self, size: object, column: object = None, /) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...

class Row(Sequence[Any]):
    def __new__(cls, cursor: Cursor, data: tuple[Any, ...], /) -> Self: ...
    def keys(self) -> list[str]: ...
    @overload
    def __getitem__(self, key: int | str, /) -> Any: ...
    @overload
    def __getitem__(self, key: slice, /) -> tuple[Any, ...]: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def __hash__(self) -> int: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __lt__(self, value: object, /) -> bool: ...
    def __le__(self, value: object, /) -> bool: ...
    def __gt__(self, value: object, /) -> bool: ...
    def __ge__(self, value: object, /) -> bool: ...

# Reached only through open_blob(); the module does not export its name.
@final
class Blob:
    def close(self) -> None: ...
    def read(self, length: int = -1, /) -> bytes: ...
    def write(self, data: ReadableBuffer, /) -> None: ...
    def tell(self) -> int: ...
    def seek(self, offset: int, origin: int = 0, /) -> None: ...
    def __len__(self) -> int: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, type: object, value: object, traceback: object, /) -> Literal[False]: ...
    def __getitem__(self, key: SupportsIndex | slice, /) -> int: ...

@final
class Statement: ...

@final
class PrepareProtocol:
    def __init__(self, *args: object, **kwargs: object) -> None: ...

@overload
def connect(
    database: str | bytes | PathLike[str] | PathLike[bytes],
    timeout: float = 5.0,
    detect_types: int = 0,
    isolation_level: _Isolation = "DEFERRED",
    check_same_thread: bool = True,
    *,
    cached_statements: int = 128,
    uri: bool = False,
    flags: int = ...,
    vfs: str | None = None,
) -> Connection: ...
@overload
def connect(
    database: str | bytes | PathLike[str] | PathLike[bytes],
    timeout: float = 5.0,
    detect_types: int = 0,
    isolation_level: _Isolation = "DEFERRED",
    check_same_thread: bool = True,
    *,
    factory: type[_ConnectionT],
    cached_statements: int = 128,
    uri: bool = False,
    flags: int = ...,
    vfs: str | None = None,
) -> _ConnectionT: ...
def adapt(value: object, protocol: object = ..., alternative: object = ..., /) -> Any: ...
def complete_statement(statement: str) -> bool: ...
def enable_callback_tracebacks(enable: bool, /) -> None: ...
def enable_shared_cache(do_enable: int) -> None: ...
def register_adapter(type: type[Any], adapter: Callable[[Any], _Value], /) -> None: ...
def register_converter(typename: str, converter: Callable[[bytes], Any], /) -> None: ...

Binary = memoryview
Date = datetime.date
Time = datetime.time
Timestamp = datetime.datetime
OptimizedUnicode = str

def DateFromTicks(ticks: float) -> Date: ...
def TimeFromTicks(ticks: float) -> Time: ...
def TimestampFromTicks(ticks: float) -> Timestamp: ...

apilevel: str
paramstyle: str
threadsafety: int
version: str
sqlite_version: str
version_info: tuple[int, ...]
sqlite_version_info: tuple[int, ...]
adapters: dict[tuple[type[Any], type[Any]], Callable[[Any], _Value]]
converters: dict[str, Callable[[bytes], Any]]

PARSE_COLNAMES: int
PARSE_DECLTYPES: int
SQLITE_ABORT: int
SQLITE_ALTER_TABLE: int
SQLITE_ANALYZE: int
SQLITE_ATTACH: int
SQLITE_AUTH: int
SQLITE_BUSY: int
SQLITE_CANTOPEN: int
SQLITE_CONSTRAINT: int
SQLITE_CORRUPT: int
SQLITE_CREATE_INDEX: int
SQLITE_CREATE_TABLE: int
SQLITE_CREATE_TEMP_INDEX: int
SQLITE_CREATE_TEMP_TABLE: int
SQLITE_CREATE_TEMP_TRIGGER: int
SQLITE_CREATE_TEMP_VIEW: int
SQLITE_CREATE_TRIGGER: int
SQLITE_CREATE_VIEW: int
SQLITE_CREATE_VTABLE: int
SQLITE_DELETE: int
SQLITE_DENY: int
SQLITE_DETACH: int
SQLITE_DONE: int
SQLITE_DROP_INDEX: int
SQLITE_DROP_TABLE: int
SQLITE_DROP_TEMP_INDEX: int
SQLITE_DROP_TEMP_TABLE: int
SQLITE_DROP_TEMP_TRIGGER: int
SQLITE_DROP_TEMP_VIEW: int
SQLITE_DROP_TRIGGER: int
SQLITE_DROP_VIEW: int
SQLITE_DROP_VTABLE: int
SQLITE_EMPTY: int
SQLITE_ERROR: int
SQLITE_FORMAT: int
SQLITE_FULL: int
SQLITE_FUNCTION: int
SQLITE_IGNORE: int
SQLITE_INSERT: int
SQLITE_INTERNAL: int
SQLITE_INTERRUPT: int
SQLITE_IOERR: int
SQLITE_LOCKED: int
SQLITE_MISMATCH: int
SQLITE_MISUSE: int
SQLITE_NOLFS: int
SQLITE_NOMEM: int
SQLITE_NOTADB: int
SQLITE_NOTFOUND: int
SQLITE_OK: int
SQLITE_OPEN_CREATE: int
SQLITE_OPEN_FULLMUTEX: int
SQLITE_OPEN_MEMORY: int
SQLITE_OPEN_NOMUTEX: int
SQLITE_OPEN_PRIVATECACHE: int
SQLITE_OPEN_READONLY: int
SQLITE_OPEN_READWRITE: int
SQLITE_OPEN_SHAREDCACHE: int
SQLITE_OPEN_URI: int
SQLITE_PERM: int
SQLITE_PRAGMA: int
SQLITE_PROTOCOL: int
SQLITE_RANGE: int
SQLITE_READ: int
SQLITE_READONLY: int
SQLITE_RECURSIVE: int
SQLITE_REINDEX: int
SQLITE_ROW: int
SQLITE_SAVEPOINT: int
SQLITE_SCHEMA: int
SQLITE_SELECT: int
SQLITE_TOOBIG: int
SQLITE_TRANSACTION: int
SQLITE_UPDATE: int

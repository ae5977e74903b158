"""
The core's database: who writes, in which transactions, under which stamp.

Every write is one `transaction()`: it holds the file's only write lock from its start and takes the next stamp of core
time, so commits of the server, of `core import` and of `core bill` beside it are ordered as one history. A domain
change and the documents that it publishes belong into the same transaction; the documents go out as its last step.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Self

import msgspec

from cache_sync.clock import Clock
from cache_sync.core_time import create_core_clock, stamp
from cache_sync.document_table import create_documents, read_shards
from cache_sync.documents import KNOWN_VERSIONS, Body, encode_body
from cache_sync.frames import Position
from cache_sync.publication import Change, Name, begin_shard, create_commits
from cache_sync.shards import SHARDS_MAX, shard_names
from cache_sync.sqlite import Connection, connect, read, write
from core_cis.errors import SettingsConflict
from core_cis.instants import local_date
from core_cis.keys import CoreKeys, load_keys
from core_cis.outgoing import Outgoing
from core_cis.schema import create_tables
from core_cis.settings import Utility

DATABASE_NAME = "core.db"
_FIRST_EPOCH = 1
_UTILITY_COLUMNS = tuple(field.name for field in msgspec.structs.fields(Utility))


class Transaction:
    """
    A write transaction: all of it is committed, or nothing.

    ``stamp`` is the core time of its commit. Use `savepoint` for parts that may fail alone.
    """

    def __init__(
        self,
        connection: Connection,
        stamp: datetime,
        utility: Utility,
        lookup_key: bytes,
        outgoing: Outgoing,
    ) -> None:
        self.connection = connection
        self.stamp = stamp
        self.utility = utility
        self.lookup_key = lookup_key
        self._outgoing = outgoing

    @property
    def today(self) -> date:
        """The date of this transaction in the utility's time zone."""
        return local_date(self.stamp, self.utility.timezone)

    def publish(self, account_id: str, kind: str, key: str, body: Body | None) -> None:
        """Publish a document's new state when the transaction ends, None to withdraw it."""
        encoded = None if body is None else encode_body(body)
        self.publish_encoded(account_id, kind, key, encoded)

    def publish_encoded(self, account_id: str, kind: str, key: str, body: bytes | None) -> None:
        """Publish a document whose body is encoded already, as `publish` does."""
        version = KNOWN_VERSIONS.get(kind, 1)
        self._outgoing.put(Change(Name(account_id, kind, key), body, version))

    def was_published(self, account_id: str, kind: str, key: str) -> bool:
        """Tell whether a document has ever been published, or will be when the transaction ends."""
        return self._outgoing.is_known(Name(account_id, kind, key))

    def locate(self, account_id: str, kind: str, key: str) -> None:
        """Have `position` tell where a document stands when the transaction has ended, changed or not."""
        self._outgoing.locate(Name(account_id, kind, key))

    def position(self, account_id: str, kind: str, key: str) -> Position:
        """Tell where a document that was published or located stands; after the transaction has ended."""
        return self._outgoing.position(Name(account_id, kind, key))

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Run a block whose changes are undone alone when it raises; the exception goes on."""
        self.connection.execute("SAVEPOINT part")
        try:
            with self._outgoing.part():
                yield
        except BaseException:
            # An error of the disk may have ended the whole transaction.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK TO part")
                self.connection.execute("RELEASE part")
            raise
        self.connection.execute("RELEASE part")


class CoreStore:
    """
    One process's door to the core's database.

    Belongs to the thread that opened it. Other processes may have theirs open on the same folder at the same time.
    """

    def __init__(
        self, data_dir: Path, connection: Connection, clock: Clock, keys: CoreKeys
    ) -> None:
        self.data_dir = data_dir
        self.connection = connection
        self.keys = keys
        self.shards = read_shards(connection)
        self._clock = clock

    @classmethod
    def open(
        cls,
        data_dir: Path,
        clock: Clock,
        *,
        utility: Utility | None = None,
        shards: int | None = None,
    ) -> Self:
        """
        Open the core of a folder, making folder, keys and tables at first use.

        Args:
            data_dir: The core's folder.
            clock: Where commits take their time from.
            utility: Whose books these are, for a new core; an existing one keeps what it was made with.
            shards: How many shards a new core's accounts are parted into, 1 when it is not said; an existing core
                has as many as it was made with.

        Raises:
            UnknownSchema: The database is of another version.
            SettingsConflict: The core has another number of shards.
        """
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        keys = load_keys(data_dir)
        connection = connect(data_dir / DATABASE_NAME, synchronous="FULL")
        try:
            with write(connection):
                create_tables(connection)
                create_documents(connection)
                create_commits(connection)
                create_core_clock(connection)
                _keep_shards(connection, shards)
                _keep_utility(connection, utility or Utility())
        except BaseException:
            connection.close()
            raise
        return cls(data_dir, connection, clock, keys)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connection."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Run a block as one write transaction with the next stamp of core time."""
        with write(self.connection) as connection:
            taken = stamp(connection, self._clock.now())
            utility = read_utility(connection)
            outgoing = Outgoing(connection, len(self.shards))
            yield Transaction(connection, taken, utility, self.keys.lookup_key_bytes, outgoing)
            outgoing.flush()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run a block against one unchanging state; never wait inside."""
        with read(self.connection) as connection:
            yield connection

    def utility(self) -> Utility:
        """Tell whose books these are."""
        return read_utility(self.connection)


def read_utility(connection: Connection) -> Utility:
    """Read the utility's settings."""
    columns = ", ".join(_UTILITY_COLUMNS)
    row = connection.execute(f"SELECT {columns} FROM utility").fetchone()  # noqa: S608 - our own names
    return Utility(**dict(zip(_UTILITY_COLUMNS, row, strict=True)))


def change_utility(tx: Transaction, utility: Utility) -> None:
    """
    Change whose books these are; the caller publishes again what shows it.

    Raises:
        SettingsConflict: Time zone or currency would change under readings, bills or entries that were made in them.
    """
    known = tx.utility
    moved = (known.timezone, known.currency) != (utility.timezone, utility.currency)
    if moved and any(
        tx.connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()  # noqa: S608 - our own names
        for table in ("interval_blocks", "statements", "ledger_transactions")
    ):
        raise SettingsConflict(
            "timezone or currency",
            "there are readings, statements or ledger entries in the present one",
        )
    values = msgspec.structs.asdict(utility)
    columns = ", ".join(f"{name} = :{name}" for name in _UTILITY_COLUMNS)
    tx.connection.execute(f"UPDATE utility SET {columns}", values)  # noqa: S608 - our own names
    tx.utility = utility


def _keep_shards(connection: Connection, wanted: int | None) -> None:
    if wanted is not None and not 1 <= wanted <= SHARDS_MAX:
        raise SettingsConflict("shards", f"1 to {SHARDS_MAX} are possible")
    known = read_shards(connection)
    if known:
        if wanted not in (None, len(known)):
            raise SettingsConflict(
                "shards",
                f"this core was made with {len(known)}, and accounts cannot move between them",
            )
        return
    for shard in shard_names(wanted or 1):
        begin_shard(connection, shard, _FIRST_EPOCH)


def _keep_utility(connection: Connection, utility: Utility) -> None:
    columns = ", ".join(_UTILITY_COLUMNS)
    places = ", ".join(f":{name}" for name in _UTILITY_COLUMNS)
    connection.execute(
        f"INSERT INTO utility (id, {columns}) VALUES (1, {places}) ON CONFLICT DO NOTHING",  # noqa: S608 - our own names
        msgspec.structs.asdict(utility),
    )


def new_id(prefix: str) -> str:
    """Make an id that nobody can guess and nobody else made."""
    return f"{prefix}{secrets.token_hex(8)}"

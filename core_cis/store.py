"""
The core's database: who writes, in which transactions, under which stamp.

Every write is one `transaction()`. In a file it holds the only write lock from its start and takes the next stamp of
core time; on a server transactions overlap, hold what they decide about (`core_cis.locks`), and take their stamp as the
last step. Either way commits of the server, of `core import` and of `core bill` beside it are ordered as one history.
A domain change and the documents that it publishes belong into the same transaction; the documents go out at its end.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from cache_sync.body_versions import FIRST_VERSION, encode_version
from cache_sync.clock import Clock
from cache_sync.core_time import foresee, stamp
from cache_sync.document_table import read_shards
from cache_sync.documents import Body
from cache_sync.feed import ClosedTime
from cache_sync.frames import Position
from cache_sync.packed_bodies import BODY_BYTES_MAX
from cache_sync.publication import Change, Name, begin_shard
from cache_sync.shards import SHARDS_MAX, shard_names
from cache_sync.sql import Connection, is_server, read, write
from core_cis.database import FILE_NAME, Database
from core_cis.database_choice import find_database
from core_cis.erasures import is_erased
from core_cis.errors import DatabaseInvalid, DocumentTooLarge, SettingsConflict
from core_cis.instants import local_date
from core_cis.keys import CoreKeys, has_keys, load_keys
from core_cis.locks import Locks
from core_cis.outgoing import Outgoing
from core_cis.repeating import repeated
from core_cis.settings import Utility
from core_cis.written_versions import begin_with_newest, read_written
from failover.token_seal import TokenSeal

DATABASE_NAME = FILE_NAME
_FIRST_EPOCH = 1
_ResultT = TypeVar("_ResultT")

_UTILITY_COLUMNS = tuple(field.name for field in msgspec.structs.fields(Utility))


class Transaction:
    """
    A write transaction: all of it is committed, or nothing.

    ``stamp`` is the core time that it writes into the books: of its commit in a file, a moment before on a server,
    where ``committed_stamp`` tells the commit's when it has ended. Use `savepoint` for parts that may fail alone.
    """

    def __init__(
        self,
        connection: Connection,
        stamp: datetime,
        utility: Utility,
        keys: CoreKeys,
        outgoing: Outgoing,
        locks: Locks,
    ) -> None:
        self.connection = connection
        self.stamp = stamp
        self.utility = utility
        self.lookup_key = keys.lookup_key_bytes
        self._token_seal = TokenSeal(keys.token_key) if keys.token_key else None
        self.committed_stamp = stamp
        self._outgoing = outgoing
        self._locks = locks
        self._written: dict[str, int] | None = None

    def seal_token(self, account_id: str, method_id: str, token: str) -> str | msgspec.UnsetType:
        """Seal a saved method's token for the edges that may charge it; unset where none may."""
        if self._token_seal is None:
            return msgspec.UNSET
        return self._token_seal.seal(token, account_id=account_id, method_id=method_id)

    def hold_accounts(self, account_ids: Iterable[str]) -> None:
        """Have accounts alone from here to the end, before reading what is decided by; those known together at once."""
        self._locks.accounts(account_ids)

    def hold_customer(self, customer_id: str) -> None:
        """Have a customer's sign-in alone from here to the end, before reading what is published of it."""
        self._locks.customer(customer_id)

    @property
    def today(self) -> date:
        """The date of this transaction in the utility's time zone."""
        return local_date(self.stamp, self.utility.timezone)

    def publish(self, account_id: str, kind: str, key: str, body: Body | None) -> None:
        """Publish a document's new state at the transaction's end, None to withdraw it. Raises as `publish_encoded`."""
        version = self._version_of(kind)
        encoded = None if body is None else encode_version(body, version)
        self.publish_encoded(account_id, kind, key, encoded, version)

    def publish_encoded(
        self,
        account_id: str,
        kind: str,
        key: str,
        body: bytes | None,
        version: int = FIRST_VERSION,
    ) -> None:
        """
        Publish a document whose body is encoded already in some version, as `publish` does.

        Raises:
            DocumentTooLarge: It is longer than edges take.
        """
        if body is not None:
            check_size(account_id, kind, body)
        self._outgoing.put(Change(Name(account_id, kind, key), body, version))

    def is_erased(self, account_id: str) -> bool:
        """Tell whether an account is a forgotten customer's: nothing of it is published any more."""
        return is_erased(self.connection, account_id)

    def _version_of(self, kind: str) -> int:
        # Asked once: whoever orders another version is alone in his transaction.
        if self._written is None:
            self._written = read_written(self.connection)
        return self._written[kind]

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
        held = self._locks.mark()
        try:
            with self._outgoing.part():
                yield
        except BaseException:
            # An error of the disk may have ended the whole transaction.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK TO part")
                self.connection.execute("RELEASE part")
                self._locks.forget_since(held)
            raise
        self.connection.execute("RELEASE part")


class CoreStore:
    """
    One process's door to the core's database.

    Belongs to the thread that opened it. Other processes may have theirs open on the same folder at the same time.

    Args:
        data_dir: The core's folder.
        database: Where its books are, made.
        clock: Where commits take their time from.
        keys: The core's.
        committed: Told the stamp of each commit once it is durable: a T that is closed, without a closing of its own.
    """

    def __init__(
        self,
        data_dir: Path,
        database: Database,
        clock: Clock,
        keys: CoreKeys,
        committed: Callable[[ClosedTime], None] = lambda _: None,
    ) -> None:
        connection = database.open_writer()
        self.data_dir = data_dir
        self.database = database
        self.connection = connection
        self.keys = keys
        self.shards = read_shards(connection)
        self._clock = clock
        self._committed = committed

    @classmethod
    def open(
        cls,
        data_dir: Path,
        clock: Clock,
        *,
        utility: Utility | None = None,
        shards: int | None = None,
        committed: Callable[[ClosedTime], None] = lambda _: None,
    ) -> Self:
        """
        Open the core of a folder, in the database that goes with it, making folder, keys and tables at first use.

        Args:
            data_dir: The core's folder.
            clock: Where commits take their time from.
            utility: Whose books these are, for a new core; an existing one keeps what it was made with.
            shards: How many shards a new core's accounts are parted into, 1 when it is not said; an existing core
                has as many as it was made with.
            committed: Told the stamp of each commit.

        Raises:
            UnknownSchema: The database is of another version.
            SettingsConflict: The core has another number of shards.
            DatabaseInvalid: What is kept about the database cannot be used.
            DatabaseUnreachable: The database does not answer.
        """
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        database = find_database(data_dir)
        try:
            database.make()
            connection = database.open_writer()
            try:
                begun = _is_begun(connection, shards)
                if begun and not has_keys(data_dir):
                    raise DatabaseInvalid(
                        f"the books in {database.name} belong to keys that are not in {data_dir}: copy secrets.json of"
                        " their core's folder there, or name another database"
                    )
                keys = load_keys(data_dir)
                if not begun:
                    with write(connection):
                        Locks(connection, alone=True)
                        _keep_shards(connection, shards)
                        _keep_utility(connection, utility or Utility())
                        begin_with_newest(connection)
            finally:
                connection.close()
            return cls(data_dir, database, clock, keys, committed)
        except BaseException:
            database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connection."""
        self.connection.close()
        self.database.close()

    @contextmanager
    def transaction(self, *, alone: bool = False) -> Iterator[Transaction]:
        """
        Run a block as one write transaction with the next stamp of core time.

        ``alone`` for what touches much, or what many depend on: nobody else is in a transaction meanwhile.

        Raises:
            TransactionConflict: Another transaction was in the way, and nothing was done; `run` repeats by itself.
        """
        # Before the clock is read that the stamp is taken from: T's age is never told too low.
        taken_at = self._clock.boot_seconds()
        with write(self.connection) as connection:
            overlapping = is_server(connection)
            locks = Locks(connection, alone=alone)
            take = foresee if overlapping else stamp
            taken = take(connection, self._clock.now())
            utility = read_utility(connection)
            outgoing = Outgoing(connection, len(self.shards))
            tx = Transaction(connection, taken, utility, self.keys, outgoing, locks)
            yield tx
            published = outgoing.flush()
            if published and overlapping:
                self.database.announce(connection)
                tx.committed_stamp = stamp(connection, max(taken, self._clock.now()))
        if published or not overlapping:
            self._committed(ClosedTime(tx.committed_stamp, taken_at))

    def run(self, work: Callable[[Transaction], _ResultT], *, alone: bool = False) -> _ResultT:
        """
        Do work as one write transaction, and again from its beginning when another one was in the way.

        Raises:
            TransactionConflict: Every time; nothing was done.
        """

        def once() -> _ResultT:
            with self.transaction(alone=alone) as tx:
                return work(tx)

        return repeated(once) if is_server(self.connection) else once()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run a block against one unchanging state; never wait inside."""
        with read(self.connection) as connection:
            yield connection

    def utility(self) -> Utility:
        """Tell whose books these are."""
        return read_utility(self.connection)


def check_size(account_id: str, kind: str, text: bytes) -> None:
    """
    Check that a document can be published.

    Raises:
        DocumentTooLarge: It is longer than edges take.
    """
    if len(text) > BODY_BYTES_MAX:
        raise DocumentTooLarge(account_id, kind, len(text), BODY_BYTES_MAX)


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


def _is_begun(connection: Connection, wanted: int | None) -> bool:
    """Tell whether the books have their shards and their utility, and refuse another number of shards."""
    if wanted is not None and not 1 <= wanted <= SHARDS_MAX:
        raise SettingsConflict("shards", f"1 to {SHARDS_MAX} are possible")
    known = read_shards(connection)
    if known and wanted not in (None, len(known)):
        raise SettingsConflict(
            "shards",
            f"this core was made with {len(known)}, and accounts cannot move between them",
        )
    return bool(known) and connection.execute("SELECT 1 FROM utility").fetchone() is not None


def _keep_shards(connection: Connection, wanted: int | None) -> None:
    # Asked again: another process may have begun meanwhile.
    if read_shards(connection):
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

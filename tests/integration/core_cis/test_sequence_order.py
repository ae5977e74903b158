"""Seqs on PostgreSQL under load: transactions overlap, wait, fail and are killed, and a reader misses none."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from cache_sync.clock import SystemClock
from cache_sync.document_table import Page, read_page
from cache_sync.documents import PAYMENT
from cache_sync.publication import read_chain
from cache_sync.row_hash import FIRST_CHAIN, add_hashes, next_chain, row_hash
from cache_sync.sql import CommitUnknown, Connection, OperationalError
from core_cis.database_choice import choose_database
from core_cis.store import CoreStore, Transaction
from tests.postgres_server import PostgresServer

WRITERS = 6
ROUNDS = 40
KILLS = 8


class Changed(Exception):
    """A transaction is given up in its middle."""


class Writer(threading.Thread):
    """Publishes under names that nobody uses twice, in transactions that overlap with the others'."""

    def __init__(self, folder: Path, number: int, begun: threading.Barrier) -> None:
        super().__init__()
        self.folder, self.number, self.begun = folder, number, begun
        self.committed: set[str] = set()
        self.unknown: set[str] = set()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Publish until all rounds are done."""
        try:
            with CoreStore.open(self.folder, SystemClock()) as store:
                self.begun.wait(60)
                for turn in range(ROUNDS):
                    self._publish(store, turn)
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            self.failure = error

    def _publish(self, store: CoreStore, turn: int) -> None:
        rng = random.Random(1000 * self.number + turn)
        names = {f"{self.number}-{turn}-{one}" for one in range(rng.randint(1, 4))}

        def work(tx: Transaction) -> None:
            tx.hold_accounts([f"account {rng.randint(0, 8)}"])
            for name in sorted(names):
                tx.publish_encoded(name, PAYMENT, name, b"{}")
            time.sleep(rng.choice([0.0, 0.0, 0.002, 0.03]))
            if rng.random() < 0.2:
                raise Changed

        try:
            store.run(work)
        except CommitUnknown:
            self.unknown |= names
        except (Changed, OperationalError):
            # Its backend was killed before the commit: nothing of it may ever be seen.
            pass
        else:
            self.committed |= names


class Reader:
    """Follows the shard through pages, as a feed does."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.cursor = 0
        self.seqs: list[int] = []
        self.names: set[str] = set()
        self.hashes: dict[int, int] = {}
        self.barriers = 0

    def step(self) -> Page:
        """Read a page; at a barrier, all that was read is all that there is."""
        page = read_page(self._connection, "0", self.cursor, 7)
        for row in page.rows:
            assert row.body is not None
            assert row.seq > self.cursor
            self.cursor = row.seq
            self.seqs.append(row.seq)
            self.names.add(row.key)
            self.hashes[row.seq] = row_hash(*row_name(row), row.seq, row.version, row.body)
        if page.reached_head:
            self.barriers += 1
            head = page.shard
            assert len(self.hashes) == head.live_rows, "a document was skipped"
            assert add_hashes(0, self.hashes.values()) == head.live_hash
        return page


def row_name(row: object) -> tuple[str, str, str]:
    """Name a document."""
    return row.account_id, row.kind, row.key  # type: ignore[attr-defined]


def kill_a_backend(postgres: PostgresServer, database: str) -> None:
    """Have the server end one connection that is in the middle of a transaction."""
    postgres.ask(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"  # noqa: S608 - our own name
        f" WHERE datname = '{database}' AND application_name = 'ridethrough core'"
        " AND state = 'idle in transaction' LIMIT 1",
    )


@pytest.fixture
def store(postgres_url: str, tmp_path: Path) -> Iterator[CoreStore]:
    """Return a core in PostgreSQL."""
    choose_database(tmp_path, postgres_url)
    with CoreStore.open(tmp_path, SystemClock()) as made:
        yield made


def test_a_reader_sees_every_seq_in_order(
    store: CoreStore, postgres: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    """Whatever the writers do, seqs have no hole, commits are chained, and each barrier is whole."""
    connection = store.database.open_reader()
    reader = Reader(connection)
    # Only who publishes is killed: a store that cannot even be opened says so and is not opened again.
    begun = threading.Barrier(WRITERS + 1)
    writers = [Writer(tmp_path, number, begun) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    begun.wait(60)
    kills = 0
    while any(writer.is_alive() for writer in writers):
        page = _patiently(reader)
        if kills < KILLS and page is not None and page.reached_head:
            kill_a_backend(postgres, postgres_url.rpartition("/")[2])
            kills += 1
    for writer in writers:
        writer.join()
        assert writer.failure is None, writer.failure
    last = reader.step()
    while not last.reached_head:
        last = reader.step()
    committed = set().union(*(writer.committed for writer in writers))
    unknown = set().union(*(writer.unknown for writer in writers))
    assert kills == KILLS
    assert len(committed) > WRITERS * ROUNDS / 2
    assert reader.barriers > KILLS
    assert committed <= reader.names <= committed | unknown
    assert reader.seqs == list(range(1, last.shard.head + 1)), "skipped or out of order"
    assert_chained(store, reader, last.shard.head)
    connection.close()


def _patiently(reader: Reader) -> Page | None:
    # The killed one may be the reader's own.
    with suppress(OperationalError):
        return reader.step()
    return None


def assert_chained(store: CoreStore, reader: Reader, head: int) -> None:
    """Follow the chain from the first commit to the head: each is made of the one before and its own rows."""
    ends = store.connection.execute("SELECT seq FROM commits WHERE seq > 0 ORDER BY seq").fetchall()
    chain, before = FIRST_CHAIN, 0
    for (end,) in ends:
        rows = [(seq, reader.hashes[seq]) for seq in range(before + 1, end + 1)]
        chain, before = next_chain(chain, rows), end
        assert read_chain(store.connection, "0", end) == chain
    assert before == head


def test_a_sequence_of_the_server_would_skip(postgres: PostgresServer) -> None:
    """Why the head is a row that is held to the commit: numbers drawn early are committed in another order."""
    url = postgres.new_database()
    postgres.ask(url.rpartition("/")[2], "CREATE TABLE fed (seq bigserial, name text)")
    with psycopg.connect(url) as slow, psycopg.connect(url) as fast:
        slow.execute("INSERT INTO fed (name) VALUES ('early')")
        fast.execute("INSERT INTO fed (name) VALUES ('late')")
        fast.commit()
        question = "SELECT seq FROM fed WHERE seq > %s ORDER BY seq"
        ((cursor,),) = fast.execute(question, (0,)).fetchall()
        slow.commit()
        fast.commit()
        assert fast.execute(question, (cursor,)).fetchall() == []
        assert fast.execute("SELECT count(*) FROM fed").fetchone() == (2,)
    postgres.drop(url)

"""The oldest core that lies on PostgreSQL goes on in this release: nothing is lost, and its edges notice nothing."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from cache_sync.clock import SystemClock
from cache_sync.document_table import read_head
from cache_sync.documents import Document
from cache_sync.feed import CoreTimeSource, FeedSource
from cache_sync.follower import Follower
from cache_sync.frames import FRAME_FORMAT, Frame, sealed
from cache_sync.packed_bodies import unpack_body
from cache_sync.publication import read_chain
from cache_sync.replica_reader import ReplicaReader
from cache_sync.row_hash import add_hashes, row_hash, seal_position
from core_cis.__main__ import main
from core_cis.database_choice import choose_database, find_database
from core_cis.keys import load_keys
from core_cis.publishing import publish_account
from core_cis.store import CoreStore
from tests.integration.core_cis.conftest import START
from tests.postgres_server import PostgresServer
from tests.unit.cache_sync.feed_world import read_all

OLDEST = Path(__file__).parents[2] / "unit/core_cis/cores/version_3_postgresql.sql"
ACCOUNT = "A-7"
# What a database demands and does, whatever way it came there; the order of columns counts nothing.
DESCRIBED = (
    (
        "SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull,"
        " attcollation::regcollation::text, pg_get_expr(adbin, adrelid), attidentity FROM pg_attribute"
        " JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
        " WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped"
    ),
    (
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = current_schema()::regnamespace"
    ),
    "SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()",
    "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace",
)

Contents = dict[str, tuple[list[str], list[tuple[object, ...]]]]


class Database:
    """A database of the server, as its operator sees it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        """Ask something."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(question.encode())
            return cursor.fetchall() if cursor.description else []

    def contents(self, like: Contents | None = None) -> Contents:
        """Read all tables, or the tables and columns that there were."""
        tables = self.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        columns = {
            table: [
                name
                for (name,) in self.ask(
                    f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass"  # noqa: S608 - our names
                    " AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
                )
            ]
            for (table,) in tables
            if table not in {"alembic_version", "core_clock"}
        }
        if like is not None:
            columns = {table: names for table, (names, _) in like.items()}
        found: Contents = {}
        for table, names in columns.items():
            rows = self.ask(f"SELECT {', '.join(names)} FROM {table}")  # noqa: S608 - our names
            found[table] = names, sorted(rows, key=repr)
        return found

    def described(self) -> list[list[str]]:
        """Tell what its tables demand, however it is written."""
        return [
            sorted(" ".join(repr(row).replace("\\n", " ").split()) for row in self.ask(question))
            for question in DESCRIBED
        ]


@pytest.fixture
def database(postgres: PostgresServer, tmp_path: Path) -> Iterator[Database]:
    """Return the oldest core's database, and have this release's commands know it."""
    made = Database(postgres.new_database())
    made.ask(OLDEST.read_text(encoding="utf-8"))
    load_keys(tmp_path)
    choose_database(tmp_path, made.url)
    yield made
    postgres.drop(made.url)


def run(data_dir: Path, *words: str) -> Any:
    """Run a command of the core."""
    done = CliRunner().invoke(main, [*words, "--data", str(data_dir), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_an_upgraded_database_is_as_a_new_one(
    database: Database, postgres: PostgresServer, tmp_path: Path
) -> None:
    """Tables, checks, indexes, triggers and functions are the same, whichever way a core came here."""
    run(tmp_path, "ledger", ACCOUNT)
    new = Database(postgres.new_database())
    choose_database(tmp_path / "new", new.url)
    with closing(find_database(tmp_path / "new")) as made:
        made.make()
    for upgraded, wanted in zip(database.described(), new.described(), strict=True):
        assert wanted
        assert upgraded == wanted
    postgres.drop(new.url)


def test_nothing_is_lost(database: Database, tmp_path: Path) -> None:
    """Every row of every table is there, to the column; sums and chains are those that the rows make."""
    before = database.contents()
    assert all(rows for _, rows in before.values()), "there was something in every table"
    ledger = run(tmp_path, "ledger", ACCOUNT)
    assert database.contents(before) == before
    amounts = [entry["amount"] for entry in ledger["entries"]]
    assert sorted(amounts) == [-1000, -250, 2481]
    assert ledger["balance"] == sum(amounts)
    with CoreStore.open(tmp_path, SystemClock()) as store:
        head = read_head(store.connection, "0")
        rows = store.connection.execute(
            "SELECT account_id, kind, key, seq, version, body, row_hash FROM documents"
        ).fetchall()
        assert read_chain(store.connection, "0", head.head) == head.chain
    live = [row for row in rows if row[5] is not None]
    assert len(live) < len(rows), "a tombstone is among them"
    assert [row[6] for row in live] == [row_hash(*row[:6]) for row in live]
    hashes = [row[6] for row in live]
    assert (head.live_rows, head.live_hash) == (len(live), add_hashes(0, hashes))


class Upstream:
    """What an edge follows: first the old core, as it stood, then whatever serves now."""

    def __init__(self, first: Frame) -> None:
        self._first = first
        self.feed: FeedSource | None = None

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Answer a follower."""
        if self.feed is None:
            return self._first
        return await self.feed.page(after=after, epoch=epoch, limit=limit, wait_seconds=wait)


def told_by_the_old_core(database: Database, data_dir: Path) -> Frame:
    """Write the frame that the old core's edges had from it."""
    ((epoch, head, floor, live_hash, live_rows, chain),) = database.ask(
        "SELECT epoch, head, floor, live_hash, live_rows, chain FROM shard_head"
    )
    rows = [
        Document(*row)
        for row in database.ask(
            "SELECT account_id, kind, key, seq, body, version FROM documents ORDER BY seq"
        )
    ]
    seal_key = load_keys(data_dir).seal_key_bytes
    return sealed(
        Frame(
            format=FRAME_FORMAT,
            epoch=epoch,
            shard="0",
            after=0,
            upto=head,
            count=len(rows),
            rows=rows,
            digest="",
            barrier=True,
            head=head,
            as_of=START,
            age_seconds=0.0,
            age_at_least=False,
            floor=floor,
            live_hash=live_hash,
            live_rows=live_rows,
            chain=chain,
            seal=seal_position(seal_key, epoch, "0", head, chain),
        )
    )


@asynccontextmanager
async def feeding(data_dir: Path, as_of: datetime) -> AsyncIterator[FeedSource]:
    """Open the feed of a core."""

    async def closed() -> datetime:
        return as_of

    with closing(find_database(data_dir)) as found:
        feed = FeedSource(
            found.documents(),
            "0",
            time_source=CoreTimeSource(closed, SystemClock()),
            clock=SystemClock(),
            seal_key=load_keys(data_dir).seal_key_bytes,
        )
        try:
            yield feed
        finally:
            await feed.close()


async def test_publishing_goes_on_and_an_edge_goes_on_with_it(
    database: Database, tmp_path: Path
) -> None:
    """The next commit stands above the old ones; an edge reads on from where it is, in the same snapshot."""
    upstream = Upstream(told_by_the_old_core(database, tmp_path))
    clock = SystemClock()
    follower = Follower(upstream, tmp_path / "edge", clock=clock, rng=Random(1))
    reader = ReplicaReader(tmp_path / "edge", clock=clock)
    await follower.step()
    before, documents = read_all(reader)
    assert follower.status.phase == "following"
    with CoreStore.open(tmp_path, clock) as store:
        with store.transaction() as tx:
            tx.connection.execute("UPDATE customers SET name = 'Renamed' WHERE customer_id = 'C-7'")
            publish_account(tx, ACCOUNT)
        assert read_head(store.connection, "0").head == before.cursor + 1
    async with feeding(tmp_path, clock.now()) as upstream.feed:
        while read_all(reader)[0].cursor == before.cursor:
            await follower.step()
    after, changed = read_all(reader)
    assert (follower.status.phase, follower.status.snapshots_built) == ("following", 1)
    assert (after.epoch, after.cursor) == (before.epoch, before.cursor + 1)
    assert b"Renamed" in changed.pop((ACCOUNT, "account", ""))
    assert documents.pop((ACCOUNT, "account", ""))
    assert changed == documents
    rows = database.ask("SELECT account_id, kind, key, body FROM documents WHERE body IS NOT NULL")
    held = {(row[0], row[1], row[2]): unpack_body(bytes(row[3])) for row in rows}
    assert held == read_all(reader)[1]
    follower.close()
    reader.close()

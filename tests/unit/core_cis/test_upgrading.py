"""A core that an older release made goes on in this one; one of a newer release is left alone."""

import re
from pathlib import Path
from threading import Thread

import pytest

from cache_sync import sqlite
from cache_sync.clock import SystemClock
from cache_sync.core_time import create_core_clock
from cache_sync.document_table import create_documents, read_head
from cache_sync.publication import create_commits, read_chain
from cache_sync.row_hash import FIRST_CHAIN, add_hashes, row_hash
from core_cis.database import SqliteDatabase
from core_cis.errors import UnknownSchema
from core_cis.keys import load_keys
from core_cis.publishing import publish_account
from core_cis.registry import edge_keys, read_edges
from core_cis.store import CoreStore
from core_cis.versions import SCHEMA_VERSION

CORES = Path(__file__).with_name("cores")
OF_ALEMBIC = "alembic_version"


def old_core(data_dir: Path, *, version: int = 2) -> Path:
    """Put a core of an older release into a folder."""
    data_dir.mkdir(exist_ok=True)
    path = data_dir / "core.db"
    connection = sqlite.connect(path, synchronous="NORMAL")
    connection.executescript((CORES / "version_2.sql").read_text(encoding="utf-8"))
    if version == 1:
        connection.execute("DROP TABLE former_edge_keys")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    load_keys(data_dir)
    return path


def checks_of(sql: str) -> list[str]:
    """List what a table's checks demand, wherever they stand in its statement."""
    checks = []
    for part in sql.split("CHECK (")[1:]:
        depth, end = 1, 0
        while depth:
            depth += {"(": 1, ")": -1}.get(part[end], 0)
            end += 1
        checks.append(re.sub(r"\s+", " ", part[: end - 1]))
    return checks


def described(path: Path) -> dict[str, object]:
    """Describe tables, indexes and triggers so that only what they do counts, not how they were written."""
    connection = sqlite.connect(path, synchronous="NORMAL", read_only=True)
    found: dict[str, object] = {}
    for type_, name, sql in connection.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
    ).fetchall():
        if name == OF_ALEMBIC:
            continue
        if type_ != "table":
            found[name] = re.sub(r"\s+|\"", "", sql)
            continue
        # A key's column is not null in the one spelling, and cannot be in the other.
        found[name] = [
            (column, kind, bool(not_null or key), default, key)
            for _, column, kind, not_null, default, key, _ in connection.execute(
                f"PRAGMA table_xinfo({name})"
            )
        ]
        found[f"checks of {name}"] = sorted(checks_of(sql))
        found[f"flags of {name}"] = connection.execute(
            "SELECT wr, strict FROM pragma_table_list WHERE name = ?", (name,)
        ).fetchone()
        found[f"owners of {name}"] = sorted(
            (row[2], row[3]) for row in connection.execute(f"PRAGMA foreign_key_list({name})")
        )
        found[f"unique in {name}"] = sorted(
            tuple(part[2] for part in connection.execute(f"PRAGMA index_info({row[1]})"))
            for row in connection.execute(f"PRAGMA index_list({name})")
            if row[3] == "u"
        )
    connection.close()
    return found


@pytest.mark.parametrize("version", [1, 2])
def test_upgraded_core_is_as_a_new_one(tmp_path: Path, version: int) -> None:
    """Tables, indexes, triggers and checks are the same, whichever way a core came here."""
    upgraded = old_core(tmp_path / "old", version=version)
    SqliteDatabase(upgraded).make()
    SqliteDatabase(tmp_path / "new.db").make()
    assert described(upgraded) == described(tmp_path / "new.db")


def test_replica_and_core_keep_documents_in_the_same_table(tmp_path: Path) -> None:
    """What an edge makes for itself has the columns and the indexes of what it follows."""
    replica = sqlite.connect(tmp_path / "replica.db", synchronous="NORMAL")
    with sqlite.write(replica):
        create_documents(replica)
        create_commits(replica)
        create_core_clock(replica)
    replica.close()
    SqliteDatabase(tmp_path / "new.db").make()
    made, core = described(tmp_path / "replica.db"), described(tmp_path / "new.db")
    assert made == {name: core[name] for name in made}


def test_upgraded_documents_are_hashed_where_they_stand(tmp_path: Path) -> None:
    """Epoch and seqs stay, so edges go on; every live row has its hash, the shard their sum."""
    old_core(tmp_path)
    with CoreStore.open(tmp_path, SystemClock()) as store:
        head = read_head(store.connection, "0")
        rows = store.connection.execute(
            "SELECT account_id, kind, key, seq, version, body, row_hash FROM documents ORDER BY seq"
        ).fetchall()
        chain = read_chain(store.connection, "0", 7)
    live = [row for row in rows if row[5] is not None]
    assert (head.epoch, head.head, head.floor, head.chain) == (1, 7, 0, FIRST_CHAIN)
    assert chain == FIRST_CHAIN
    assert [row[3] for row in rows] == [1, 2, 3, 4, 6, 7]
    assert [row[6] for row in live] == [row_hash(*row[:6]) for row in live]
    assert (head.live_rows, head.live_hash) == (5, add_hashes(0, [row[6] for row in live]))
    assert rows[-1][6] is None


def test_upgraded_core_works_on(tmp_path: Path) -> None:
    """Books, settings and edges are those it had; the next change is published above the old ones."""
    old_core(tmp_path)
    with CoreStore.open(tmp_path, SystemClock()) as store:
        assert store.utility().name == "Test Light"
        assert [edge.feed_url for edge in read_edges(store.connection)] == [""]
        assert edge_keys(store.connection)["east"].former == ()
        with store.transaction() as tx:
            tx.connection.execute("UPDATE customers SET name = 'Renamed'")
            publish_account(tx, "A-1001")
        assert read_head(store.connection, "0").head == 8


def test_upgrade_happens_once_whoever_comes_at_the_same_time(tmp_path: Path) -> None:
    """Two commands that start on an old core both find it upgraded."""
    path = old_core(tmp_path)
    failures: list[BaseException] = []

    def make() -> None:
        try:
            SqliteDatabase(path).make()
        except BaseException as error:  # noqa: BLE001 - told below, in the test's own thread
            failures.append(error)

    threads = [Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    connection = sqlite.connect(path, synchronous="NORMAL")
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (f"PRAGMA user_version = {SCHEMA_VERSION + 1}", "newer release"),
        ("CREATE TABLE recipes (name TEXT)", "no core's"),
    ],
)
def test_foreign_database_is_not_touched(tmp_path: Path, statement: str, told: str) -> None:
    """A newer release's core, or somebody else's file, is refused by name, and stays as it is."""
    path = tmp_path / "core.db"
    connection = sqlite.connect(path, synchronous="NORMAL")
    connection.execute(statement)
    connection.close()
    before = described(path)
    with pytest.raises(UnknownSchema, match=told):
        CoreStore.open(tmp_path, SystemClock())
    assert described(path) == before

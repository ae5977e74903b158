"""Forgetting on a PostgreSQL server: what its files hold of somebody, before and after, whatever the tables say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core_cis.database_choice import choose_database
from tests.integration.core_cis.conftest import make_core
from tests.integration.core_cis.forgetting_utility import ACCOUNT, SECRETS, Utility
from tests.integration.test_forget_processes import cut_of, found_in
from tests.postgres_server import PostgresServer

# A tombstone of a month of usage is named by its service point, as long as edges need it.
TOMBSTONES = {"SP-777"}
DATABASE = "test_1"
QUOTED = "SELECT histogram_bounds::text FROM pg_stats WHERE tablename = 'customers'"


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """Run a server of its own, set as docs/operations.md says for one that is to forget."""
    made = PostgresServer()
    try:
        made.make()
        with (made.folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("wal_recycle = off\n")
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture
def utility(server: PostgresServer, tmp_path: Path) -> Iterator[Utility]:
    """Return a utility whose books are there, with the customer."""
    data_dir, url = tmp_path / "the core", server.new_database()
    assert url.endswith(DATABASE)
    choose_database(data_dir, url)
    made = Utility(make_core(data_dir))
    made.fill()
    yield made
    made.store.close()


def bodies(utility: Utility) -> tuple[list[bytes], bytes]:
    """Return the person's bodies as they lie in the table, and everybody else's."""
    rows = utility.store.connection.execute(
        "SELECT account_id, body FROM documents WHERE body IS NOT NULL"
    ).fetchall()
    mine = [bytes(body) for account_id, body in rows if account_id == ACCOUNT]
    return mine, b"".join(bytes(body) for account_id, body in rows if account_id != ACCOUNT)


def write_down(server: PostgresServer, database: str) -> None:
    """Do what an operator does (docs/operations.md): have the server write everything down and drop its old log."""
    for statement in ("CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT"):
        server.ask(database, statement)


def test_no_file_of_the_server_holds_anything(server: PostgresServer, utility: Utility) -> None:
    """Tables, their statistics, the write-ahead log: first all of it is found, then none of it."""
    data, database = server.folder / "data", DATABASE
    mine, others = bodies(utility)
    needles = [secret.encode() for secret in SECRETS if secret not in TOMBSTONES]
    pieces = [cut_of(body, others) for body in mine]
    server.ask(database, "ANALYZE")
    assert any(SECRETS[0] in str(quoted) for (quoted,) in server.ask(database, QUOTED))
    server.ask(database, "CHECKPOINT")
    before = found_in(data, [*needles, *pieces])
    assert set().union(*before.values()) == {*needles, *pieces}
    assert any(name.startswith("base/") for name in before)
    assert any(name.startswith("pg_wal/") for name in before)
    report = utility.forget()
    assert (report.result, report.unfinished) == ("forgotten", [])
    write_down(server, database)
    assert found_in(data, [*needles, *pieces]) == {}

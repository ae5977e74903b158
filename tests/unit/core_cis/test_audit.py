"""The log of what operators did: chained, signed, and no line can be changed, removed or added unseen."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cache_sync.clock import SystemClock
from cache_sync.sql import Connection, IntegrityError, write
from core_cis.audit import Act, answered, by_command, read_log, verify_log, write_down
from core_cis.store import CoreStore
from failover.signing import generate_signing_key, public_key


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CoreStore]:
    """Return a core whose operators did three things."""
    with CoreStore.open(tmp_path, SystemClock()) as opened:
        for number in range(3):
            with opened.transaction(alone=True) as tx:
                act = Act(
                    operator="Ada",
                    via="console",
                    action="drain.hold",
                    subject=f"edge-{number}",
                    reason="the core is slow",
                    detail={"pace": number, "held": 1},
                    request_key=f"request-{number}",
                )
                write_down(tx, act, opened.keys)
        yield opened


def verified(store: CoreStore, known_head: str | None = None) -> tuple[int | None, str]:
    """Verify; returns the first wrong line and what is wrong with it."""
    with store.reading() as connection:
        found = verify_log(connection, store.keys.public_key, known_head=known_head)
    return found.broken_at, found.problem


def test_log_is_whole_and_says_what_was_done(store: CoreStore) -> None:
    """The newest line comes first, with everything that was given."""
    assert verified(store) == (None, "")
    lines = read_log(store.connection, limit=2)
    assert [line.number for line in lines] == [3, 2]
    assert (lines[0].operator, lines[0].subject, lines[0].detail) == (
        "Ada",
        "edge-2",
        {"pace": 2, "held": 1},
    )
    assert [line.number for line in read_log(store.connection, limit=9, before=3)] == [2, 1]
    assert [line.number for line in read_log(store.connection, limit=9, subject="edge-1")] == [2]


def without_triggers(connection: Connection, change: str) -> None:
    """Change the log as somebody does who owns the file."""
    connection.execute("DROP TRIGGER audit_log_no_update")
    connection.execute("DROP TRIGGER audit_log_no_delete")
    with write(connection):
        connection.execute(change)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("UPDATE audit_log SET operator = 'Bob' WHERE number = 2", 2),
        ("UPDATE audit_log SET at = '2020-01-01T00:00:00.000000Z' WHERE number = 1", 1),
        ("UPDATE audit_log SET detail = '{}' WHERE number = 3", 3),
        ("UPDATE audit_log SET request_key = NULL WHERE number = 3", 3),
        ("DELETE FROM audit_log WHERE number = 2", 3),
        ("UPDATE audit_log SET number = 9 WHERE number = 3", 9),
    ],
)
def test_a_changed_line_is_found(store: CoreStore, change: str, line: int) -> None:
    """The first line that is not what was written is named."""
    without_triggers(store.connection, change)
    assert verified(store)[0] == line


def test_a_chain_made_anew_lacks_the_signature(store: CoreStore) -> None:
    """Who hashes everything again after a change signs with another key than the core's."""
    other = generate_signing_key()
    with store.reading() as connection:
        found = verify_log(connection, public_key(other))
    assert (found.broken_at, found.problem) == (1, "the core did not sign the line")


def test_lines_cut_off_at_the_end_are_missed_by_a_noted_head(store: CoreStore) -> None:
    """The chain alone is whole again; the head that somebody noted is not in it any more."""
    head = read_log(store.connection, limit=1)[0].hash
    assert verified(store, head) == (None, "")
    without_triggers(store.connection, "DELETE FROM audit_log WHERE number = 3")
    assert verified(store) == (None, "")
    assert verified(store, head) == (3, "the head that was noted is gone")


def test_a_request_is_answered_once(store: CoreStore) -> None:
    """The database refuses a second line for it, and the first can be found."""
    line = answered(store.connection, "request-1")
    assert line is not None
    assert line.number == 2
    assert answered(store.connection, "request-9") is None
    again = Act(operator="Ada", via="api", action="drain.hold", request_key="request-1")

    def repeat() -> None:
        with store.transaction(alone=True) as tx:
            write_down(tx, again, store.keys)

    with pytest.raises(IntegrityError):
        repeat()
    assert verified(store) == (None, "")


def test_commands_name_who_ran_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is the system's; a user without one has a number."""
    assert by_command("epoch.raise", epoch=2).detail == {"epoch": 2}

    def nobody() -> str:
        raise KeyError

    refused: Callable[[], str] = nobody
    monkeypatch.setattr("getpass.getuser", refused)
    assert by_command("epoch.raise").operator.startswith("uid ")

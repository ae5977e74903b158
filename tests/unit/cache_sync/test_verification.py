"""Anti-entropy: what differs is found, named and put right, and a node that is merely behind is not called wrong."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from cache_sync.digests import DigestAnswer, DigestQuestion, answer_question, check_question
from cache_sync.document_table import create_documents, read_head
from cache_sync.errors import FeedUnavailable, NotComparable
from cache_sync.publication import Change, Name, begin_shard, create_commits, publish_all
from cache_sync.repairs import Repair, put_right
from cache_sync.replica_reader import SnapshotView
from cache_sync.row_hash import row_hash
from cache_sync.sqlite import Connection, connect, read, write
from cache_sync.verification import Verification, VerificationReport, VerificationSettings
from tests.unit.cache_sync.feed_world import FakeClock

SHARD = "0"
ACCOUNTS = 60
SMALL = VerificationSettings(ranges=3, range_accounts=4, attempts=2)


class Above:
    """The node above, asked in the same process; `between` runs before each answer."""

    def __init__(self, connection: Connection, *, authoritative: bool = True) -> None:
        self.name = "core"
        self.authoritative = authoritative
        self.between: Callable[[], None] = lambda: None
        self.questions: list[DigestQuestion] = []
        self._connection = connection

    async def digests(self, shard: str, question: DigestQuestion) -> DigestAnswer:
        """Answer out of the table."""
        check_question(question)
        self.questions.append(question)
        self.between()
        with read(self._connection):
            return answer_question(self._connection, shard, question, overdue=never)


def never() -> bool:
    """Be in no hurry."""
    return False


class World:
    """A core and an edge that hold the same documents, until a test changes one of them."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.core = connect(folder / "core.db", synchronous="NORMAL")
        self.edge_path = folder / "edge.db"
        with write(self.core):
            create_documents(self.core)
            create_commits(self.core)
            begin_shard(self.core, SHARD, 1)
            publish_all(self.core, SHARD, [Change(Name("", "dictionary", "7"), b"bytes")])
            for number in range(ACCOUNTS):
                names = [Name(f"acc-{number:03}", "statement", str(month)) for month in range(3)]
                publish_all(self.core, SHARD, [Change(name, b'{"a":1}') for name in names])
        self.core.execute(f"VACUUM INTO '{self.edge_path}'")
        self.edge = connect(self.edge_path, synchronous="NORMAL")
        self.above = Above(self.core)

    @contextmanager
    def held(self) -> Iterator[SnapshotView]:
        """Read the edge's state."""
        with read(self.edge):
            yield SnapshotView(self.edge, self.edge_path, self.clock)

    def repair(self, epoch: int, repairs: Sequence[Repair]) -> int:
        """Put rows of the edge right."""
        with write(self.edge):
            return put_right(self.edge, SHARD, epoch, repairs)

    def publish(self, *changes: tuple[Name, bytes | None]) -> None:
        """Commit at the core."""
        with write(self.core):
            publish_all(self.core, SHARD, [Change(*change) for change in changes])

    def spoil(self, sql: str, *values: object) -> None:
        """Damage the edge behind its back."""
        assert self.edge.execute(sql, values).rowcount > 0

    async def compare(self, *, repair: bool = False) -> VerificationReport:
        """Run a pass."""
        verification = Verification(
            SHARD,
            held=self.held,
            source=self.above,
            clock=self.clock,
            repair=self.repair if repair else None,
            settings=SMALL,
        )
        return await verification.run()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a core and an edge that are equal."""
    return World(tmp_path)


FLIP = "UPDATE documents SET body = ? WHERE account_id = 'acc-031' AND key = '1'"
DELETE = "DELETE FROM documents WHERE account_id = 'acc-031' AND key = '1'"
INVENT = """
INSERT INTO documents (seq, account_id, kind, key, version, row_hash, body)
VALUES (0, 'acc-031', 'statement', 'x', 1, ?, x'7b7d')
"""
NAME = ("acc-031", "statement", "1")


async def test_equal_nodes_are_equal(world: World) -> None:
    """Every row is compared once, in few questions."""
    report = await world.compare()
    assert report.clean
    assert report.compared_rows == ACCOUNTS * 3 + 1
    assert (report.epoch, report.cursor) == (1, read_head(world.core, SHARD).head)
    assert len(world.above.questions) == -(-(ACCOUNTS + 1) // (3 * 4))


@pytest.mark.parametrize(
    ("sql", "values", "difference"),
    [
        (FLIP, (b'{"a":2}',), "damaged"),
        (DELETE, (), "missing"),
        (INVENT, (5,), "damaged"),
        (INVENT, (row_hash("acc-031", "statement", "x", 0, 1, b"{}"),), "extra"),
    ],
)
async def test_what_differs_is_named_and_put_right(
    world: World, sql: str, values: tuple[object, ...], difference: str
) -> None:
    """A changed byte, a lost row, an invented row: one document is named, and only its account is asked for."""
    world.spoil(sql, *values)
    found = await world.compare()
    assert [(one.account_id, one.difference) for one in found.divergences] == [
        ("acc-031", difference)
    ]
    assert found.divergent_ranges == [("acc-031", "acc-032")]
    assert (found.divergent_rows, found.repaired_rows) == (1, 0)
    repaired = await world.compare(repair=True)
    assert (repaired.divergent_rows, repaired.repaired_rows) == (1, 1)
    assert (await world.compare()).clean


async def test_a_row_with_a_forged_hash_differs(world: World) -> None:
    """A row that is whole in itself and not the core's is found as well."""
    world.spoil("UPDATE documents SET version = 2, row_hash = 1 WHERE account_id = 'acc-000'")
    report = await world.compare(repair=True)
    assert (report.divergent_rows, report.repaired_rows) == (3, 3)
    assert (await world.compare()).clean


async def test_rows_that_stand_at_each_others_seq_are_put_right(world: World) -> None:
    """Two wrong rows in one account hinder each other's repair only if they are repaired one by one."""
    world.spoil("UPDATE documents SET seq = 9999 WHERE account_id = 'acc-005' AND key = '0'")
    world.spoil("UPDATE documents SET seq = seq - 1 WHERE account_id = 'acc-005' AND key = '1'")
    report = await world.compare(repair=True)
    assert report.repaired_rows >= 1
    assert (await world.compare()).clean


async def test_an_upstream_that_moves_on_is_not_called_different(world: World) -> None:
    """Changed, new and deleted documents above the edge's barrier are left out, on both sides."""
    changed, new, gone = (Name("acc-010", "statement", key) for key in ("0", "new", "1"))

    def commit() -> None:
        world.publish((changed, b'{"a":%d}' % len(world.above.questions)), (new, b"{}"))
        world.publish((gone, None))

    world.above.between = commit
    report = await world.compare()
    assert report.clean
    assert report.compared_rows == ACCOUNTS * 3 + 1


async def test_a_difference_is_found_while_the_upstream_moves_on(world: World) -> None:
    """Commits do not hide it."""
    world.spoil(FLIP, b"{}")
    world.above.between = lambda: world.publish(
        (Name("acc-031", "statement", "2"), b'{"n":%d}' % len(world.above.questions))
    )
    report = await world.compare(repair=True)
    assert [(one.account_id, one.kind, one.key) for one in report.divergences] == [NAME]
    assert report.repaired_rows == 1


async def test_a_row_that_moved_meanwhile_is_left_alone(world: World) -> None:
    """What the feed brings between comparing and repairing is newer than both."""
    with write(world.edge):
        put_right(world.edge, SHARD, 1, [Repair(name=Name(*NAME), seq=1, replacement=None)])
    assert (await world.compare()).clean


async def test_an_upstream_behind_says_nothing_about_us(world: World) -> None:
    """A node that has not reached our barrier is behind, not different; nothing is repaired from it."""
    with write(world.edge):
        publish_all(world.edge, SHARD, [Change(Name("acc-999", "statement", "0"), b"{}")])
    report = await world.compare(repair=True)
    assert report.divergent_rows == report.repaired_rows == 0
    assert report.skipped_ranges > 0
    assert not report.clean


async def test_another_epoch_stops_the_pass(world: World) -> None:
    """Seqs of two epochs cannot be compared."""
    world.core.execute("UPDATE shard_head SET epoch = 2")
    report = await world.compare(repair=True)
    assert "epoch 2" in report.stopped


async def test_a_silent_upstream_is_reported(world: World) -> None:
    """No answer is no difference."""

    def silent() -> None:
        raise FeedUnavailable("no answer")

    world.above.between = silent
    report = await world.compare()
    assert "does not answer" in report.stopped
    assert report.divergent_rows == 0


async def test_damage_above_is_not_copied_down(world: World) -> None:
    """A damaged upstream repairs nobody: it is the one that is named."""
    world.core.execute("UPDATE documents SET body = x'00' WHERE account_id = 'acc-007'")
    report = await world.compare(repair=True)
    assert report.damaged_above == 3
    assert (report.divergent_rows, report.repaired_rows) == (0, 0)
    assert not report.clean


async def test_a_sibling_is_believed_only_where_it_can_prove_it(world: World) -> None:
    """A damaged row is repaired by a sibling that has the very bytes; a missing one waits for the core."""
    world.above.authoritative = False
    world.spoil(FLIP, b"{}")
    world.spoil("DELETE FROM documents WHERE account_id = 'acc-002' AND key = '0'")
    report = await world.compare(repair=True)
    assert (report.divergent_rows, report.repaired_rows) == (2, 1)
    world.above.authoritative = True
    assert (await world.compare(repair=True)).repaired_rows == 1
    assert (await world.compare()).clean


async def test_the_pace_is_bounded(world: World) -> None:
    """So many rows a second, whatever the machine could do."""
    begun = world.clock.boot
    slow = VerificationSettings(ranges=3, range_accounts=4, rows_a_second=10.0)
    await Verification(
        SHARD, held=world.held, source=world.above, clock=world.clock, settings=slow
    ).run()
    assert world.clock.boot - begun >= (ACCOUNTS * 3 + 1) / 10.0 - 1


@pytest.mark.parametrize(
    ("question", "rule"),
    [
        (DigestQuestion(epoch=1, at=1, bounds=[]), "bounds"),
        (DigestQuestion(epoch=1, at=1, bounds=["a"], closed=True), "bounds"),
        (DigestQuestion(epoch=1, at=1, bounds=["b", "a"]), "ascend"),
        (DigestQuestion(epoch=1, at=1, bounds=[str(n) for n in range(99)]), "bounds"),
        (DigestQuestion(epoch=1, at=1, bounds=["x" * 1000]), "characters"),
        (DigestQuestion(epoch=0, at=1, bounds=["a"]), "epoch"),
    ],
)
def test_questions_without_a_bound_are_refused(question: DigestQuestion, rule: str) -> None:
    """The error names the field and the rule."""
    with pytest.raises(ValueError, match=rule):
        check_question(question)


def test_an_asker_far_behind_is_told_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """When too much has moved, comparing would cost more than following."""
    monkeypatch.setattr("cache_sync.digests.MOVED_MAX", 5)
    with pytest.raises(NotComparable, match="moved"):
        answer_question(
            world.core, SHARD, DigestQuestion(epoch=1, at=1, bounds=[""]), overdue=never
        )


@pytest.mark.parametrize("wanted", ["digests", "rows"])
def test_what_cannot_be_read_in_time_is_not_answered(
    world: World, wanted: Literal["digests", "rows"]
) -> None:
    """Whoever asks for everything at once keeps no read transaction open."""
    asked = DigestQuestion(epoch=1, at=1, bounds=[""], wanted=wanted)
    with pytest.raises(FeedUnavailable, match="at once"):
        answer_question(world.core, SHARD, asked, overdue=lambda: True)


def test_ranges_are_read_by_name(world: World) -> None:
    """Not by walking over all rows below the barrier."""
    plan = world.core.execute(
        "EXPLAIN QUERY PLAN SELECT body FROM documents"
        " WHERE account_id >= 'a' AND account_id < 'b' AND +seq BETWEEN 0 AND 99"
        " AND body IS NOT NULL ORDER BY account_id, kind, key"
    ).fetchall()
    assert "documents_by_name" in str(plan)
    assert "TEMP B-TREE" not in str(plan)

"""The test of the test: with a fault planted in the product, the histories of `test_replication` find it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings

import cache_sync.feed_client
import cache_sync.replica
from cache_sync.feed_client import Asker
from cache_sync.follower import Follower
from cache_sync.frames import CheckedFrame, Frame
from cache_sync.replica import ReplicaWriter
from cache_sync.snapshot_folder import POINTER
from cache_sync.sqlite import write
from tests.property.replication_faults import MortalFolder
from tests.property.replication_histories import beginnings, histories
from tests.property.replication_world import Action, Beginning, live

Plant = Callable[[pytest.MonkeyPatch], None]


def commit_the_cursor_apart(patch: pytest.MonkeyPatch) -> None:
    """Rows become visible before the cursor that counts them."""
    upsert = ReplicaWriter._upsert

    def planted(self: ReplicaWriter, *arguments: object) -> object:
        answer = upsert(self, *arguments)  # type: ignore[arg-type]
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN IMMEDIATE")
        return answer

    patch.setattr(ReplicaWriter, "_upsert", planted)


def skip_the_sum(patch: pytest.MonkeyPatch) -> None:
    """What was left out or changed above is believed."""
    patch.setattr(cache_sync.replica, "check_live", lambda *_: None)


def ignore_barriers(patch: pytest.MonkeyPatch) -> None:
    """Each page of a longer change is shown as it comes."""
    tail = Follower._tail

    async def planted(self: Follower, frame: CheckedFrame, asked: float) -> None:
        if frame.barrier or self._writer is None:
            await tail(self, frame, asked)
            return
        with write(self._writer._connection):
            self._writer._apply_rows(frame)
        self._hold(self._writer.held())

    patch.setattr(Follower, "_tail", planted)


def count_age_from_the_answer(patch: pytest.MonkeyPatch) -> None:
    """How long an answer took is left out of its age."""
    ask = Asker.ask

    async def planted(self: Asker, *question: int) -> tuple[CheckedFrame, float]:
        frame, _ = await ask(self, *question)
        return frame, self._clock.boot_seconds()

    patch.setattr(Asker, "ask", planted)


def believe_an_answer_twice(patch: pytest.MonkeyPatch) -> None:
    """An old answer that comes again makes T look fresh."""

    def planted(self: Asker, frame: Frame, asked: float) -> float:
        del self, frame
        return asked

    patch.setattr(Asker, "_count_from", planted)
    at = "excluded.boot_id = as_of.boot_id AND"
    sql = cache_sync.replica._MOVE_AS_OF
    assert at in sql
    patch.setattr(cache_sync.replica, "_MOVE_AS_OF", sql.split("WHERE")[0] + "WHERE true")


def believe_damaged_headers(patch: pytest.MonkeyPatch) -> None:
    """A flipped bit in T or in an age goes unnoticed."""

    def digest_of_nothing(frame: Frame) -> str:
        return frame.digest

    patch.setattr("cache_sync.frame_guards.digest_frame", digest_of_nothing)


def rewrite_the_pointer_in_place(patch: pytest.MonkeyPatch) -> None:
    """A crash finds the pointer empty."""
    replace = MortalFolder._replace

    def planted(self: MortalFolder, source: Path, target: Path) -> None:
        if target.name == POINTER:
            target.write_bytes(b"")
        replace(self, source, target)

    patch.setattr(MortalFolder, "_replace", planted)


PLANTS: list[Plant] = [
    commit_the_cursor_apart,
    skip_the_sum,
    ignore_barriers,
    count_age_from_the_answer,
    believe_an_answer_twice,
    believe_damaged_headers,
    rewrite_the_pointer_in_place,
]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_planted_faults_are_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fault is found within the examples that it may take."""
    plant(monkeypatch)

    @settings(
        max_examples=600,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
    )
    @given(beginning=beginnings, history=histories)
    def search(beginning: Beginning, history: list[Action]) -> None:
        asyncio.run(live(beginning, history, settle=False))

    with pytest.raises(AssertionError):
        search()

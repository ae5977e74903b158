"""
What a replica does with frames, on every engine: SQLite, one Redis, a cluster of three masters.

The tests of the SQLite replica itself go further; these say what all engines have in common.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from cache_sync.documents import CREDENTIAL, Document
from cache_sync.errors import InvalidFrame, UnknownVersion
from cache_sync.frames import Frame, sealed
from cache_sync.shards import first_seq
from tests.integration.engines.engines import Engine
from tests.unit.cache_sync.feed_world import NOON, FakeClock, State, checked, make_frame

ACCOUNTS = ("a", "b", "c")


def document(
    account_id: str, key: str, seq: int, body: bytes | None = b"{}", kind: str = "payment"
) -> Document:
    """Make a document."""
    return Document(account_id, kind, key, seq, body)


def built(engine: Engine, rows: Sequence[Document], clock: FakeClock, **changes: Any) -> None:
    """Build a copy out of one frame and send readers to it."""
    build = engine.begin()
    build.add(checked(make_frame(list(rows), **changes)), clock.boot_seconds())
    engine.adopt(build)


def following(rows: Sequence[Document], onto: Sequence[Document], **changes: Any) -> Frame:
    """Make the barrier that follows what was built."""
    after = max(row.seq for row in onto)
    return make_frame(list(rows), onto=onto, **{"after": after, "as_of": NOON, **changes})


def unchanged(engine: Engine, clock: FakeClock, frames: list[Frame], reason: str) -> None:
    """Check that frames are refused for a reason, and nothing else happens."""
    before, held, state = engine.everything(ACCOUNTS), engine.held(), engine.state()
    with pytest.raises(InvalidFrame) as refused:
        engine.apply(frames, clock.boot_seconds())
    assert refused.value.reason == reason
    assert (engine.everything(ACCOUNTS), engine.held()) == (before, held)
    assert (engine.state().position, engine.state().as_of) == (state.position, state.as_of)


FIRST = [document("a", "1", 1, b"one"), document("a", "2", 2, b"two"), document("b", "1", 3)]
FIRST_STATE: State = {
    ("a", "payment", "1"): b"one",
    ("a", "payment", "2"): b"two",
    ("b", "payment", "1"): b"{}",
}


def test_a_copy_is_invisible_until_its_barrier(engine: Engine, clock: FakeClock) -> None:
    """Pages before a barrier show nobody anything; the barrier shows the whole state, with where it stands."""
    build = engine.begin()
    build.add(checked(make_frame(FIRST[:2], barrier=False, head=3)), clock.boot_seconds())
    assert not engine.is_readable()
    build.add(checked(make_frame(FIRST[2:], after=2, onto=FIRST)), clock.boot_seconds())
    assert not engine.is_readable()
    engine.adopt(build)
    assert engine.everything(ACCOUNTS) == FIRST_STATE
    state = engine.state()
    assert (state.epoch, state.cursor, state.as_of, state.at_least) == (1, 3, NOON, False)
    assert engine.held() == (state.shard, 1, 3, 0, NOON)


def test_a_barrier_moves_rows_cursor_and_time_together(engine: Engine, clock: FakeClock) -> None:
    """Several pages up to a barrier: new, changed and deleted documents, the cursor and T, all at once."""
    built(engine, FIRST, clock)
    changed = [document("a", "1", 4, b"changed"), document("a", "2", 5, None)]
    added = [document("c", "9", 6, b"new")]
    pages = [
        following(changed, FIRST, barrier=False, head=6),
        following(added, [*FIRST, *changed], as_of=NOON + timedelta(seconds=1)),
    ]
    assert engine.apply(pages, clock.boot_seconds()) == 3
    assert engine.everything(ACCOUNTS) == {
        ("a", "payment", "1"): b"changed",
        ("b", "payment", "1"): b"{}",
        ("c", "payment", "9"): b"new",
    }
    assert engine.document("a", "payment", "2") is None
    assert engine.document("a", "payment", "1") == changed[0]
    assert engine.state().cursor == 6
    assert engine.state().as_of == NOON + timedelta(seconds=1)


def test_a_document_that_moves_between_pages_counts_once(engine: Engine, clock: FakeClock) -> None:
    """A row that was read, changed, and read again at its new place leaves one document, in a build and in a tail."""
    build = engine.begin()
    build.add(checked(make_frame(FIRST, barrier=False, head=5)), clock.boot_seconds())
    moved = [document("a", "1", 4, b"moved"), document("b", "1", 5, None)]
    build.add(checked(following(moved, FIRST)), clock.boot_seconds())
    engine.adopt(build)
    again = [document("a", "1", 6, b"again")]
    last = [document("a", "1", 7, b"last")]
    pages = [
        following(again, moved, barrier=False, head=7),
        following(last, [*FIRST, *moved, *again]),
    ]
    engine.apply(pages, clock.boot_seconds())
    assert engine.everything(ACCOUNTS) == {
        ("a", "payment", "1"): b"last",
        ("a", "payment", "2"): b"two",
    }


def test_a_later_version_of_a_body_is_applied_by_nobody(engine: Engine, clock: FakeClock) -> None:
    """Neither to what is read nor to what is built; a kind that is not known at all is stored as it came."""
    built(engine, FIRST, clock)
    before, held = engine.everything(ACCOUNTS), engine.held()
    later = Document("a", "payment", "1", 4, b"later", 2)
    with pytest.raises(UnknownVersion, match="payment"):
        engine.apply([following([later], FIRST)], clock.boot_seconds())
    build = engine.begin()
    with pytest.raises(UnknownVersion, match="payment"):
        build.add(checked(make_frame([later])), clock.boot_seconds())
    assert (engine.everything(ACCOUNTS), engine.held()) == (before, held)
    stranger = Document("a", "of a later release", "1", 4, b"\x00 not even text", 7)
    engine.apply([following([stranger], FIRST)], clock.boot_seconds())
    assert engine.document("a", "of a later release", "1") == stranger


def test_a_heartbeat_moves_only_time(engine: Engine, clock: FakeClock) -> None:
    """Without news T goes on and the age begins anew; without heartbeats the age grows."""
    built(engine, FIRST, clock)
    clock.advance(30)
    assert 30 <= engine.state().age_seconds < 31
    beat = following([], FIRST, upto=3, head=3, as_of=NOON + timedelta(seconds=30))
    engine.apply([beat], clock.boot_seconds())
    assert engine.state().age_seconds < 1
    assert engine.state().as_of == NOON + timedelta(seconds=30)
    assert engine.state().cursor == 3
    assert engine.everything(ACCOUNTS) == FIRST_STATE


def test_the_same_time_again_never_looks_younger(engine: Engine, clock: FakeClock) -> None:
    """A T that was heard before is an old answer that came twice: its age goes on from the first."""
    built(engine, FIRST, clock)
    clock.advance(60)
    engine.apply([following([], FIRST, upto=3, head=3)], clock.boot_seconds())
    assert engine.state().age_seconds >= 60
    row = document("c", "1", 4)
    engine.apply([following([row], FIRST)], clock.boot_seconds())
    assert engine.state().age_seconds >= 60
    assert engine.state().cursor == 4


def test_an_age_of_another_boot_is_a_lower_bound(engine: Engine, clock: FakeClock) -> None:
    """Seconds of two boots cannot be subtracted: the label says "at least"."""
    built(engine, FIRST, clock, age_seconds=7.0)
    clock._boot_id = "boot-2"
    assert engine.state().at_least
    assert engine.state().age_seconds >= 7


def test_duplicates_gaps_and_disorder_are_refused(engine: Engine, clock: FakeClock) -> None:
    """Only what begins at the cursor is applied: nothing twice, nothing early, nothing with a hole before it."""
    built(engine, FIRST, clock)
    second = following([document("c", "1", 4)], FIRST)
    third = following([document("c", "2", 5)], [*FIRST, document("c", "1", 4)])
    unchanged(engine, clock, [third], "gap")
    unchanged(engine, clock, [third, second], "gap")
    engine.apply([second], clock.boot_seconds())
    unchanged(engine, clock, [second], "gap")
    engine.apply([third], clock.boot_seconds())
    assert engine.state().cursor == 5


def test_other_histories_are_refused(engine: Engine, clock: FakeClock) -> None:
    """Another epoch, another shard, a T before the T that was shown, a page that is no barrier: none is applied."""
    built(engine, FIRST, clock)
    row = document("c", "1", 4)
    unchanged(engine, clock, [following([row], FIRST, epoch=2)], "epoch")
    unchanged(engine, clock, [following([row], FIRST, shard="1")], "shard")
    before = NOON - timedelta(seconds=1)
    unchanged(engine, clock, [following([row], FIRST, as_of=before)], "as_of")
    unchanged(engine, clock, [following([row], FIRST, barrier=False, head=9)], "barrier")
    torn = sealed(following([row], FIRST))
    unchanged(engine, clock, [_with(torn, digest="0" * 64)], "digest")


def test_what_does_not_sum_up_is_refused(engine: Engine, clock: FakeClock) -> None:
    """A document that was left out upstream, or never deleted here, shows in the live hash: nothing is applied."""
    built(engine, FIRST, clock)
    shown = following([document("c", "1", 4)], [*FIRST, document("c", "0", 3)])
    unchanged(engine, clock, [shown], "hash")
    kept = [row for row in FIRST if row.key != "2"]
    unchanged(engine, clock, [following([document("c", "1", 4)], kept)], "hash")
    build = engine.begin()
    with pytest.raises(InvalidFrame, match="hash"):
        build.add(checked(make_frame(FIRST[:2], onto=FIRST, upto=3, head=3)), clock.boot_seconds())
    assert engine.everything(ACCOUNTS) == FIRST_STATE


def test_forgotten_deletes_spoil_a_build(engine: Engine, clock: FakeClock) -> None:
    """When the floor passes the head that a build began under, a delete may be missing: it is given up."""
    build = engine.begin()
    build.add(checked(make_frame(FIRST, barrier=False, head=4)), clock.boot_seconds())
    row = document("c", "1", 9)
    with pytest.raises(InvalidFrame, match="floor"):
        build.add(checked(following([row], FIRST, floor=8)), clock.boot_seconds())


def test_tombstones_leave_nothing_to_read(engine: Engine, clock: FakeClock) -> None:
    """A deleted document is as unknown as one that never was, also when its tombstone is forgotten; it may return."""
    built(engine, FIRST, clock)
    gone = [document("a", "1", 4, None), document("b", "1", 5, None)]
    engine.apply([following(gone, FIRST)], clock.boot_seconds())
    rest: State = {("a", "payment", "2"): b"two"}
    assert engine.everything(ACCOUNTS) == rest
    assert engine.documents("b", "payment") == []
    later = NOON + timedelta(seconds=1)
    forgot = following([], [*FIRST, *gone], upto=5, head=5, floor=5, as_of=later)
    engine.apply([forgot], clock.boot_seconds())
    assert engine.held().floor == 5
    assert engine.everything(ACCOUNTS) == rest
    back = document("b", "1", 6, b"back")
    engine.apply([following([back], [*FIRST, *gone], as_of=later, floor=5)], clock.boot_seconds())
    assert engine.documents("b", "payment") == [back]


def test_a_crash_in_the_middle_of_a_build_leaves_the_old_copy(
    engine: Engine, clock: FakeClock
) -> None:
    """Readers go on with what they had; the next life begins another build and finishes it."""
    built(engine, FIRST, clock)
    build = engine.begin()
    build.add(
        checked(make_frame([document("x", "1", 1)], barrier=False, head=2)), clock.boot_seconds()
    )
    engine.reopen()
    assert engine.everything(ACCOUNTS) == FIRST_STATE
    assert engine.held().cursor == 3
    row = document("c", "1", 4)
    engine.apply([following([row], FIRST)], clock.boot_seconds())
    built(engine, [document("a", "1", 8)], clock)
    assert engine.everything((*ACCOUNTS, "x")) == {("a", "payment", "1"): b"{}"}


def test_a_new_copy_replaces_the_old_one_whole(engine: Engine, clock: FakeClock) -> None:
    """Before the swap the old epoch is read, after it the new one; documents of the old one are gone."""
    built(engine, FIRST, clock)
    build = engine.begin()
    new = [document("a", "1", 1, b"of epoch two")]
    build.add(checked(make_frame(new, epoch=2)), clock.boot_seconds())
    assert (engine.state().epoch, engine.everything(ACCOUNTS)) == (1, FIRST_STATE)
    engine.adopt(build)
    assert engine.state().position.epoch == 2
    assert engine.everything(ACCOUNTS) == {("a", "payment", "1"): b"of epoch two"}
    engine.reopen()
    assert engine.held().epoch == 2


def test_credentials_are_found_by_their_key(engine: Engine, clock: FakeClock) -> None:
    """The newest one under the key counts, whatever account it is filed under; a withdrawn one is unknown."""
    first = document("a", "k", 1, b"first", CREDENTIAL)
    second = document("b", "k", 2, b"second", CREDENTIAL)
    other = document("a", "other", 3, b"other", CREDENTIAL)
    rows = [first, second, other]
    built(engine, rows, clock)
    assert engine.credential("k") == second
    assert engine.credential("other") == other
    assert engine.document("a", CREDENTIAL, "k") == first
    assert engine.credential("unknown") is None
    gone = [document("b", "k", 4, None, CREDENTIAL)]
    engine.apply([following(gone, rows)], clock.boot_seconds())
    assert engine.credential("k") == first
    last = [document("a", "k", 5, None, CREDENTIAL)]
    engine.apply([following(last, [*rows, *gone])], clock.boot_seconds())
    assert engine.credential("k") is None
    assert engine.credential("other") == other


def test_keys_and_bodies_are_what_they_were(engine: Engine, clock: FakeClock) -> None:
    """Nothing in a name or a body is special to an engine: braces, colons, line ends, NULs, other scripts."""
    names = ["{}", "a{b}c", "x:y:z", "zwölf", "\r\n", "with\0nul", "*?[", "{east.0}"]
    rows = [
        document(name, key, 1 + number * len(names) + place, f'{{"{place}\r\n"}}'.encode())
        for number, name in enumerate(names)
        for place, key in enumerate(names)
    ]
    built(engine, rows, clock)
    for row in rows:
        assert engine.document(row.account_id, row.kind, row.key) == row
    assert engine.documents("{}", "payment") == sorted(rows[: len(names)], key=lambda row: row.key)


def test_shards_live_beside_each_other(shards: dict[str, Engine], clock: FakeClock) -> None:
    """Each has its own cursor, and nothing of one is seen in another, or moved with it."""
    rows = {
        shard: [document("a", "1", first_seq(shard) + 1, f"of {shard}".encode())]
        for shard in shards
    }
    for shard, engine in shards.items():
        built(engine, rows[shard], clock, shard=shard)
    moved = document("a", "1", first_seq("1") + 2, b"moved")
    shards["1"].apply([following([moved], rows["1"], shard="1")], clock.boot_seconds())
    assert {
        shard: engine.state().cursor - first_seq(shard) for shard, engine in shards.items()
    } == {
        "0": 1,
        "1": 2,
        "2": 1,
    }
    assert [engine.everything("a") for engine in shards.values()] == [
        {("a", "payment", "1"): b"of 0"},
        {("a", "payment", "1"): b"moved"},
        {("a", "payment", "1"): b"of 2"},
    ]


def _with(frame: Frame, **changes: object) -> Frame:
    fields = {name: getattr(frame, name) for name in frame.__struct_fields__}
    return Frame(**{**fields, **changes})

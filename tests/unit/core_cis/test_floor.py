"""Who keeps deletes from being forgotten, and who does not."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from core_cis.floor import AGE_HOLDER, FILE_HOLDER, Floor, Reported, decide_floor

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
AWAY = timedelta(days=30)


def reported(node_id: str, seq: int, *, epoch: int = 1, days_ago: float = 0.0) -> Reported:
    """Make what an edge said."""
    return Reported(node_id, epoch, seq, NOON - timedelta(days=days_ago))


def decide(
    *reports: Reported,
    present: int = 10,
    head: int = 100,
    aged: int = 100,
    file_seq: int | None = None,
) -> Floor:
    """Decide with epoch 1 at noon."""
    return decide_floor(
        present,
        head,
        epoch=1,
        reports=reports,
        now=NOON,
        away_max=AWAY,
        aged=aged,
        file_seq=file_seq,
    )


def test_the_least_edge_holds_it() -> None:
    """The floor goes to what all hold, and the one that keeps it there is named."""
    assert decide(reported("east", 70), reported("west", 90)) == Floor(70, "east", ())
    assert decide(reported("east", 100), reported("west", 100)) == Floor(100, "", ())


def test_without_edges_only_age_and_files_hold_it() -> None:
    """What begins with a file, or reads from the beginning, needs what came after."""
    assert decide(aged=60) == Floor(60, AGE_HOLDER, ())
    assert decide(aged=60, file_seq=40) == Floor(40, FILE_HOLDER, ())
    assert decide(reported("east", 40), aged=60, file_seq=40) == Floor(40, "east", ())


def test_one_that_never_said_anything_is_waited_for() -> None:
    """It may be reading the feed from its beginning; a month later nobody waits."""
    silent = Reported("west", 0, 0, NOON - timedelta(days=29))
    assert decide(reported("east", 70), silent) == Floor(10, "west", ())
    silent = Reported("west", 0, 0, NOON - timedelta(days=31))
    assert decide(reported("east", 70), silent) == Floor(70, "east", ("west",))


def test_one_that_stays_away_is_not_waited_for() -> None:
    """It is named, and its place does not matter any more."""
    gone = reported("west", 20, days_ago=31)
    assert decide(reported("east", 70), gone) == Floor(70, "east", ("west",))
    assert decide(gone) == Floor(100, "", ("west",))


def test_another_epoch_holds_nothing() -> None:
    """Whoever is in another one begins anew in any case."""
    assert decide(reported("east", 5, epoch=2), reported("west", 80)) == Floor(80, "west", ())


def test_it_never_falls() -> None:
    """An edge below it has been told, and begins anew."""
    assert decide(reported("east", 3)) == Floor(10, "east", ())


@given(
    present=st.integers(0, 50),
    moved=st.integers(0, 50),
    aged=st.integers(0, 120),
    file_seq=st.none() | st.integers(0, 120),
    edges=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 120), st.floats(0, 60)), max_size=5),
)
def test_no_edge_that_is_waited_for_is_passed(
    present: int,
    moved: int,
    aged: int,
    file_seq: int | None,
    edges: list[tuple[int, int, float]],
) -> None:
    """Whatever is said: between where it is and the head, and not above any edge that spoke within the bound."""
    head = present + moved
    reports = [
        reported(f"edge-{number}", seq, epoch=epoch, days_ago=days)
        for number, (epoch, seq, days) in enumerate(edges)
    ]
    floor = decide(*reports, present=present, head=head, aged=aged, file_seq=file_seq)
    assert present <= floor.through <= head
    if floor.through == present:
        return
    assert floor.through <= aged
    assert file_seq is None or floor.through <= file_seq
    for each in reports:
        if NOON - each.heard_at <= AWAY:
            assert each.epoch != 0
            assert each.epoch != 1 or floor.through <= each.seq
        else:
            assert each.node_id in floor.away

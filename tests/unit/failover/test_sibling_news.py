"""What may be missed by what siblings said, and when nothing can be known."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from failover.marks import Marker, pack_marks
from failover.sibling_news import (
    HEARD_SECONDS,
    NO_NEWS,
    MayMiss,
    NewsReader,
    NodeNews,
    SiblingNews,
)
from tests.unit.failover.virtual import ManualClock

KEY = b"a key of the fleet"


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that stands."""
    return ManualClock()


@pytest.fixture
def reader(tmp_path: Path, clock: ManualClock) -> NewsReader:
    """Return a reader of news that were not written yet."""
    return NewsReader(tmp_path / "news", fleet_key=KEY, clock=clock)


def said(
    clock: ManualClock, name: str, *payments: str, unlisted: int = 0, normal: bool = False
) -> NodeNews:
    """Let a sibling have payments of one account."""
    marker = Marker(KEY)
    marks = [marker.account("A-1", number) for number in range(1, len(payments) + 1)]
    marks += [marker.payment("A-1", payment) for payment in payments]
    return NodeNews(
        node_id=name,
        heard_at=clock.boot_seconds(),
        observed_at=clock.now(),
        count=len(payments) + unlisted,
        unlisted=unlisted,
        normal=normal,
        marks=pack_marks(marks),
    )


def put(tmp_path: Path, clock: ManualClock, *nodes: NodeNews) -> None:
    """Write news down as the agent does."""
    news = SiblingNews(boot_id=clock.boot_id(), nodes=list(nodes))
    (tmp_path / "news").write_bytes(msgspec.msgpack.encode(news))


def test_without_siblings_nothing_is_missed(
    tmp_path: Path, clock: ManualClock, reader: NewsReader
) -> None:
    """An edge alone has nobody to miss anything of; one that cannot tell says so."""
    assert reader.moment(normal=False).unheard == MayMiss(why="unheard")
    put(tmp_path, clock)
    assert reader.moment(normal=False) is NO_NEWS
    assert reader.missed(NO_NEWS, "A-1", ()) is None


def test_the_same_payment_at_two_siblings_is_one(
    tmp_path: Path, clock: ManualClock, reader: NewsReader
) -> None:
    """Writer and witness both tell of it; what is known here counts against both."""
    put(tmp_path, clock, said(clock, "east", "p", "q"), said(clock, "north", "p"))
    moment = reader.moment(normal=False)
    assert reader.missed(moment, "A-1", ()) == MayMiss(why="waiting", payments=2)
    assert reader.missed(moment, "A-1", ("p",)) == MayMiss(why="waiting", payments=1)
    assert reader.missed(moment, "A-1", ("p", "q", "r")) is None
    assert reader.missed(moment, "A-2", ()) is None


def test_in_normal_operation_only_siblings_in_an_outage_count(
    tmp_path: Path, clock: ManualClock, reader: NewsReader
) -> None:
    """What waits at a sibling that reaches the core too is posted within moments."""
    put(tmp_path, clock, said(clock, "east", "p", normal=True))
    assert reader.moment(normal=True) is NO_NEWS
    assert reader.missed(reader.moment(normal=False), "A-1", ()) is not None
    put(tmp_path, clock, said(clock, "east", "p", "q"))
    assert reader.missed(reader.moment(normal=True), "A-1", ()) is not None


def test_silence_is_said_from_when_on(
    tmp_path: Path, clock: ManualClock, reader: NewsReader
) -> None:
    """Old news, another boot of the machine, a sibling never heard of, one with more than it lists: all may miss."""
    put(tmp_path, clock, said(clock, "east"), said(clock, "north"))
    heard_at = clock.now()
    clock.seconds += HEARD_SECONDS
    clock.wall += timedelta(seconds=HEARD_SECONDS)
    assert reader.moment(normal=False) is NO_NEWS
    clock.seconds += 1
    unheard = MayMiss(why="unheard", since=heard_at)
    assert reader.missed(reader.moment(normal=False), "A-1", ()) == unheard
    assert reader.moment(normal=True) is NO_NEWS
    put(tmp_path, clock, said(clock, "east"), NodeNews(node_id="north"))
    assert reader.moment(normal=False).unheard == MayMiss(why="unheard")
    put(tmp_path, clock, said(clock, "east", unlisted=1))
    assert reader.moment(normal=False).unheard == MayMiss(why="unheard")
    put(tmp_path, clock, said(clock, "east"))
    clock.boot = "another"
    assert reader.moment(normal=False).unheard == MayMiss(why="unheard")


def test_being_heard_again_is_no_other_version(
    tmp_path: Path, clock: ManualClock, reader: NewsReader
) -> None:
    """Answers that were made from the same news are kept; what a sibling says anew makes them anew."""
    put(tmp_path, clock, said(clock, "east", "p"))
    first = reader.moment(normal=False).version
    clock.seconds += 5
    put(tmp_path, clock, said(clock, "east", "p"))
    assert reader.moment(normal=False).version == first
    put(tmp_path, clock, said(clock, "east", "p", "q"))
    assert reader.moment(normal=False).version != first
    (tmp_path / "news").write_bytes(b"torn")
    assert reader.moment(normal=False).unheard == MayMiss(why="unheard")

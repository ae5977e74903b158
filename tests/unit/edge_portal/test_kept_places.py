"""What an edge tells the core that it holds for good."""

from pathlib import Path

from cache_sync.follower_status import FollowerStatus, write_status
from cache_sync.frames import POSITIONS_MAX, Position, parse_positions, write_positions
from edge_portal.kept_places import KeptPlaces
from tests.unit.cache_sync.feed_world import NOON


def write(folder: Path, shard: str, epoch: int, cursor: int) -> Path:
    """Write a follower's status into a folder."""
    folder.mkdir()
    status = FollowerStatus(
        phase="following",
        since=NOON,
        shard=shard,
        epoch=epoch,
        cursor=cursor + 5,
        durable_epoch=epoch,
        durable_cursor=cursor,
    )
    write_status(folder, status)
    return folder


def test_only_what_survives_is_told(tmp_path: Path) -> None:
    """The durable place, not the cursor; nothing of a shard whose place is not known."""
    folders = {
        "0": write(tmp_path / "0", "0", 1, 70),
        "1": write(tmp_path / "1", "1", 0, 0),
        "2": tmp_path / "nothing here",
    }
    assert KeptPlaces(folders)() == [Position(1, "0", 70)]


def test_many_shards_are_told_in_turns(tmp_path: Path) -> None:
    """A question stays short, and every shard's turn comes."""
    count = POSITIONS_MAX + 3
    kept = KeptPlaces(
        {str(number): write(tmp_path / str(number), str(number), 1, 7) for number in range(count)}
    )
    told = [kept(), kept()]
    assert [len(each) for each in told] == [POSITIONS_MAX, POSITIONS_MAX]
    assert {place.shard for each in told for place in each} == {str(n) for n in range(count)}


def test_positions_as_text() -> None:
    """What was written is read; what is no position, and what is too much, is left out."""
    places = [Position(1, str(number), number) for number in range(POSITIONS_MAX + 1)]
    assert parse_positions(write_positions(places)) == places[:-1]
    assert parse_positions("") == []
    assert parse_positions("1.0.7,x,2..,-1.0.5,1.1.8") == [
        Position(1, "0", 7),
        Position(1, "1", 8),
    ]

"""What `/status` says of each shard, and which of several speaks for the node."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cache_sync.follower_status import FollowerStatus, write_status
from cache_sync.verification import VerificationReport
from edge_portal.shard_status import ShardStatus, oldest_shard, read_shards, worst_shard
from tests.unit.cache_sync.feed_world import NOON, FakeClock
from tests.unit.edge_portal.test_held_snapshots import build

ENDED = datetime(2026, 11, 24, 11, tzinfo=UTC)


def follower(shard: str, **told: object) -> FollowerStatus:
    """Make what a follower writes."""
    fields = {"phase": "following", "since": NOON, "shard": shard, "boot_id": "boot-1", **told}
    return FollowerStatus(**fields)  # type: ignore[arg-type]


def report(shard: str, *, divergent_rows: int) -> VerificationReport:
    """Make a finished comparison."""
    return VerificationReport(
        shard=shard,
        upstream="core",
        epoch=1,
        cursor=1,
        began_at=ENDED,
        ended_at=ENDED,
        compared_ranges=1,
        compared_rows=9,
        repaired_rows=0,
        damaged_above=0,
        skipped_ranges=0,
        divergent_rows=divergent_rows,
    )


def test_each_shard_has_its_place_age_and_feed(tmp_path: Path) -> None:
    """Cursor and age are the snapshot's; head, heartbeat and counters the follower's."""
    clock = FakeClock()
    for shard, folder in (("0", "snapshot"), ("1", "snapshot-1")):
        build(tmp_path / folder, shard, clock, asked_ago=4.0)
    cursor = read_shards(tmp_path / "snapshot", {}, clock)["1"].cursor
    write_status(
        tmp_path / "snapshot-1",
        follower(
            "1",
            epoch=1,
            head=cursor + 5,
            phase="stopped",
            reason="unknown_version:account:2",
            answered_boot_seconds=clock.boot - 2.0,
            rows_applied=7,
            frames_refused=3,
            snapshots_built=1,
            file_refused="signature",
            path=["east", "core"],
        ),
    )
    reports = {"0": report("0", divergent_rows=0), "1": report("1", divergent_rows=2)}
    shards = read_shards(tmp_path / "snapshot", reports, clock)
    assert set(shards) == {"0", "1"}
    told = shards["1"]
    assert (told.epoch, told.cursor, told.head, told.lag) == (1, cursor, cursor + 5, 5)
    assert (told.as_of, told.lag_at_least) == (NOON, False)
    assert told.lag_seconds == pytest.approx(4.0, abs=0.1)
    assert told.heartbeat_seconds == pytest.approx(2.0, abs=0.1)
    assert (told.phase, told.reason) == ("stopped", "unknown_version:account:2")
    assert (told.upstream, told.path) == ("east", ["east", "core"])
    assert (told.rows_applied, told.frames_refused, told.snapshots_built) == (7, 3, 1)
    assert told.file_refused == "signature"
    assert told.bytes > 4096
    assert told.verified_at is None, "what differed was not verified"
    assert shards["0"].verified_at == ENDED
    assert shards["0"].phase == "starting"


def test_after_a_restart_of_the_machine_ages_are_at_least(tmp_path: Path) -> None:
    """And when the feed was heard is not known."""
    build(tmp_path / "snapshot", "0", FakeClock(), asked_ago=4.0)
    write_status(tmp_path / "snapshot", follower("0", answered_boot_seconds=999.0))
    told = read_shards(tmp_path / "snapshot", {}, FakeClock("boot-2", 50.0))["0"]
    assert told.lag_at_least
    assert told.heartbeat_seconds is None


def test_a_head_of_another_epoch_says_nothing(tmp_path: Path) -> None:
    """The lag is never negative, nor counted across epochs."""
    clock = FakeClock()
    build(tmp_path / "snapshot", "0", clock, asked_ago=1.0)
    for head, epoch in ((1_000_000, 2), (0, 1)):
        write_status(tmp_path / "snapshot", follower("0", epoch=epoch, head=head))
        told = read_shards(tmp_path / "snapshot", {}, clock)["0"]
        assert (told.head, told.lag) == (told.cursor, 0)


def test_the_oldest_and_the_worst_speak_for_the_node() -> None:
    """No label is younger than what it covers, and no trouble is hidden behind a shard that is well."""
    young = ShardStatus(phase="following", as_of=NOON, lag_seconds=1.0)
    old = ShardStatus(phase="catching_up", as_of=NOON, lag_seconds=60.0)
    unsure = ShardStatus(phase="following", as_of=NOON, lag_seconds=2.0, lag_at_least=True)
    stopped = ShardStatus(phase="stopped", reason="hash", as_of=NOON, lag_seconds=3.0)
    empty = ShardStatus(phase="bootstrapping")
    assert oldest_shard([young, old]) is old
    assert oldest_shard([old, unsure]) is unsure
    assert oldest_shard([old, empty, unsure]) is empty
    assert worst_shard([young, old, stopped, empty]) is stopped
    assert worst_shard([young, old]) is old
    assert worst_shard([young, unsure]) is unsure
    assert oldest_shard([]) == worst_shard([]) == ShardStatus()

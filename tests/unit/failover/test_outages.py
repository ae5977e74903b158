"""What a node remembers of its outages: each once, over restarts, bounded."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from failover.outages import KEPT, OutageLog, read_outages
from failover.peer_messages import Outage

START = datetime(2026, 3, 10, 15, 0, tzinfo=UTC)


def test_an_outage_lasts_until_normal_operation(tmp_path: Path) -> None:
    """Degraded and recovering are one outage; a restart in its middle goes on with it."""
    path = tmp_path / "outages.json"
    log = OutageLog(path)
    log.note("normal", START)
    assert read_outages(path) == []
    log.note("degraded", START + timedelta(seconds=1))
    log.note("recovering", START + timedelta(seconds=2))
    again = OutageLog(path)
    again.note("degraded", START + timedelta(seconds=3))
    assert read_outages(path) == [Outage(START + timedelta(seconds=1))]
    again.note("normal", START + timedelta(seconds=9))
    again.note("normal", START + timedelta(seconds=10))
    assert read_outages(path) == [
        Outage(START + timedelta(seconds=1), START + timedelta(seconds=9))
    ]


def test_the_newest_are_kept(tmp_path: Path) -> None:
    """A flapping core does not fill the disk; a damaged file reads as nothing remembered."""
    path = tmp_path / "outages.json"
    log = OutageLog(path)
    for number in range(KEPT + 5):
        log.note("degraded", START + timedelta(minutes=number))
        log.note("normal", START + timedelta(minutes=number, seconds=1))
    kept = read_outages(path)
    assert (len(kept), kept[0].began_at) == (KEPT, START + timedelta(minutes=5))
    path.write_bytes(b"[{")
    assert read_outages(path) == []

"""Who was refused at the door is told, at a bounded rate."""

import pytest

from failover.tls_door import LOG_EVERY_SECONDS, RefusedHandshakes
from tests.unit.cache_sync.feed_world import FakeClock


def test_the_log_is_told_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """With how many there were since."""
    clock = FakeClock()
    counted: list[int] = []
    refused = RefusedHandshakes(clock, lambda: counted.append(1))
    for _ in range(3):
        refused.note("no certificate")
    clock.advance(LOG_EVERY_SECONDS)
    refused.note("certificate expired")
    said = capsys.readouterr().out
    assert said.count("callers were refused") == 2
    assert "callers=3" in said
    assert refused.count == len(counted) == 4

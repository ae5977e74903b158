"""Which shards siblings may read: as the core said last, and as a node's own file says before that."""

import contextlib
from pathlib import Path

import pytest

from failover.grants import Grants, check_granted, read_grant, write_grant
from failover.web import Problem


def reads(grants: Grants, node_id: str) -> list[str]:
    """List which of four shards a node may read."""
    found = []
    for shard in ("0", "1", "2", "10"):
        with contextlib.suppress(Problem):
            grants.check(node_id, shard)
            found.append(shard)
    return found


def test_the_configured_holds_until_the_core_was_heard(tmp_path: Path) -> None:
    """Then its word replaces all of it, also what it said itself before; every process sees that."""
    agent, feeder = (Grants(tmp_path, {"east": "1", "west": ""}) for _ in range(2))
    assert (reads(feeder, "east"), reads(feeder, "west")) == (["1"], ["0", "1", "2", "10"])
    agent.note({"west": "2,10"})
    assert (reads(feeder, "east"), reads(feeder, "west")) == (["0", "1", "2", "10"], ["2", "10"])
    agent.note({})
    assert reads(feeder, "west") == ["0", "1", "2", "10"]
    assert reads(Grants(tmp_path, {"west": "1"}), "west") == ["0", "1", "2", "10"]


def test_a_damaged_file_opens_nothing(tmp_path: Path) -> None:
    """What was known holds on, in this process; the agent writes the file anew with the core's next word."""
    agent, feeder = Grants(tmp_path, {}), Grants(tmp_path, {})
    agent.note({"east": "1"})
    assert reads(feeder, "east") == ["1"]
    (tmp_path / "grants.json").write_bytes(b"{")
    assert reads(feeder, "east") == ["1"]
    agent.note({"east": "2"})
    assert reads(feeder, "east") == ["2"]


@pytest.mark.parametrize(
    ("shards", "text"), [([], ""), (["3"], "3"), (["10", "9", "10", "0"], "0,9,10")]
)
def test_a_grant_is_written_in_one_way(shards: list[str], text: str) -> None:
    """In order of number, each once."""
    assert write_grant(shards) == text
    assert read_grant(text) == sorted(set(shards), key=int)


def test_a_shard_is_named_whole() -> None:
    """Shard 1 is not part of shard 11."""
    check_granted("11", ["11"])
    with pytest.raises(Problem) as refused:
        check_granted("1", ["11"])
    assert (refused.value.status, refused.value.slug) == (403, "wrong_shard")

"""Who was expelled stays expelled: for every process, and after a restart."""

from pathlib import Path

from failover.revocations import FILE_NAME, Revocations


def test_every_process_knows_and_nothing_is_taken_back(tmp_path: Path) -> None:
    """One notes it, another sees it without being told; a later word without a name changes nothing."""
    agent, feeder = Revocations(tmp_path), Revocations(tmp_path)
    assert "east" not in feeder
    agent.note(["east"])
    assert "east" in feeder
    agent.note([])
    agent.note(["west"])
    assert all(
        name in known for name in ("east", "west") for known in (feeder, Revocations(tmp_path))
    )
    assert "north" not in feeder


def test_an_expelled_node_has_no_secret(tmp_path: Path) -> None:
    """So it is refused exactly as one that nobody knows."""
    revoked = Revocations(tmp_path)
    find = revoked.among({"east": "hash"})
    assert (find("east"), find("north")) == ("hash", None)
    revoked.note(["east"])
    assert find("east") is None


def test_what_cannot_be_written_holds_and_is_written_later(tmp_path: Path) -> None:
    """A full disk does not let anybody in again."""
    folder = tmp_path / "data"
    revoked = Revocations(folder)
    revoked.note(["east"])
    assert "east" in revoked
    folder.mkdir()
    revoked.note(["east"])
    assert "east" in Revocations(folder)


def test_a_damaged_file_leaves_what_was_known(tmp_path: Path) -> None:
    """And is replaced with the next word of the core."""
    revoked = Revocations(tmp_path)
    revoked.note(["east"])
    (tmp_path / FILE_NAME).write_bytes(b"{")
    assert "east" in revoked
    revoked.note(["west"])
    assert "east" in Revocations(tmp_path)

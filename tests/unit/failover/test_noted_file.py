"""A state file that one process writes and others read."""

from pathlib import Path

import pytest

from failover.noted_file import NotedFile, put_whole


def test_a_reader_sees_what_is_written(tmp_path: Path) -> None:
    """Nothing where there is none, and again once it is gone; what is there otherwise, without being told."""
    path = tmp_path / "noted.json"
    writer, reader = (NotedFile(path, list[str], "names") for _ in range(2))
    assert reader.read() is None
    for names in (["a"], ["a", "b"], []):
        writer.write(names)
        assert reader.read() == writer.read() == names
    path.unlink()
    assert reader.read() is None


def test_what_cannot_be_read_or_written_is_left(tmp_path: Path) -> None:
    """A damaged file, one of another shape, a folder in its place."""
    path = tmp_path / "noted.json"
    noted = NotedFile(path, list[str], "names")
    noted.write(["a"])
    assert noted.read() == ["a"]
    for wrong in (b"{", b'{"a": 1}', b"\xff"):
        path.write_bytes(wrong)
        assert noted.read() == ["a"]
    path.unlink()
    path.mkdir()
    noted.write(["b"])
    assert path.is_dir()
    assert noted.read() == ["a"]


def test_a_durable_file_is_replaced_whole(tmp_path: Path) -> None:
    """What is there is the new content or the old, and nothing is left beside it; a folder that is gone is told."""
    path = tmp_path / "noted.json"
    put_whole(path, b"one", flush=True)
    put_whole(path, b"two", flush=True)
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        put_whole(tmp_path / "gone" / "noted.json", b"three", flush=True)

"""An edge's configuration: private, whole, and clear about what is wrong."""

from pathlib import Path

import pytest

from failover.errors import ConfigInvalid
from failover.node_config import EdgeConfig, PeerConfig, Utility, read_config, write_config

CONFIG = EdgeConfig(
    node_id="east",
    node_secret="s",
    signing_key="k",
    core_url="http://127.0.0.1:1",
    core_secret_sha256="h",
    session_key="a",
    form_key="b",
    lookup_key="c",
    port=8001,
    peer_port=8002,
    utility=Utility(name="Harbour Light", phone="555-0100"),
    peers=[PeerConfig(node_id="west", url="http://127.0.0.1:2", public_key="p", secret_sha256="h")],
)


def test_what_is_written_is_read_and_private(tmp_path: Path) -> None:
    """Mode 0600, nothing left beside it."""
    path = tmp_path / "deep" / "edge.json"
    write_config(path, CONFIG)
    assert read_config(path) == CONFIG
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_an_existing_one_is_not_overwritten_unasked(tmp_path: Path) -> None:
    """Its keys would be lost."""
    path = tmp_path / "edge.json"
    write_config(path, CONFIG)
    with pytest.raises(FileExistsError):
        write_config(path, CONFIG)
    write_config(path, CONFIG, overwrite=True)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"node_id": 5}'])
def test_what_cannot_be_used_is_said_without_its_content(tmp_path: Path, text: str) -> None:
    """The file's name and the rule, never a value."""
    path = tmp_path / "edge.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigInvalid, match=r"edge\.json"):
        read_config(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """And why it cannot be read."""
    with pytest.raises(ConfigInvalid, match="No such file"):
        read_config(tmp_path / "none.json")
